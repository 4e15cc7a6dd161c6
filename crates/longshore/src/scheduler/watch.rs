//! Tells at once which files of a local directory were finished.
//!
//! A file is finished when somebody closes it after writing, or renames it into place. What is
//! told is a hint that makes loading quick; a listing remains what decides. Not told, and left
//! to the next listing: hard links, files on network file systems that another machine writes,
//! whatever lies behind a symbolic link, and names that are not UTF-8.
//!
//! Linux only: other systems do not tell when a file is closed, and [`Watch::start`] says so.
//!
//! # What may be lost
//!
//! Nothing, as long as the caller starts the watch, then lists, then listens: a file comes as
//! [`Arrival::Closed`] or [`Arrival::Renamed`], or a [`Arrival::Rescan`] is received after it was finished.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc as chores};
use std::thread;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::warn;

/// Arrivals that wait to be received; beyond it one listing is cheaper than many keys.
const WAITING: usize = 1_024;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// This file was closed after somebody wrote: its key, exactly as a listing shows it. It may be
    /// gone again, and the same key may come more than once.
    Closed(String),
    /// This file was renamed into place.
    Renamed(String),
    /// More happened than can be told: list everything. It covers what is finished until it is
    /// received.
    Rescan,
}

/// A watch over a directory; dropping it ends it.
#[derive(Debug)]
pub(super) struct Watch {
    chores: chores::Sender<Chore>,
}

/// What the helper does, who owns the watcher: the watcher's own thread must not wait for itself.
#[derive(Debug)]
enum Chore {
    /// Watch a folder that is new, or the base again.
    Cover(PathBuf),
    End,
}

impl Watch {
    /// Watches everything under `root/pending`, folders that are made later too.
    ///
    /// Blocks while it walks through the folders. What lies there already is not told.
    ///
    /// The receiver ends when the folder is removed or renamed: poll, and start again later.
    ///
    /// # Errors
    /// Why it cannot be watched now, say because the folder is not there yet: poll, and try again
    /// later.
    pub(super) fn start(root: &Path, pending: &str) -> Result<(Self, mpsc::Receiver<Arrival>), String> {
        if !cfg!(target_os = "linux") {
            return Err("only Linux tells when a file was finished".to_owned());
        }
        let folder = pending.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = root.join(folder);
        // Only the folder behind the prefix may be a link.
        let base = path.canonicalize().map_err(|error| format!("cannot watch `{}`: {error}", path.display()))?;
        let (chores, todo) = chores::channel();
        let (outbox, receiver) = Outbox::new(WAITING);
        let names = Names { base: base.clone(), folder: folder.to_owned(), pending: pending.to_owned() };
        let ears = Ears { names, outbox: outbox.clone(), chores: chores.clone() };
        let watcher = listen(ears, &base).map_err(|error| say(&error, &base))?;
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || help(watcher, &todo, &outbox))
            .map_err(|error| format!("cannot watch `{}`: {error}", path.display()))?;
        Ok((Self { chores }, receiver))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A helper that has ended needs no telling.
        drop(self.chores.send(Chore::End));
    }
}

fn listen(mut ears: Ears, base: &Path) -> notify::Result<RecommendedWatcher> {
    let config = Config::default().with_follow_symlinks(false);
    let mut watcher = RecommendedWatcher::new(move |event| ears.hear(event), config)?;
    watcher.watch(base, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Does chores until the watch ends.
fn help(mut watcher: RecommendedWatcher, todo: &chores::Receiver<Chore>, outbox: &Outbox) {
    while let Ok(first) = todo.recv() {
        for chore in std::iter::once(first).chain(todo.try_iter()) {
            let Chore::Cover(folder) = chore else { return };
            match watcher.watch(&folder, RecursiveMode::Recursive) {
                Err(error) if !is_missing(&error) => {
                    warn!("{}; its files wait for the next listing", say(&error, &folder));
                }
                _ => {}
            }
        }
        // Only now is nothing overlooked: what came before the watch is found by the listing.
        outbox.put(Arrival::Rescan);
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Which folder cannot be watched and why; `asked` if the error names none.
fn say(error: &notify::Error, asked: &Path) -> String {
    let place = error.paths.first().map_or(asked, PathBuf::as_path).display();
    let why = match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "this user has used up its watches; raise them (`sysctl fs.inotify.max_user_watches`)".to_owned()
        }
        ErrorKind::Io(error) => error.to_string(),
        ErrorKind::PathNotFound => "it is not there".to_owned(),
        other => format!("{other:?}"),
    };
    format!("cannot watch `{place}`: {why}")
}

/// Hears what the system tells, on the watcher's thread.
struct Ears {
    names: Names,
    outbox: Outbox,
    chores: chores::Sender<Chore>,
}

impl Ears {
    fn hear(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.cover(&self.names.base),
            Ok(event) => self.take(&event),
            Err(error) => {
                warn!("{}", say(&error, &self.names.base));
                self.outbox.put(Arrival::Rescan);
            }
        }
    }

    fn take(&self, event: &Event) {
        let Some(path) = event.paths.first() else { return };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => self.file(path, Arrival::Closed),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => self.renamed(path),
            EventKind::Create(CreateKind::Folder) => self.cover(path),
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
                if *path == self.names.base =>
            {
                self.outbox.end();
            }
            _ => {}
        }
    }

    fn file(&self, path: &Path, arrival: impl FnOnce(String) -> Arrival) {
        if let Some(key) = self.names.key(path)
            && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
        {
            self.outbox.put(arrival(key));
        }
    }

    fn renamed(&self, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.cover(path),
            _ => self.file(path, Arrival::Renamed),
        }
    }

    fn cover(&self, folder: &Path) {
        if folder == self.names.base || self.names.may_hold_keys(folder) {
            drop(self.chores.send(Chore::Cover(folder.to_owned())));
        }
    }
}

