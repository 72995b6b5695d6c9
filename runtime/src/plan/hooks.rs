//! `hooks` (config.md, "POSIX-platform Hooks").

use super::problems::Problems;
use super::{Hook, Hooks, paths};
use oci_spec::runtime::Hook as Entry;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

/// All hooks by kind.
pub(super) fn plan(spec: Option<&oci_spec::runtime::Hooks>, problems: &mut Problems) -> Hooks {
    let Some(spec) = spec else { return Hooks::default() };
    // The deprecated kind still runs, as every engine expects.
    #[allow(deprecated)]
    let prestart = spec.prestart();
    if prestart.as_ref().is_some_and(|hooks| !hooks.is_empty()) {
        let message = "deprecated by the spec: createRuntime runs at the same time, createContainer in the container's namespaces";
        problems.warn("/hooks/prestart", message);
    }
    let mut list = |name: &str, entries: &Option<Vec<Entry>>| {
        let entries = entries.iter().flatten().enumerate();
        entries.filter_map(|(i, entry)| hook(entry, format!("/hooks/{name}/{i}"), problems)).collect()
    };
    Hooks {
        prestart: list("prestart", prestart),
        create_runtime: list("createRuntime", spec.create_runtime()),
        create_container: list("createContainer", spec.create_container()),
        start_container: list("startContainer", spec.start_container()),
        poststart: list("poststart", spec.poststart()),
        poststop: list("poststop", spec.poststop()),
    }
}

fn hook(entry: &Entry, pointer: String, problems: &mut Problems) -> Option<Hook> {
    let path = entry.path();
    if let Err(why) = paths::check(path) {
        problems.refuse(format!("{pointer}/path"), why);
    } else if !path.is_absolute() {
        problems.refuse(format!("{pointer}/path"), format!("the path {} is not absolute", path.display()));
    }
    let timeout = entry.timeout().and_then(|seconds| {
        let valid = u32::try_from(seconds).ok().filter(|s| *s > 0);
        if valid.is_none() {
            problems.refuse(
                format!("{pointer}/timeout"),
                format!("{seconds} is not a number of seconds above 0 and below 2^32"),
            );
        }
        valid
    });
    let mut args =
        paths::c_strings(entry.args().as_deref().unwrap_or_default(), &format!("{pointer}/args"), problems);
    if args.is_empty() {
        args.push(CString::new(path.as_os_str().as_bytes()).ok()?);
    }
    let env = entry.env().as_deref().unwrap_or_default();
    let env = super::process::environment(env, &format!("{pointer}/env"), problems);
    Some(Hook { path: path.clone(), args, env, timeout, pointer })
}
