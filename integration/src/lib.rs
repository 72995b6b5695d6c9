//! What the integration tests share: a [`Bundle`] to run, a [`Runtime`] and a
//! [`Daemon`] on private directories, a container that is [`Running`], and [`Leftovers`], which knows what they
//! must not leave behind. [`look`] and [`seen`] are what the probe tells from
//! inside a container. Binaries are found by path; nothing of the product is
//! linked but its wire types.
//!
//! A mistake of the harness is a failed test, so it panics.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub mod bundle;
pub mod bundle_r;
pub mod calls;
pub mod cgroup;
pub mod daemon;
pub mod leftovers;
pub mod listener;
pub mod look;
pub mod process;
pub mod random;
pub mod running;
pub mod runtime;
pub mod seen;
pub mod stdio;
pub mod sys;
pub mod tmux;

pub use bundle::Bundle;
pub use daemon::Daemon;
pub use leftovers::Leftovers;
pub use process::Ran;
pub use running::Running;
pub use runtime::Runtime;

/// The built binary of this name: in `$SEXTANT_BIN_DIR`, or `target/dist` of the workspace.
pub fn binary(name: &str) -> PathBuf {
    let path = place_of(name);
    assert!(path.exists(), "{} is missing: run scripts/build", path.display());
    path.canonicalize().unwrap_or(path)
}

/// Likewise one that only some builds make.
pub fn binary_if_built(name: &str) -> Option<PathBuf> {
    place_of(name).canonicalize().ok()
}

fn place_of(name: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir =
        std::env::var_os("SEXTANT_BIN_DIR").map_or_else(|| workspace.join("target/dist"), PathBuf::from);
    dir.join(name)
}

/// An id that no other test, of this or another process, has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("it-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Says that a test, or what is left of it, cannot run here. The test then
/// returns; `scripts/test` counts these lines.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Whether this test cannot run because it is not root; says so.
pub fn skip_unless_root() -> bool {
    let other = !nix::unistd::geteuid().is_root();
    if other {
        skip("needs root");
    }
    other
}
