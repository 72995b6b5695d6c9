//! What makes a process a shim: a session of its own, subreaper, and, once it
//! is ready, no tie to whoever started it.

use crate::error::{Attempted, Error, Result};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

/// Leaves the starter's session and directory, and becomes the parent of every
/// orphan below (prctl(2), `PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// Of prctl(2), setsid(2) and chdir(2).
pub(crate) fn detach() -> Result<()> {
    match nix::unistd::setsid() {
        // A group leader already: started so, it has nothing to leave.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(e) => return Err(Error::new("make a session", e)),
    }
    nix::sys::prctl::set_child_subreaper(true).attempted(|| "become a subreaper".into())?;
    nix::sys::prctl::set_dumpable(false).attempted(|| "refuse core dumps and tracers".into())?;
    std::env::set_current_dir("/").attempted(|| "change to /".into())
}

/// Sets the soft limit of open files, which the container inherits: the manager has raised its own.
///
/// # Errors
/// Of getrlimit(2) and setrlimit(2).
pub(crate) fn limit_files(soft: Option<u64>) -> Result<()> {
    let Some(soft) = soft else { return Ok(()) };
    let limit = || format!("limit open files to {soft}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).attempted(limit)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard).attempted(limit)
}

/// Says `ready` on stdout, then gives up stdin, stdout and stderr for
/// `/dev/null` and `shim.log` in `dir`.
///
/// # Errors
/// Of open(2), write(2) and dup2(2).
pub(crate) fn ready(dir: &Path) -> Result<()> {
    let path = dir.join("shim.log");
    let attempted = || format!("write to {}", path.display());
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).attempted(attempted)?;
    let null = File::open("/dev/null").attempted(|| "open /dev/null".into())?;
    let mut stdout = std::io::stdout();
    stdout.write_all(b"ready\n").and_then(|()| stdout.flush()).attempted(|| "say ready".into())?;
    dup2_stdin(&null).attempted(|| "leave stdin".into())?;
    dup2_stdout(&log).attempted(attempted)?;
    dup2_stderr(&log).attempted(attempted)
}

/// Prints help or version as asked, or the one line that says what was wrong with the arguments.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if !error.use_stderr() {
        return match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let lines = text.lines().take_while(|l| !l.starts_with("Usage:")).map(str::trim);
    let because = lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
    let because = because.strip_prefix("error: ").unwrap_or(&because).to_owned();
    let error = Error::new("read the arguments", because).hint("see sextant-shim --help");
    complain!("{}", error.line());
    ExitCode::from(2)
}
