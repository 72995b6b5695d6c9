//! Hears that files have changed (inotify(7)), with one descriptor for all of them. Where the kernel does
//! not tell, since a limit is reached (`fs.inotify.max_user_watches`, `max_user_instances`) or the file is
//! not there yet, it is looked at again and again.

use crate::sys;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How often a file is looked at of which the kernel does not tell.
const LOOK: Duration = Duration::from_millis(250);

/// The files that are followed. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Changes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` where the kernel gives no more of them.
    inotify: Option<Inotify>,
    files: Mutex<Files>,
    /// How many [`Sight`]s there are.
    sights: AtomicUsize,
}

/// Who follows each file. The kernel has one number for a file, however often it is asked for it.
type Files = HashMap<WatchDescriptor, Vec<Arc<File>>>;

/// What one follower is told of its file.
#[derive(Debug, Default)]
struct File {
    changed: Notify,
    /// It has lost its name, perhaps to another file.
    lost: AtomicBool,
}

impl Changes {
    /// Begins to listen; to be called where tokio runs.
    pub fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(io::Error::from);
        let heard = inotify.and_then(|inotify| {
            let readable = inotify.as_fd().try_clone_to_owned().and_then(sys::when_readable)?;
            Ok((inotify, readable))
        });
        let heard = heard.inspect_err(|error| {
            tracing::warn!(%error, "files are looked at every 250 ms: raise fs.inotify.max_user_instances");
        });
        let (inotify, readable) = heard.ok().unzip();
        let shared = Arc::new(Shared { inotify, files: Mutex::default(), sights: AtomicUsize::new(0) });
        if let Some(readable) = readable {
            tokio::spawn(listen(readable, Arc::clone(&shared)));
        }
        Self(shared)
    }

    /// A file, to be looked at whenever [`Sight::changed`] returns; the first time it does so as soon as there
    /// is one.
    pub fn of(&self, path: &Path) -> Sight {
        self.0.sights.fetch_add(1, Ordering::Relaxed);
        Sight { changes: self.clone(), path: path.into(), followed: None, asked: None, seen: None }
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of the file from now on.
    fn add(self: &Arc<Self>, path: &Path) -> io::Result<Followed> {
        let inotify = self.inotify.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let what = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        // Nothing is told of it before it stands in the table.
        let mut files = self.files();
        let number = inotify.add_watch(path, what)?;
        let file = Arc::<File>::default();
        files.entry(number).or_default().push(Arc::clone(&file));
        Ok(Followed { shared: Arc::clone(self), number, file })
    }

    /// Tells who follows the files; an error is the end of it.
    fn tell(&self) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        // To the end: epoll(7) tells of what comes, and not of what is left.
        loop {
            match inotify.read_events() {
                Ok(events) => self.tell_of(&events),
                Err(nix::errno::Errno::EAGAIN) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn tell_of(&self, events: &[InotifyEvent]) {
        let mut files = self.files();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                files.values().flatten().for_each(|file| file.changed.notify_one());
                continue;
            }
            for file in files.get(&event.wd).into_iter().flatten() {
                if !event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    file.lost.store(true, Ordering::Release);
                }
                file.changed.notify_one();
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                files.remove(&event.wd);
            }
        }
    }
}

async fn listen(fd: AsyncFd<OwnedFd>, shared: Arc<Shared>) {
    loop {
        let told = match fd.readable().await {
            Ok(mut ready) => {
                // What comes meanwhile makes it readable once more.
                ready.clear_ready();
                shared.tell()
            }
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            tracing::error!(%error, "it is not heard any more that files change");
            return;
        }
    }
}

/// A place in the table of those who are told. It is given back when this is dropped.
#[derive(Debug)]
struct Followed {
    shared: Arc<Shared>,
    number: WatchDescriptor,
    file: Arc<File>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut files = self.shared.files();
        let Some(all) = files.get_mut(&self.number) else { return };
        all.retain(|file| !Arc::ptr_eq(file, &self.file));
        if !all.is_empty() {
            return;
        }
        files.remove(&self.number);
        if let Some(inotify) = &self.shared.inotify
            && let Err(error) = inotify.rm_watch(self.number)
        {
            tracing::debug!(%error, "a file is followed no more");
        }
    }
}

/// A file that is followed.
#[derive(Debug)]
pub struct Sight {
    changes: Changes,
    path: PathBuf,
    /// `None` where the kernel does not tell of it.
    followed: Option<Followed>,
    /// The kernel is being asked to tell of it.
    asked: Option<JoinHandle<io::Result<Followed>>>,
    /// Its inode and length then, when it was looked at.
    seen: Option<(u64, u64)>,
}

impl Sight {
    /// How many files are followed in all.
    pub fn of_all(&self) -> usize {
        self.changes.0.sights.load(Ordering::Relaxed)
    }

