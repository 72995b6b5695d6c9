//! kill(2) with any signal number, the real-time ones included.

use super::{Error, Result};
use nix::errno::Errno;

/// Sends `signal` to the process `pid`.
///
/// # Errors
/// kill(2); EINVAL without asking the kernel for a `pid` that is not positive,
/// which would mean a group of processes.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    let call = || format!("kill({pid}, {signal})");
    if pid <= 0 {
        return Err(Error { call: call(), errno: Errno::EINVAL });
    }
    // SAFETY: kill(2) takes two numbers and touches no memory.
    let result = unsafe { libc::kill(pid, signal) };
    Errno::result(result).map(drop).map_err(|errno| Error { call: call(), errno })
}
