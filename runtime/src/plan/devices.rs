//! Device nodes: the defaults of config-linux.md ("Default Devices") and
//! `linux.devices`. `/dev/ptmx`, `/dev/console` and the links are no nodes of
//! the plan: whoever sets up `/dev` makes them.

use super::ids::{self, IdKind};
use super::problems::Problems;
use super::{DeviceKind, DeviceNode, Namespaces, paths};
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};
use std::path::{Path, PathBuf};

/// Path, major and minor of the default devices, all character devices.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const DEFAULT_MODE: u32 = 0o666;

/// Bits of a device number in the kernel (MINORBITS in linux/kdev_t.h).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// The defaults, then the config's; one of the config replaces a default of the same path.
pub(super) fn plan(
    linux: Option<&Linux>,
    namespaces: &Namespaces,
    problems: &mut Problems,
) -> Vec<DeviceNode> {
    let entries = linux.and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let mut own: Vec<DeviceNode> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(device) = device(index, entry, namespaces, problems) else { continue };
        if let Some(earlier) = own.iter().find(|d| d.path == device.path).and_then(|d| d.index) {
            problems.refuse(
                format!("/linux/devices/{index}/path"),
                format!("{} is made at /linux/devices/{earlier} already", device.path.display()),
            );
        }
        own.push(device);
    }
    let default = |(path, major, minor): &(&str, u32, u32)| DeviceNode {
        path: PathBuf::from(path),
        kind: DeviceKind::Char,
        major: *major,
        minor: *minor,
        mode: DEFAULT_MODE,
        uid: 0,
        gid: 0,
        index: None,
    };
    let mut all: Vec<DeviceNode> = DEFAULTS.iter().map(default).collect();
    all.retain(|d| !own.iter().any(|o| o.path == d.path));
    all.extend(own);
    all
}

fn device(
    index: usize,
    entry: &LinuxDevice,
    namespaces: &Namespaces,
    problems: &mut Problems,
) -> Option<DeviceNode> {
    let pointer = format!("/linux/devices/{index}");
    let path =
        paths::inner(entry.path()).map_err(|why| problems.refuse(format!("{pointer}/path"), why)).ok()?;
    if path == Path::new("/dev/ptmx") {
        problems
            .warn(format!("{pointer}/path"), "left out: /dev/ptmx is a link to the container's own pts/ptmx");
        return None;
    }
    let kind = kind(entry.typ(), &pointer, problems)?;
    let (uid, gid) = (entry.uid().unwrap_or(0), entry.gid().unwrap_or(0));
    ids::check_id(IdKind::User, uid, &format!("{pointer}/uid"), namespaces, problems);
    ids::check_id(IdKind::Group, gid, &format!("{pointer}/gid"), namespaces, problems);
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        DeviceKind::Char | DeviceKind::Block => (
            number(entry.major(), MAX_MAJOR, &format!("{pointer}/major"), problems),
            number(entry.minor(), MAX_MINOR, &format!("{pointer}/minor"), problems),
        ),
    };
    let mode = mode(entry.file_mode(), &pointer, problems);
    Some(DeviceNode { path, kind, major, minor, mode, uid, gid, index: Some(index) })
}

fn kind(typ: LinuxDeviceType, pointer: &str, problems: &mut Problems) -> Option<DeviceKind> {
    match typ {
        LinuxDeviceType::C | LinuxDeviceType::U => Some(DeviceKind::Char),
        LinuxDeviceType::B => Some(DeviceKind::Block),
        LinuxDeviceType::P => Some(DeviceKind::Fifo),
        LinuxDeviceType::A => {
            problems.refuse_hint(
                format!("{pointer}/type"),
                "\"a\" is no type of a device node",
                "one of c, b, u and p",
            );
            None
        }
    }
}

fn number(value: i64, max: u32, pointer: &str, problems: &mut Problems) -> u32 {
    match u32::try_from(value) {
        Ok(number) if number <= max => number,
        _ => {
            problems.refuse(pointer, format!("{value} is not between 0 and {max}"));
            0
        }
    }
}

/// Permission bits; the bits of the file's type, which engines copy from
/// stat(2), are dropped.
fn mode(mode: Option<u32>, pointer: &str, problems: &mut Problems) -> u32 {
    let bits = mode.unwrap_or(DEFAULT_MODE);
    if bits > 0o177_777 {
        problems.refuse(format!("{pointer}/fileMode"), format!("{bits} is not a file mode"));
    }
    bits & 0o7777
}