    /// Returns when there may be something new in it, or another file has its name. Can be dropped
    /// without missing any of it.
    pub async fn changed(&mut self) {
        match &self.followed {
            Some(Followed { file, .. }) if !file.lost.load(Ordering::Acquire) => {
                file.changed.notified().await;
                if !file.lost.load(Ordering::Acquire) {
                    return;
                }
            }
            Some(_) | None => {}
        }
        // What came before is not told any more.
        while !self.renew().await {
            let now = tokio::fs::metadata(&self.path).await.ok().map(|found| (found.ino(), found.len()));
            if now != self.seen {
                self.seen = now;
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.seen = None;
    }

    /// Follows whatever file has the name now; whether the kernel will tell of it.
    async fn renew(&mut self) -> bool {
        let (shared, path) = (&self.changes.0, &self.path);
        // Who gives up waiting and comes again waits for the same answer.
        let asked = self.asked.get_or_insert_with(|| {
            let (shared, path) = (Arc::clone(shared), path.clone());
            tokio::task::spawn_blocking(move || shared.add(&path))
        });
        let answer = asked.await;
        self.asked = None;
        self.followed = match answer {
            Ok(Ok(followed)) => Some(followed),
            Ok(Err(error)) => {
                tracing::debug!(%error, file = %self.path.display(), "the kernel does not tell of it");
                None
            }
            Err(_) => None,
        };
        self.followed.is_some()
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.changes.0.sights.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    async fn hears(sight: &mut Sight) -> bool {
        tokio::time::timeout(Duration::from_secs(30), sight.changed()).await.is_ok()
    }

    async fn hears_nothing(sight: &mut Sight) -> bool {
        tokio::time::timeout(Duration::from_millis(1), sight.changed()).await.is_err()
    }

    #[tokio::test]
    async fn what_is_appended_is_heard_of_and_so_is_another_file_of_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut sight = Changes::new().of(&path);
        assert!(hears(&mut sight).await, "at once, the first time");
        assert!(hears_nothing(&mut sight).await);
        file.write_all(b"one").unwrap();
        assert!(hears(&mut sight).await);
        let other = dir.path().join("journal.new");
        let mut next = std::fs::File::create(&other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(hears(&mut sight).await);
        drop(file);
        // The old one may be told of once more, as it goes for good.
        while !hears_nothing(&mut sight).await {}
        next.write_all(b"two").unwrap();
        assert!(hears(&mut sight).await);
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_yet_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let changes = Changes::new();
        let mut sight = changes.of(&path);
        assert!(hears_nothing(&mut sight).await && sight.followed.is_none());
        std::fs::write(&path, "one").unwrap();
        assert!(hears(&mut sight).await && sight.followed.is_some());
        let mut second = changes.of(&path);
        assert!(hears(&mut second).await);
        // Who goes takes nothing away from the other.
        drop(sight);
        std::fs::write(&path, "two").unwrap();
        assert!(hears(&mut second).await);
        drop(second);
        assert!(changes.0.files().is_empty());
    }

    /// The kernel's answer to who has given up waiting for it comes when it comes: also behind that to
    /// who has asked again.
    #[tokio::test]
    async fn who_asks_later_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "one").unwrap();
        let changes = Changes::new();
        let mut sight = changes.of(&path);
        assert!(hears(&mut sight).await);
        let late = changes.0.add(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        assert!(hears(&mut sight).await);
        drop(late);
        while !hears_nothing(&mut sight).await {}
        std::fs::write(&path, "three").unwrap();
        assert!(hears(&mut sight).await);
        drop(sight);
        assert!(changes.0.files().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_for_the_kernel_asks_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "one").unwrap();
        let changes = Changes::new();
        let mut sight = changes.of(&path);
        // As in a `select!`: asked, and dropped before the answer.
        tokio::select! {
            biased;
            () = sight.changed() => panic!("the kernel was not asked yet"),
            () = std::future::ready(()) => {}
        }
        assert!(hears(&mut sight).await);
        assert_eq!(changes.0.files().values().map(Vec::len).sum::<usize>(), 1);
    }

    /// More than one reading of the kernel's queue takes.
    #[tokio::test]
    async fn many_changes_at_once_are_all_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let changes = Changes::new();
        let mut sights = Vec::new();
        for n in 0..600 {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, "one").unwrap();
            let mut sight = changes.of(&path);
            assert!(hears(&mut sight).await);
            sights.push((path, sight));
        }
        // This is the only thread of the runtime: nothing is read meanwhile.
        sights.iter().for_each(|(path, _)| std::fs::write(path, "one and two").unwrap());
        for (path, sight) in &mut sights {
            assert!(hears(sight).await, "{}", path.display());
        }
    }

    /// As where `fs.inotify.max_user_instances` is reached.
    #[tokio::test]
    async fn without_the_kernel_a_file_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "one").unwrap();
        let changes =
            Changes(Arc::new(Shared { inotify: None, files: Mutex::default(), sights: AtomicUsize::new(0) }));
        let mut sight = changes.of(&path);
        assert!(hears(&mut sight).await && sight.followed.is_none());
        assert!(hears_nothing(&mut sight).await);
        std::fs::write(&path, "one and two").unwrap();
        assert!(hears(&mut sight).await);
    }
}