/// Which paths are keys.
struct Names {
    /// The folder that is watched, without links.
    base: PathBuf,
    /// The same folder in keys.
    folder: String,
    /// What keys begin with.
    pending: String,
}

impl Names {
    /// The key of a path, unless a listing would leave it out.
    fn key(&self, path: &Path) -> Option<String> {
        let mut key = self.folder.clone();
        for part in path.strip_prefix(&self.base).ok()?.components() {
            let Component::Normal(part) = part else { return None };
            let part = part.to_str().filter(|part| !is_passed_over(part))?;
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(part);
        }
        key.starts_with(&self.pending).then_some(key)
    }

    fn may_hold_keys(&self, folder: &Path) -> bool {
        self.key(folder).is_some()
    }
}

/// Names that are never objects, nor are files in folders of such names.
fn is_passed_over(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part")
}

/// Puts arrivals into a channel without ever waiting for room.
#[derive(Debug, Clone)]
struct Outbox {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// `None` once the watch is over.
    sender: Option<mpsc::Sender<Arrival>>,
    /// Whether the last arrival that was put is a rescan.
    rescan_is_last: bool,
}

impl Outbox {
    fn new(room: usize) -> (Self, mpsc::Receiver<Arrival>) {
        let (sender, receiver) = mpsc::channel(room);
        let state = State { sender: Some(sender), rescan_is_last: false };
        (Self { state: Arc::new(Mutex::new(state)) }, receiver)
    }

    /// The last free place is for a rescan. Behind one that waits nothing is put: the listing
    /// will begin after it is received, hence after now.
    fn put(&self, arrival: Arrival) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &state.sender else { return };
        let is_empty = sender.capacity() == sender.max_capacity();
        if state.rescan_is_last && !is_empty {
            return;
        }
        let arrival = if sender.capacity() > 1 { arrival } else { Arrival::Rescan };
        let is_rescan = arrival == Arrival::Rescan;
        match sender.try_send(arrival) {
            Ok(()) => state.rescan_is_last = is_rescan,
            // The receiver is gone. It cannot be full: we alone put, and kept a place.
            Err(_) => state.sender = None,
        }
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sender = None;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::time::Duration;

    use super::*;

