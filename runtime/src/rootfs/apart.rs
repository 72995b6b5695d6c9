//! File systems by mount(2), where the mount API cannot say what is asked for:
//! fsconfig(2) takes values of at most 255 bytes, which the layers of an overlay
//! exceed, and has no flag for `iversion` and `acl`. mount(2) wants a path to mount on. So a
//! child does it in a mount namespace of its own, on a place that always exists,
//! and gives a detached copy of the mount back through the table of descriptors
//! that it shares: no path of the container is involved, nothing propagates.

use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::path::Path;

/// Options in the form of the plan.
type Options = [(String, Option<String>)];

/// What fsconfig(2) takes of a value, and mount(2) of all of them.
const LONGEST_VALUE: usize = 255;
const LONGEST_DATA: usize = 4095;

/// Where the child mounts: the runtime needs a /proc anyway.
const PLACE: &str = "/proc";

/// Flags of mount(2), by the names of the options that fsconfig(2) would take.
const FLAGS: [(&str, MsFlags); 7] = [
    ("ro", MsFlags::MS_RDONLY),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("mand", MsFlags::MS_MANDLOCK),
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("posixacl", MsFlags::MS_POSIXACL),
    ("iversion", MsFlags::MS_I_VERSION),
];

/// Whether these options are more than the mount API can be told.
pub(super) fn is_needed(options: &Options) -> bool {
    let long = |value: &Option<String>| value.as_ref().is_some_and(|v| v.len() > LONGEST_VALUE);
    let only_there = |key: &str| matches!(key, "iversion" | "posixacl");
    options.iter().any(|(key, value)| long(value) || (value.is_none() && only_there(key)))
}

/// More layers than mount(2) takes as well: one by one, as Linux 6.8 lets an overlay be made.
pub(super) fn layer_by_layer(fstype: &str, options: &Options) -> Option<Vec<(String, Option<String>)>> {
    let has_layers = options.iter().any(|(key, value)| key == "lowerdir" && value.is_some());
    if fstype != "overlay" || !has_layers || data(options).1.len() <= LONGEST_DATA {
        return None;
    }
    let mut all = Vec::new();
    for (key, value) in options {
        match value {
            Some(value) if key == "lowerdir" => all.extend(layers(value)),
            _ => all.push((key.clone(), value.clone())),
        }
    }
    Some(all)
}

/// The layers of a `lowerdir`: a colon separates, two begin the layers of data alone.
fn layers(lowerdir: &str) -> Vec<(String, Option<String>)> {
    let mut all = vec![("lowerdir+".to_owned(), Some(String::new()))];
    let mut characters = lowerdir.chars().peekable();
    while let Some(character) = characters.next() {
        let next = match character {
            ':' if characters.next_if_eq(&':').is_some() => Err("datadir+".to_owned()),
            ':' => Err(all.last().map_or_else(String::new, |(key, _)| key.clone())),
            '\\' => Ok(characters.next().unwrap_or('\\')),
            other => Ok(other),
        };
        match (next, all.last_mut()) {
            (Ok(character), Some((_, Some(layer)))) => layer.push(character),
            (Err(key), _) => all.push((key, Some(String::new()))),
            (Ok(_), _) => {}
        }
    }
    all
}

/// What mount(2) is given: flags, and the rest joined by commas.
fn data(options: &Options) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut rest = Vec::new();
    for (key, value) in options {
        match (FLAGS.iter().find(|(name, _)| name == key), value) {
            (Some((_, flag)), None) => flags |= *flag,
            (_, None) => rest.push(key.clone()),
            (_, Some(value)) => rest.push(format!("{key}={value}")),
        }
    }
    (flags, rest.join(","))
}

/// A new file system as a detached mount.
///
/// # Errors
/// As mount(2).
pub(super) fn mount(fstype: &str, source: &str, options: &Options, what: &str) -> Outcome<OwnedFd> {
    let attempted = || what.to_owned();
    let (flags, data) = data(options);
    if data.len() > LONGEST_DATA {
        let because = format!("its options have {} bytes, mount(2) takes {LONGEST_DATA}", data.len());
        return Err(refuse(attempted(), because));
    }
    let pipe = sys::named(nix::unistd::pipe2(OFlag::O_CLOEXEC), || "pipe2()".into());
    let (told, tells) = pipe.attempt(attempted)?;
    let apart = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FILES;
    match clone3(apart, Parentage::Child, None).attempt(attempted)? {
        Cloned::Child => {
            let said = match in_child(fstype, source, flags, &data).attempt(attempted) {
                Ok(number) => number.to_le_bytes().to_vec(),
                Err(failure) => serde_json::to_vec(&failure).unwrap_or_default(),
            };
            nix::unistd::write(&tells, &said).ok();
            // Without destructors: the descriptors are the parent's as well.
            sys::process::exit_now(0)
        }
        Cloned::Parent(child) => {
            sys::process::wait(child).attempt(attempted)?;
            drop(tells);
            let mut bytes = vec![0; 64 << 10];
            let length = nix::unistd::read(&told, &mut bytes).unwrap_or(0);
            bytes.truncate(length);
            match <[u8; 4]>::try_from(bytes.as_slice()) {
                Ok(number) => sys::file::adopt_fd(i32::from_le_bytes(number)).attempt(attempted),
                Err(_) => Err(serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| refuse(attempted(), "the process that mounts it has died"))),
            }
        }
    }
    .hint(Errno::ENODEV, "the kernel has no such file system; is its module loaded?")
}

/// In a mount namespace apart. Gives the number of the descriptor, which stays open.
fn in_child(fstype: &str, source: &str, flags: MsFlags, data: &str) -> sys::Result<i32> {
    sys::mount::propagate_root(MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
    let mounted = nix::mount::mount(Some(source), PLACE, Some(fstype), flags, Some(data));
    sys::named(mounted, || format!("mount({source:?}, {PLACE:?}, {fstype:?}, {flags:?}, {data:?})"))?;
    let object = sys::file::open_host(Path::new(PLACE), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let tree = sys::mount::clone_tree(object.as_fd(), crate::plan::Depth::One)?;
    debug_assert_ne!(tree.as_raw_fd(), object.as_raw_fd());
    Ok(tree.into_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(key: &str, value: &str) -> (String, Option<String>) {
        (key.into(), Some(value.into()))
    }

    #[test]
    fn options_become_flags_and_data() {
        let options =
            [("sync".into(), None), option("lowerdir", "a:b"), ("iversion".into(), None), ("x".into(), None)];
        let (flags, data) = data(&options);
        assert_eq!(flags, MsFlags::MS_SYNCHRONOUS | MsFlags::MS_I_VERSION);
        assert_eq!(data, "lowerdir=a:b,x");
        assert!(is_needed(&options) && !is_needed(&options[..2]));
        assert!(is_needed(&[option("lowerdir", &"x".repeat(256))]));
        assert!(!is_needed(&[option("lowerdir", &"x".repeat(255))]));
    }

    #[test]
    fn layers_are_told_apart() {
        assert_eq!(
            layers(r"/a:/b\:c::/d:/e\\"),
            [
                option("lowerdir+", "/a"),
                option("lowerdir+", "/b:c"),
                option("datadir+", "/d"),
                option("datadir+", "/e\\"),
            ]
        );
        assert_eq!(layer_by_layer("overlay", &[option("lowerdir", "a:b")]), None);
        let long = option("lowerdir", &"/x".repeat(3000));
        assert_eq!(layer_by_layer("tmpfs", std::slice::from_ref(&long)), None);
        assert!(layer_by_layer("overlay", &[long]).is_some());
    }
}
