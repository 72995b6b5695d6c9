//! `linux.sysctl`: kernel parameters, of namespaces only that the container has
//! itself. A key stays one key, a value one value, to the end.

use super::problems::Problems;
use super::{Namespace, NamespaceKind, Namespaces, Sysctl};
use crate::bundle::escape;
use oci_spec::runtime::Spec;
use std::path::PathBuf;

/// Parameters of an ipc namespace (ipc_namespaces(7)), beside `fs.mqueue.*`.
const IPC: [&str; 12] = [
    "auto_msgmni",
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
    "shmmni",
];

/// All parameters, ordered by their path.
pub(super) fn plan(spec: &Spec, namespaces: &Namespaces, problems: &mut Problems) -> Vec<Sysctl> {
    let map = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref());
    let mut all: Vec<Sysctl> = Vec::new();
    for (key, value) in map.into_iter().flatten() {
        let pointer = format!("/linux/sysctl/{}", escape(key));
        let Ok(parts) = components(key).map_err(|why| problems.refuse(&pointer, why)) else { continue };
        check_owner(&parts, &pointer, spec, namespaces, problems);
        if value.contains(|c: char| c.is_control() && c != '\t') {
            problems.refuse(&pointer, format!("the value {value:?} has a control character"));
        }
        let path: PathBuf = parts.iter().collect();
        all.push(Sysctl { path, key: key.clone(), value: value.clone() });
    }
    all.sort_by(|a, b| (&a.path, &a.key).cmp(&(&b.path, &b.key)));
    for pair in all.windows(2) {
        if let [one, other] = pair
            && one.path == other.path
        {
            let pointer = format!("/linux/sysctl/{}", escape(&other.key));
            problems.refuse(pointer, format!("the same parameter as {:?}", one.key));
        }
    }
    all
}

/// The components of a key. As in sysctl(8) the first separator decides: in
/// `net.ipv4.conf.eth0/1.mtu` a slash stands for a dot inside a name, in
/// `net/ipv4/conf/eth0.1/mtu` a dot is a dot.
fn components(key: &str) -> Result<Vec<String>, String> {
    if key.contains(char::is_control) {
        return Err(format!("the key {key:?} has a control character"));
    }
    let dotted = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('.'));
    let (separator, other, meant) = if dotted { ('.', "/", ".") } else { ('/', "/", "/") };
    let parts: Vec<String> = key.split(separator).map(|part| part.replace(other, meant)).collect();
    if parts.len() < 2 {
        return Err(format!("{key:?} is not a kernel parameter such as net.ipv4.ip_forward"));
    }
    match parts.iter().find(|part| part.is_empty() || *part == "." || *part == "..") {
        Some(part) => Err(format!("the key {key:?} has a component {part:?}")),
        None => Ok(parts),
    }
}

/// Refuses a parameter that would be the host's.
fn check_owner(
    parts: &[String],
    pointer: &str,
    spec: &Spec,
    namespaces: &Namespaces,
    problems: &mut Problems,
) {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let owner = match parts.as_slice() {
        ["kernel", "hostname"] => {
            check_conflict(spec.hostname().as_deref(), "hostname", pointer, problems);
            NamespaceKind::Uts
        }
        ["kernel", "domainname"] => {
            check_conflict(spec.domainname().as_deref(), "domainname", pointer, problems);
            NamespaceKind::Uts
        }
        ["kernel", name] if IPC.contains(name) => NamespaceKind::Ipc,
        ["fs", "mqueue", _] => NamespaceKind::Ipc,
        ["net", _, ..] => NamespaceKind::Network,
        _ => {
            return problems.refuse_hint(
                pointer,
                "the parameter belongs to no namespace, it would change the host",
                "those of a container are net.*, fs.mqueue.*, kernel.msg*, kernel.sem*, kernel.shm*, \
                 kernel.hostname and kernel.domainname",
            );
        }
    };
    if *namespaces.get(owner) == Namespace::Host {
        let name = owner.name();
        problems.refuse_hint(
            pointer,
            format!("the parameter would change the host: the container has no {name} namespace of its own"),
            format!("add {{\"type\": \"{name}\"}} to /linux/namespaces"),
        );
    }
}

fn check_conflict(name: Option<&str>, field: &str, pointer: &str, problems: &mut Problems) {
    if name.is_some_and(|name| !name.is_empty()) {
        problems.refuse(pointer, format!("conflicts with /{field}, which sets the same"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators() {
        let path = |key: &str| components(key).map(|parts| parts.join("|"));
        assert_eq!(path("net.ipv4.ip_forward").as_deref(), Ok("net|ipv4|ip_forward"));
        assert_eq!(path("net/ipv4/ip_forward").as_deref(), Ok("net|ipv4|ip_forward"));
        assert_eq!(path("net.ipv4.conf.eth0/1.mtu").as_deref(), Ok("net|ipv4|conf|eth0.1|mtu"));
        assert_eq!(path("net/ipv4/conf/eth0.1/mtu").as_deref(), Ok("net|ipv4|conf|eth0.1|mtu"));
    }

    #[test]
    fn keys_that_lead_elsewhere() {
        for key in [
            "",
            "kernel",
            "/kernel/x",
            "net/../kernel/x",
            "net..x",
            "net.",
            "net./..x",
            "net\n.x",
            "net.//.x",
        ] {
            assert!(components(key).is_err(), "{key:?}");
        }
    }
}
