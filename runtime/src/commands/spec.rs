//! `spec`: a config.json to begin with.

use super::Context;
use crate::cli;
use crate::contract::ExitCode;
use crate::report::{Attempt, Outcome, Place, refuse};
use nix::errno::Errno;
use std::io::Write;

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
    let mut value = serde_json::to_value(&spec).map_err(|e| refuse(what(), e.to_string()))?;
    sort_capabilities(&mut value);
    let mut json = serde_json::to_vec_pretty(&value).map_err(|e| refuse(what(), e.to_string()))?;
    json.push(b'\n');
    let mut file = std::fs::File::create_new(&path)
        .attempt(what)
        .hint(Errno::EEXIST, "remove it first, or choose another --bundle")?;
    file.write_all(&json).attempt(what)?;
    Ok(ExitCode::SUCCESS)
}

/// The sets have no order of their own; a file that people compare needs one.
fn sort_capabilities(spec: &mut serde_json::Value) {
    let sets = spec.pointer_mut("/process/capabilities").and_then(|c| c.as_object_mut());
    for names in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(|v| v.as_array_mut()) {
        names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}
