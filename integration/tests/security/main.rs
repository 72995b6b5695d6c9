//! Known attacks on container runtimes, each named after its advisory: the test
//! makes the attack and asserts that it fails and that the host is untouched.
//! `scripts/security` runs them against another runtime as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod host;
mod identity;
mod leaks;
mod paths;
mod procfs;
mod races;
mod running;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, RenameFlags, fcntl, open, renameat2};
use nix::libc::{EACCES, EPERM, EROFS, ETXTBSY};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use sextant_integration::bundle::temp_dir;
use sextant_integration::seen::Answer;
use sextant_integration::{Bundle, Runtime, look, process, skip_unless_root, unique};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Asserts that `create` is refused with these words and that nothing is left.
#[track_caller]
fn refused(bundle: &Bundle, words: &[&str]) {
    let (runtime, id) = (Runtime::new(), unique("attack"));
    runtime.create(bundle, &id).failed_with(words);
    runtime.leftovers(&[&id]).assert_none();
}

/// Both kinds of bundle: an attack has to fail without a user namespace as well.
fn both() -> [Bundle; 2] {
    [Bundle::new(), Bundle::without_user()]
}

/// A directory of the host with a file that no container may see or change.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = temp_dir();
        std::fs::write(dir.path().join("secret"), "of the host").unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "something was made on the host");
        assert_eq!(std::fs::read_to_string(self.path().join("secret")).unwrap(), "of the host");
    }
}

/// Puts a symbolic link in place of what is at `path` in the root.
fn relink(bundle: &Bundle, path: &str, target: &Path) {
    let link = bundle.rootfs().join(path);
    if link.is_dir() {
        std::fs::remove_dir_all(&link).unwrap();
    } else if link.exists() {
        std::fs::remove_file(&link).unwrap();
    }
    symlink(target, link).unwrap();
}
