//! `linux.netDevices` (config-linux.md, "Network Devices"): which interfaces of
//! the host become the container's, and their names there.

use super::host::Host;
use super::problems::Problems;
use super::{Namespace, Namespaces, NetDevice};
use oci_spec::runtime::Linux;

const POINTER: &str = "/linux/netDevices";

/// `IFNAMSIZ`, its NUL byte included.
const MAX_NAME: usize = 16;

/// All, sorted by their names on the host.
pub(super) fn plan(
    linux: Option<&Linux>,
    namespaces: &Namespaces,
    host: &Host,
    problems: &mut Problems,
) -> Vec<NetDevice> {
    let Some(devices) = linux.and_then(|l| l.net_devices().as_ref()).filter(|d| !d.is_empty()) else {
        return Vec::new();
    };
    if namespaces.network == Namespace::Host {
        problems.refuse_hint(
            POINTER,
            "the interfaces would have nowhere to go: the container has no network namespace",
            "add {\"type\": \"network\"} to /linux/namespaces",
        );
    }
    if !host.is_privileged() {
        problems.refuse(POINTER, "moving an interface out of the host's network namespace takes root");
    }
    let mut planned: Vec<NetDevice> = devices
        .iter()
        .map(|(from, device)| {
            let name = device.name().as_deref().filter(|name| !name.is_empty());
            let pointer = format!("{POINTER}/{}", crate::bundle::escape(from));
            NetDevice { host: from.clone(), name: name.unwrap_or(from).to_owned(), pointer }
        })
        .collect();
    planned.sort_by(|a, b| a.host.cmp(&b.host));
    for device in &planned {
        check(device, namespaces, problems);
    }
    for (at, device) in planned.iter().enumerate() {
        let earlier = planned.iter().take(at).find(|d| d.name == device.name && !device.is_template());
        if let Some(earlier) = earlier {
            let because = format!("the name {:?} is that of {} as well", device.name, earlier.pointer);
            problems.refuse(format!("{}/name", device.pointer), because);
        }
    }
    planned
}

fn check(device: &NetDevice, namespaces: &Namespaces, problems: &mut Problems) {
    if let Err(why) = check_name(&device.host) {
        problems.refuse(&device.pointer, why);
    }
    let place =
        if device.name == device.host { device.pointer.clone() } else { format!("{}/name", device.pointer) };
    let percent = device.name.matches('%').count();
    if device.name != device.host
        && let Err(why) = check_name(&device.name)
    {
        problems.refuse(&place, why);
    } else if percent > 0 && !(percent == 1 && device.is_template()) {
        problems.refuse_hint(
            &place,
            format!("{:?} is no template of a name", device.name),
            "a template has %d once, such as eth%d",
        );
    }
    if namespaces.network == Namespace::Create && device.name == "lo" {
        problems.refuse(&place, "the container has a lo of its own");
    }
}

/// As the kernel takes names of interfaces (`dev_valid_name`).
fn check_name(name: &str) -> Result<(), String> {
    let because = if name.is_empty() {
        "it is empty"
    } else if name.len() >= MAX_NAME {
        "it has more than 15 bytes"
    } else if matches!(name, "." | "..") {
        "it would be a directory in sysfs"
    } else if name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_ascii_whitespace() || c == '\x0b')
    {
        "it has a slash, a colon or a blank"
    } else {
        return Ok(());
    };
    Err(format!("{name:?} is no name of a network interface: {because}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for good in ["eth0", "a", "fifteen-letters", "eth%d", "ß"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0", "sixteen--letters"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
