//! What the probe sees, as a few lines for people.

use sextant_integration::seen::Seen;
use std::fmt::Write;

/// The lines, each with a heading of its own.
pub(crate) fn summary(seen: &Seen) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String does not fail.
        writeln!(text, "{name:<12}{value}").unwrap_or_default();
    };
    let join = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    line("processes", join(seen.processes.iter().map(|p| format!("{} {}", p.pid, p.comm)).collect()));
    line("interfaces", join(seen.interfaces.iter().map(interface).collect()));
    line("routes", join(seen.routes.clone()));
    line("mounts", seen.mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>().join(" "));
    line("host name", seen.hostname.clone());
    let map = seen.uid_map.iter().map(|m| format!("{} is {} outside", m[0], m[1])).collect();
    line("user id", format!("{}; {}", seen.uid.first().copied().unwrap_or_default(), join(map)));
    line("group id", format!("{}, groups {:?}", seen.gid.first().copied().unwrap_or_default(), seen.groups));
    let ipc = &seen.ipc;
    let (shm, msg, sem, mq) = (ipc.shm, ipc.msg, ipc.sem, ipc.mqueue.len());
    line("ipc", format!("{shm} segments, {msg} queues, {sem} semaphores, {mq} POSIX queues"));
    text.truncate(text.trim_end().len());
    text
}

fn interface(interface: &sextant_integration::seen::Interface) -> String {
    let state = if interface.up { "up" } else { "down" };
    format!("{} {state} {}", interface.name, interface.addresses.join(" "))
}
