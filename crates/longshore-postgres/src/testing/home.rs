//! The folder of all servers of this process, and the shell that keeps them.
//!
//! PostgreSQL refuses to run as root, outlives whoever started it, and leaves its folder behind. So a
//! shell starts and stops the servers, as another user if need be. It reads what to do from a pipe
//! of this process. The pipe ends with the process, however that ends, and then the shell stops every
//! server and removes the folder. Should the shell have been killed too, the next test process finds
//! the folder, whose lock nobody holds any more, and clears it away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// What the folders of test processes are called, before a random part.
const PREFIX: &str = "longshore-postgres-";

/// The longest folder in which the path of a server's socket fits into the 107 bytes that it may have.
const LONGEST: usize = 60;

/// What the shell runs: `$1` are PostgreSQL's programs, `$2` is this process's folder, the others are
/// folders that nobody needs any more. It answers each line with the exit code.
const KEEPER: &str = r#"
programs=$1 home=$2
shift 2
clear_away() {
  for data in "$1"/*/data; do
    [ ! -e "$data/postmaster.pid" ] || "$programs/pg_ctl" stop -s -D "$data" -m immediate
  done
  rm -rf "$1"
}
for old; do clear_away "$old"; done
while read -r action name leader port; do
  case $action in
    create)
      if [ ! -d "$home/pristine" ]; then
        "$programs/initdb" -D "$home/pristine" -U postgres -E UTF8 --locale=C --no-sync --auth=trust
      fi && mkdir "$home/$name" && cp -R -p "$home/pristine" "$home/$name/data" ;;
    follow)
      mkdir "$home/$name" &&
        "$programs/pg_basebackup" -D "$home/$name/data" -h "$home/$leader" -p "$port" -U postgres -R -c fast ;;
    promote) "$programs/pg_ctl" promote -s -w -D "$home/$name/data" ;;
    start) "$programs/pg_ctl" start -s -w -D "$home/$name/data" -l "$home/$name/log" ;;
    stop) "$programs/pg_ctl" stop -s -w -D "$home/$name/data" -m fast ;;
    kill) "$programs/pg_ctl" stop -s -w -D "$home/$name/data" -m immediate ;;
    remove) rm -rf "${home:?}/$name" ;;
  esac </dev/null >"$home/said" 2>&1
  echo $?
done
clear_away "$home"
"#;

/// The folder of this process.
pub(super) struct Home {
    path: PathBuf,
    owner: Option<(u32, u32)>,
    keeper: Mutex<Keeper>,
    servers: AtomicU32,
    /// Locked as long as this process lives.
    _lock: File,
}

/// The shell that keeps the servers. It ends when its input does.
struct Keeper {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Child,
}

impl Home {
    /// The folder of this process, made at first use.
    pub(super) fn get() -> &'static Self {
        static HOME: LazyLock<Home> = LazyLock::new(Home::create);
        &HOME
    }

    fn create() -> Self {
        let programs = programs();
        let owner = other_user();
        let parent = parent();
        let left_behind = left_behind(&parent);
        let (path, lock) = claim(&parent, owner);

        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(&programs).arg(&path).args(left_behind);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Of a process group of its own, so that an interrupt from the terminal does not end it too.
        keeper.process_group(0).current_dir("/").env("LC_ALL", "C");
        if let Some((user, group)) = owner {
            keeper.uid(user).gid(group);
        }
        let mut process = keeper.spawn().expect("a shell starts");
        let input = process.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Self {
            path,
            owner,
            keeper: Mutex::new(Keeper { input, output, _process: process }),
            servers: AtomicU32::new(0),
            _lock: lock,
        }
    }

    /// Makes the folder of another server: an empty one, or a copy of the one that it shall follow.
    pub(super) fn create_server(&self, leader: Option<(&str, u16)>) -> String {
        let name = self.servers.fetch_add(1, Ordering::Relaxed).to_string();
        let made = match leader {
            None => self.tell("create", &name),
            Some((leader, port)) => self.tell("follow", &format!("{name} {leader} {port}")),
        };
        if let Err(said) = made {
            panic!("no PostgreSQL server can be made:\n{said}");
        }
        name
    }

    /// The folder of a server.
    pub(super) fn folder(&self, server: &str) -> PathBuf {
        self.path.join(server)
    }

    /// Has the shell do something to a server. Returns what was said if it fails.
    pub(super) fn tell(&self, action: &str, server: &str) -> Result<(), String> {
        // A test that panicked in here left the pipe between two lines.
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(keeper.input, "{action} {server}").map_err(|error| error.to_string())?;
        let mut code = String::new();
        keeper.output.read_line(&mut code).map_err(|error| error.to_string())?;
        if code.trim() == "0" {
            return Ok(());
        }
        Err(fs::read_to_string(self.path.join("said")).unwrap_or_else(|error| error.to_string()))
    }

    /// Writes a file that only the servers' user may read.
    pub(super) fn write(&self, path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(path, text).expect("a file of a test server can be written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its rights can be set");
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group)).expect("root may give a file away");
        }
    }
}

/// Where PostgreSQL's programs are.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort_by_key(|path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok());
    let has_all = |folder: &&PathBuf| {
        ["initdb", "postgres", "pg_ctl", "pg_basebackup"].iter().all(|name| folder.join(name).exists())
    };
    on_path.iter().chain(versions.iter().rev()).find(has_all).cloned().unwrap_or_else(|| {
        panic!("these tests need PostgreSQL's server: run `scripts/setup tests`, or `apt-get install postgresql`")
    })
}

/// User and group for the servers, if this process runs as root, whom PostgreSQL refuses.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    // Files that a process makes are its own.
    let probe = fs::metadata("/proc/self").or_else(|_| fs::metadata(std::env::temp_dir())).ok()?;
    if probe.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |wanted: &str| {
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|user| match user[..] {
            [name, _, uid, gid, ..] if name == wanted => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        })
    };
    let other = ids("postgres").or_else(|| ids("nobody"));
    Some(
        other.unwrap_or_else(|| panic!("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")),
    )
}

/// Where folders for a while go.
fn parent() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() + PREFIX.len() + 8 > LONGEST { PathBuf::from("/tmp") } else { usual }
}

/// Makes a folder and locks it. It gets its name when it is locked, so that nobody takes it for one
/// that was left behind.
fn claim(parent: &Path, owner: Option<(u32, u32)>) -> (PathBuf, File) {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let unnamed = parent.join(format!(".{PREFIX}{random}"));
    let path = parent.join(format!("{PREFIX}{random}"));
    let made = || {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(&unnamed)?;
        let lock = File::create_new(unnamed.join("lock"))?;
        lock.lock()?;
        if let Some((user, group)) = owner {
            chown(&unnamed, Some(user), Some(group))?;
        }
        fs::rename(&unnamed, &path)?;
        Ok::<_, std::io::Error>(lock)
    };
    let lock = made().unwrap_or_else(|error| panic!("no folder for test servers in `{}`: {error}", parent.display()));
    (path, lock)
}

/// Folders of test processes that are dead.
fn left_behind(parent: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(PREFIX));
    ours.map(|folder| folder.path())
        .filter(|folder| File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok()))
        .collect()
}
