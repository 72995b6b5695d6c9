//! The limit of open files. A container costs a connection to its shim and what
//! is kept for another one, so the manager raises its soft limit as far as it
//! may; shims get the old one back (`--nofile`), since containers inherit it and
//! programs that use select(2) rely on it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::OnceLock;

/// The soft limit before it was raised.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit to the hard one. Where that is refused, it stays.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        BEFORE.get_or_init(|| soft);
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    });
    if let Err(errno) = raised {
        tracing::warn!(because = errno.desc(), "the limit of open files stays as it is");
    }
}

/// The soft limit before [`raise`]; `None` when that was not called.
pub fn before() -> Option<u64> {
    BEFORE.get().copied()
}