    /// How long a test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Bench {
        folder: tempfile::TempDir,
        watch: Option<Watch>,
        arrivals: mpsc::Receiver<Arrival>,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("pending/old")).unwrap();
            let (watch, arrivals) = Watch::start(folder.path(), "pending/").unwrap();
            Self { folder, watch: Some(watch), arrivals }
        }

        fn path(&self, key: &str) -> PathBuf {
            self.folder.path().join(key)
        }

        fn write(&self, key: &str) {
            fs::write(self.path(key), "id\n1\n").unwrap();
        }

        async fn next(&mut self) -> Option<Arrival> {
            tokio::time::timeout(PATIENCE, self.arrivals.recv()).await.expect("nothing came")
        }

        /// Writes a file until it is told; a rescan that waits may cover it now and then.
        async fn write_until_told(&mut self, name: &str) {
            loop {
                self.write(name);
                if self.next().await.expect("the watch is on") == key(name) {
                    return;
                }
            }
        }

        /// Everything up to a file that is written now: what is not in it will not come.
        /// (Not for tests that make folders: a rescan would cover the mark.)
        async fn until_mark(&mut self) -> Vec<Arrival> {
            self.write("pending/mark");
            let mut seen = Vec::new();
            loop {
                match self.next().await.expect("the watch is on") {
                    Arrival::Closed(key) if key == "pending/mark" => return seen,
                    arrival => seen.push(arrival),
                }
            }
        }
    }

    fn key(key: &str) -> Arrival {
        Arrival::Closed(key.to_owned())
    }

    fn renamed(key: &str) -> Arrival {
        Arrival::Renamed(key.to_owned())
    }

    #[tokio::test]
    async fn a_file_is_told_when_it_is_closed() {
        use std::io::Write;
        let mut bench = Bench::new();
        let mut file = fs::File::create(bench.path("pending/a b ü%2F+.csv")).unwrap();
        file.write_all(b"id\n").unwrap();
        assert_eq!(bench.until_mark().await, [], "it is still open");
        drop(file);
        assert_eq!(bench.next().await, Some(key("pending/a b ü%2F+.csv")));
        bench.write("pending/old/b.csv");
        assert_eq!(bench.next().await, Some(key("pending/old/b.csv")));
    }

    #[tokio::test]
    async fn a_file_is_told_when_it_is_renamed_into_place() {
        let mut bench = Bench::new();
        bench.write("pending/a.csv.tmp");
        fs::rename(bench.path("pending/a.csv.tmp"), bench.path("pending/a.csv")).unwrap();
        assert_eq!(bench.next().await, Some(renamed("pending/a.csv")));
        bench.write("outside.csv");
        fs::rename(bench.path("outside.csv"), bench.path("pending/old/b.csv")).unwrap();
        assert_eq!(bench.next().await, Some(renamed("pending/old/b.csv")));
    }

    #[tokio::test]
    async fn what_a_listing_leaves_out_is_not_told() {
        let mut bench = Bench::new();
        for name in ["pending/.a.csv", "pending/a.csv.part", "pending/a.tmp", "outside.csv"] {
            bench.write(name);
        }
        fs::write(bench.path("pending").join(std::ffi::OsStr::from_bytes(b"\xff.csv")), "x").unwrap();
        std::os::unix::fs::symlink(bench.path("outside.csv"), bench.path("link")).unwrap();
        fs::rename(bench.path("link"), bench.path("pending/link.csv")).unwrap();
        fs::write(bench.path("pending/link.csv"), "through the link").unwrap();
        fs::create_dir(bench.path("elsewhere")).unwrap();
        std::os::unix::fs::symlink(bench.path("elsewhere"), bench.path("pending/linked")).unwrap();
        bench.write("pending/linked/b.csv");
        fs::File::open(bench.path("pending/.a.csv")).unwrap();
        fs::remove_file(bench.path("pending/.a.csv")).unwrap();
        fs::create_dir(bench.path("pending/.hidden")).unwrap();
        fs::create_dir(bench.path("pending/x.part")).unwrap();
        assert_eq!(bench.until_mark().await, []);
    }

    #[tokio::test]
    async fn files_of_a_new_folder_are_found() {
        let mut bench = Bench::new();
        fs::create_dir_all(bench.path("pending/2025/11")).unwrap();
        bench.write("pending/2025/11/a.csv");
        loop {
            match bench.next().await.expect("the watch is on") {
                Arrival::Rescan => break,
                told => assert_eq!(told, key("pending/2025/11/a.csv")),
            }
        }
        bench.write_until_told("pending/2025/11/b.csv").await;
    }

    #[tokio::test]
    async fn a_folder_that_is_moved_in_asks_for_a_listing_and_is_watched() {
        let mut bench = Bench::new();
        fs::create_dir_all(bench.path("outside/deep")).unwrap();
        bench.write("outside/deep/a.csv");
        fs::rename(bench.path("outside"), bench.path("pending/inside")).unwrap();
        assert_eq!(bench.next().await, Some(Arrival::Rescan));
        bench.write_until_told("pending/inside/deep/b.csv").await;
        // Renamed within, its files have their new keys.
        fs::rename(bench.path("pending/inside"), bench.path("pending/other")).unwrap();
        while bench.next().await.expect("the watch is on") != Arrival::Rescan {}
        bench.write_until_told("pending/other/deep/c.csv").await;
    }

    #[tokio::test]
    async fn no_file_of_many_in_new_folders_is_lost() {
        let mut bench = Bench::new();
        for round in 0..50 {
            let folder = bench.path(&format!("pending/{round}/x/y"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a.csv"), "1").unwrap();
        }
        let mut missing: std::collections::BTreeSet<String> =
            (0..50).map(|round| format!("pending/{round}/x/y/a.csv")).collect();
        while !missing.is_empty() {
            match bench.next().await.expect("the watch is on") {
                Arrival::Closed(key) | Arrival::Renamed(key) => drop(missing.remove(&key)),
                Arrival::Rescan => missing.clear(), // all of them lie there by now
            }
        }
    }

    #[tokio::test]
    async fn the_folder_behind_the_prefix_may_be_a_link() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("elsewhere/sub")).unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join("pending")).unwrap();
        let (_watch, mut arrivals) = Watch::start(folder.path(), "pending/").unwrap();
        fs::write(folder.path().join("pending/sub/a.csv"), "1").unwrap();
        let came = tokio::time::timeout(PATIENCE, arrivals.recv()).await.unwrap();
        assert_eq!(came, Some(key("pending/sub/a.csv")));
    }

    #[tokio::test]
    async fn without_the_folder_there_is_no_watch_and_with_its_end_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let error = Watch::start(folder.path(), "pending/").unwrap_err();
        let path = folder.path().join("pending");
        assert_eq!(error, format!("cannot watch `{}`: No such file or directory (os error 2)", path.display()));
        for end in [|path: &Path| fs::remove_dir(path), |path: &Path| fs::rename(path, path.with_file_name("gone"))] {
            let mut bench = Bench::new();
            fs::remove_dir(bench.path("pending/old")).unwrap();
            end(&bench.path("pending")).unwrap();
            assert_eq!(bench.next().await, None);
        }
    }

    #[tokio::test]
    async fn dropping_the_watch_ends_the_arrivals() {
        let mut bench = Bench::new();
        bench.watch = None;
        assert_eq!(bench.next().await, None);
    }

    #[tokio::test]
    async fn what_the_system_lost_asks_for_a_listing() {
        let folder = tempfile::tempdir().unwrap();
        let (outbox, mut arrivals) = Outbox::new(4);
        let (chores, todo) = chores::channel();
        let names =
            Names { base: folder.path().to_owned(), folder: "pending".to_owned(), pending: "pending/".to_owned() };
        let mut ears = Ears { names, outbox, chores };
        ears.hear(Ok(Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)));
        assert!(matches!(todo.try_recv(), Ok(Chore::Cover(base)) if base == folder.path()));
        ears.hear(Err(notify::Error::new(ErrorKind::MaxFilesWatch)));
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Rescan));
    }

    #[tokio::test]
    async fn a_full_channel_becomes_one_rescan_that_is_last() {
        let (outbox, mut arrivals) = Outbox::new(4);
        for number in 0..100 {
            outbox.put(key(&number.to_string()));
        }
        let mut seen = Vec::new();
        while let Ok(arrival) = arrivals.try_recv() {
            seen.push(arrival);
            // Room again, yet the rescan that waits covers it.
            if seen.len() < 4 {
                outbox.put(key("late"));
            }
        }
        assert_eq!(seen, [key("0"), key("1"), key("2"), Arrival::Rescan]);
        outbox.put(key("after"));
        assert_eq!(arrivals.try_recv(), Ok(key("after")));
        outbox.put(Arrival::Rescan);
        outbox.put(Arrival::Rescan);
        outbox.put(key("covered"));
        assert_eq!(arrivals.try_recv(), Ok(Arrival::Rescan));
        assert!(arrivals.try_recv().is_err());
        drop(arrivals);
        outbox.put(key("to nobody"));
    }

    #[test]
    fn a_key_is_what_a_listing_shows() {
        let names = |folder: &str, pending: &str| Names {
            base: "/b.tmp/.x".into(),
            folder: folder.to_owned(),
            pending: pending.to_owned(),
        };
        let deep = names("in/new", "in/new/");
        assert_eq!(deep.key(Path::new("/b.tmp/.x/a/b.csv")).as_deref(), Some("in/new/a/b.csv"));
        assert_eq!(deep.key(Path::new("/b.tmp/.x/.a/b.csv")), None);
        assert_eq!(deep.key(Path::new("/b.tmp/.x/a.part/b.csv")), None);
        assert_eq!(deep.key(Path::new("/elsewhere/b.csv")), None);
        let start = names("", "in-");
        assert_eq!(start.key(Path::new("/b.tmp/.x/in-a.csv")).as_deref(), Some("in-a.csv"));
        assert_eq!(start.key(Path::new("/b.tmp/.x/out-a.csv")), None);
    }
}
