//! Tells systemd how things stand, for a unit of `Type=notify`.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody listens, and nothing here does anything.
//! What cannot be told is logged and changes nothing else: systemd draws its own conclusions.
//!
//! The protocol is a few lines of text in a datagram:
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// How long to wait for a listener whose queue is full: systemd empties it in milliseconds, and
/// one that does not must not hold up the work.
const PATIENCE: Duration = Duration::from_secs(1);

/// Start-up is over: units that come after this one may start.
pub(crate) fn ready() {
    tell("READY=1");
}

/// The end has begun, and `TimeoutStopSec` runs.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

/// What is being done, for `systemctl status`: one line.
pub(crate) fn status(text: &str) {
    tell(&status_line(text));
}

/// All is well; to be told every [`watchdog_interval`].
pub(crate) fn watchdog() {
    tell("WATCHDOG=1");
}

/// How often systemd wants to hear from us: twice in `WatchdogSec`. `None`: it does not.
#[must_use]
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    interval(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn tell(message: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, message) {
        warn!("cannot tell systemd `{message}` by `{}`: {error}", socket.display());
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(message.as_bytes(), &address(socket)?)?;
    Ok(())
}

/// A path, or `@` and a name that is in no folder.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A second line would be a message of its own.
fn status_line(text: &str) -> String {
    format!("STATUS={}", text.replace(['\n', '\r'], " "))
}

/// Half of what systemd allows, if it means this process.
fn interval(microseconds: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let half = Duration::from_micros(microseconds?.parse().ok()?) / 2;
    (!half.is_zero()).then_some(half)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set for the process that [`what_is_told_arrives`] starts.
    const TOLD: &str = "LONGSHORE_TEST_TOLD";

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("nothing came");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Environments cannot be changed safely in a process of many threads, hence one of its own.
    #[test]
    fn what_is_told_arrives() {
        if std::env::var_os(TOLD).is_some() {
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(30)));
            ready();
            status("loading `a.csv`\nREADY=0");
            watchdog();
            stopping();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let module = module_path!().split_once("::").unwrap().1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args([&format!("{module}::what_is_told_arrives"), "--exact"])
            .envs([("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", "60000000".as_ref()), (TOLD, "1".as_ref())])
            .env_remove("WATCHDOG_PID")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let expected = ["READY=1", "STATUS=loading `a.csv` READY=0", "WATCHDOG=1", "STOPPING=1"];
        assert_eq!(expected.map(|_| received(&socket)), expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_may_be_in_no_folder() {
        let name = format!("longshore-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        send(format!("@{name}").as_ref(), "READY=1").unwrap();
        assert_eq!(received(&socket), "READY=1");
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_error_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        assert!(send(folder.path().join("nobody").as_os_str(), "READY=1").is_err());
        assert!(send("x".repeat(200).as_ref(), "READY=1").is_err());
    }

    #[test]
    fn the_watchdog_is_ours_or_nobodys() {
        let own = Some(Duration::from_secs(5));
        assert_eq!(interval(Some("10000000"), None, 7), own);
        assert_eq!(interval(Some("10000000"), Some("7"), 7), own);
        assert_eq!(interval(Some("10000000"), Some("8"), 7), None);
        assert_eq!(interval(None, Some("7"), 7), None);
        for odd in ["", "0", "1 s", "-5"] {
            assert_eq!(interval(Some(odd), None, 7), None, "{odd}");
        }
    }
}
