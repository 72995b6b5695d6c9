//! `features` (runtime-spec, "Features Structure"): made from the tables that
//! the planner itself uses. With `--host` a member `host` says what of it this
//! machine and this caller have, found out by asking the kernel.

use super::{Context, checkpoint, print_json};
use crate::cli;
use crate::contract::ExitCode;
use crate::plan::{Host, NamespaceKind, capabilities};
use crate::report::Outcome;
use crate::seccomp::known;
use crate::sys::probe;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Carries it out.
///
/// # Errors
/// As write(2).
pub fn run(context: &Context, args: &cli::Features) -> Outcome<ExitCode> {
    let mut features = crate::plan::features::features();
    if args.host
        && let Some(members) = features.as_object_mut()
    {
        members.insert("host".into(), host(context));
    }
    print_json(&features)
}

fn host(context: &Context) -> Value {
    let host = Host::probe();
    json!({
        "kernel": host.kernel_release,
        "namespaces": namespaces(),
        "capabilities": {
            "kernel": capability_names(|bit| bit <= host.last_capability),
            "grantable": capability_names(|bit| host.bounding >> bit & 1 == 1),
        },
        "cgroup": cgroups(&host),
        "seccomp": { "actions": seccomp_actions(), "flags": seccomp_flags() },
        "apparmor": { "enabled": host.apparmor },
        "selinux": { "enabled": host.selinux },
        "intelRdt": { "resources": names_in("/sys/fs/resctrl/info") },
        "memoryPolicy": { "enabled": fs::exists("/proc/self/numa_maps").unwrap_or(false) },
        "userNamespaces": {
            "max": number("/proc/sys/user/max_user_namespaces"),
            // Debian's own switch; where it is absent, nothing but the maximum forbids them.
            "unprivileged": number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0),
            "newuidmap": host.newidmap || host.maps_any_id(),
        },
        "systemCalls": probe::system_calls().map(|(name, has)| (name.to_owned(), json!(has))).collect::<Map<_, _>>(),
        "checkpoint": checkpoint::availability(&context.criu),
    })
}

/// The kinds of namespaces that `/proc/self/ns` shows.
fn namespaces() -> Vec<&'static str> {
    let file = |kind: NamespaceKind| match kind.name() {
        "network" => "net",
        "mount" => "mnt",
        name => name,
    };
    let exists = |kind: &NamespaceKind| Path::new("/proc/self/ns").join(file(*kind)).exists();
    NamespaceKind::ALL.into_iter().filter(exists).map(NamespaceKind::name).collect()
}

fn capability_names(has: impl Fn(u32) -> bool) -> Vec<&'static str> {
    (0..).zip(capabilities::NAMES).filter(|(bit, _)| has(*bit)).map(|(_, name)| name).collect()
}

fn cgroups(host: &Host) -> Value {
    let mut controllers: Vec<_> =
        host.cgroups.hierarchies.iter().flat_map(|h| h.controllers.iter()).collect();
    controllers.sort_unstable();
    controllers.dedup();
    json!({
        "layout": host.cgroups.layout,
        "controllers": controllers,
        "pressure": fs::exists("/proc/pressure/cpu").unwrap_or(false),
    })
}

/// The actions that the kernel knows, by the names of the config.
fn seccomp_actions() -> Vec<&'static str> {
    let known_here = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let kernel_name = |name: &str| match name {
        "SCMP_ACT_KILL" => "kill_thread".to_owned(),
        "SCMP_ACT_NOTIFY" => "user_notif".to_owned(),
        name => name.trim_start_matches("SCMP_ACT_").to_ascii_lowercase(),
    };
    let is_here = |name: &&str| known_here.split_whitespace().any(|word| word == kernel_name(name));
    known::actions().into_iter().filter(is_here).collect()
}

fn seccomp_flags() -> Vec<&'static str> {
    known::FLAGS.into_iter().filter(|(_, flag)| probe::seccomp_flags(*flag)).map(|(name, _)| name).collect()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn names_in(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}
