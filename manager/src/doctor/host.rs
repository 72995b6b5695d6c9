//! The files that a diagnosis is made from: /proc, /sys and /etc below a directory, which is `/` but in
//! tests. What cannot be read is absent, and never an error: that it is absent is what a check says.

use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};

/// Longest file that is read: all of them are small.
const LONGEST: usize = 1 << 20;

/// A directory that has /proc, /sys and /etc of a host.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// This host.
    pub fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// One whose files are below `root`.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Where the absolute `path` is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The text of `path`, without the newline at its end.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut text = String::from_utf8_lossy(&std::fs::read(self.path(path)).ok()?).into_owned();
        text.truncate(text.floor_char_boundary(LONGEST));
        text.truncate(text.trim_end().len());
        Some(text)
    }

    /// The number that `path` holds alone; `max` is the largest.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        match self.text(path)?.trim() {
            "max" => Some(u64::MAX),
            // What is negative is no limit (RLIM_INFINITY of old).
            text if text.starts_with('-') => Some(u64::MAX),
            text => text.parse().ok(),
        }
    }

    /// Of the file `sysctl`, such as `kernel.pid_max`.
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.number(format!("/proc/sys/{}", name.replace('.', "/")))
    }

    /// Whether there is such a file.
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Whether we may write there (access(2)).
    pub fn writable(&self, path: impl AsRef<Path>) -> bool {
        access(&self.path(path), AccessFlags::W_OK).is_ok()
    }

    /// The program `name`, in the directories where packages install them.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let dirs = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];
        dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| self.has(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::below(dir.path());
        std::fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        for (name, text) in [("pid_max", "4096\n"), ("all", "max\n"), ("none", "-1\n"), ("word", "x\n")] {
            std::fs::write(dir.path().join("proc/sys/kernel").join(name), text).unwrap();
        }
        assert_eq!(host.sysctl("kernel.pid_max"), Some(4096));
        assert_eq!(host.sysctl("kernel.all"), Some(u64::MAX));
        assert_eq!(host.sysctl("kernel.none"), Some(u64::MAX));
        assert_eq!(host.sysctl("kernel.word"), None);
        assert_eq!(host.sysctl("kernel.absent"), None);
        assert_eq!(host.text("/proc/sys/kernel/word").as_deref(), Some("x"));
        assert!(host.has("/proc/sys") && !host.has("/sys") && host.program("newuidmap").is_none());
    }
}
