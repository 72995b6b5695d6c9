//! `spec`: a config.json to begin with.

use super::Context;
use crate::cli;
use crate::report::{Attempt, Outcome, Place, refuse};
use nix::errno::Errno;
use std::io::Write;
use std::process::ExitCode;

/// Carries it out. An existing config.json is never overwritten.
///
/// # Errors
/// As open(2).
pub fn run(_context: &Context, args: &cli::Spec) -> Outcome<ExitCode> {
    let spec = if args.rootless {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        crate::plan::rootless_spec(uid, gid)
    } else {
        crate::plan::default_spec()
    };
    let path = args.bundle.join("config.json");
    let what = || format!("write {}", path.display());
    let mut json = serde_json::to_vec_pretty(&spec).map_err(|e| refuse(what(), e.to_string()))?;
    json.push(b'\n');
    let mut file = std::fs::File::create_new(&path)
        .attempt(what)
        .hint(Errno::EEXIST, "remove it first, or choose another --bundle")?;
    file.write_all(&json).attempt(what)?;
    Ok(ExitCode::SUCCESS)
}
