//! The options of a mount: one table of all names of config.md ("Linux mount
//! options"), and what each means to the mount API of Linux 5.2 and later.
//!
//! An option of a single mount becomes a `MOUNT_ATTR_*` to set or to clear
//! (mount_setattr(2)); one of the superblock becomes a flag for fsconfig(2);
//! what is not in the table belongs to the file system. Of options that
//! exclude each other the last one counts, as in mount(8).

use super::rootfs::propagation;
use super::{Attrs, Depth, Propagation};

// linux/mount.h
pub(super) const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// The three access time modes are one field: relatime is its zero.
const MOUNT_ATTR_ATIME: u64 = 0x70;
const MOUNT_ATTR_RELATIME: u64 = 0;
const MOUNT_ATTR_NOATIME: u64 = 0x10;
const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Changes attributes of the mount: the first are cleared, then the second set.
    Attr(u64, u64),
    /// Sets a flag of the superblock.
    Flag(&'static str),
    /// Takes a flag of the superblock back.
    NoFlag(&'static str),
    /// A bind mount.
    Bind(Depth),
    /// An id-mapped mount.
    Idmap(Depth),
    /// Copies what lies below.
    CopyUp,
    /// Is the default, or cannot be seen by anybody (`silent`).
    Nothing,
    /// Has no counterpart in the mount API.
    NoEffect,
    /// Changes what is mounted already.
    Remount,
}

/// All options but those of propagation and the recursive ones, which are
/// the [`Meaning::Attr`] rows with an `r` in front.
const TABLE: [(&str, Meaning); 47] = [
    ("ro", Meaning::Attr(0, MOUNT_ATTR_RDONLY)),
    ("rw", Meaning::Attr(MOUNT_ATTR_RDONLY, 0)),
    ("suid", Meaning::Attr(MOUNT_ATTR_NOSUID, 0)),
    ("nosuid", Meaning::Attr(0, MOUNT_ATTR_NOSUID)),
    ("dev", Meaning::Attr(MOUNT_ATTR_NODEV, 0)),
    ("nodev", Meaning::Attr(0, MOUNT_ATTR_NODEV)),
    ("exec", Meaning::Attr(MOUNT_ATTR_NOEXEC, 0)),
    ("noexec", Meaning::Attr(0, MOUNT_ATTR_NOEXEC)),
    ("atime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_RELATIME)),
    ("noatime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_NOATIME)),
    ("relatime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_RELATIME)),
    // Since Linux 2.6.30 relatime is what remains when nothing else is asked for.
    ("norelatime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_RELATIME)),
    ("strictatime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_STRICTATIME)),
    ("nostrictatime", Meaning::Attr(MOUNT_ATTR_ATIME, MOUNT_ATTR_RELATIME)),
    ("diratime", Meaning::Attr(MOUNT_ATTR_NODIRATIME, 0)),
    ("nodiratime", Meaning::Attr(0, MOUNT_ATTR_NODIRATIME)),
    ("symfollow", Meaning::Attr(MOUNT_ATTR_NOSYMFOLLOW, 0)),
    ("nosymfollow", Meaning::Attr(0, MOUNT_ATTR_NOSYMFOLLOW)),
    ("sync", Meaning::Flag("sync")),
    ("async", Meaning::NoFlag("sync")),
    ("dirsync", Meaning::Flag("dirsync")),
    ("lazytime", Meaning::Flag("lazytime")),
    ("nolazytime", Meaning::NoFlag("lazytime")),
    ("mand", Meaning::Flag("mand")),
    ("nomand", Meaning::NoFlag("mand")),
    ("acl", Meaning::Flag("posixacl")),
    ("noacl", Meaning::NoFlag("posixacl")),
    ("bind", Meaning::Bind(Depth::One)),
    ("rbind", Meaning::Bind(Depth::Recursive)),
    ("idmap", Meaning::Idmap(Depth::One)),
    ("ridmap", Meaning::Idmap(Depth::Recursive)),
    ("tmpcopyup", Meaning::CopyUp),
    ("defaults", Meaning::Nothing),
    ("silent", Meaning::Nothing),
    ("loud", Meaning::Nothing),
    ("iversion", Meaning::Flag("iversion")),
    ("noiversion", Meaning::NoFlag("iversion")),
    // Directives of fstab(5) that find their way into configs.
    ("auto", Meaning::Nothing),
    ("noauto", Meaning::Nothing),
    ("user", Meaning::NoEffect),
    ("nouser", Meaning::Nothing),
    ("users", Meaning::NoEffect),
    ("group", Meaning::NoEffect),
    ("owner", Meaning::NoEffect),
    ("_netdev", Meaning::Nothing),
    ("nofail", Meaning::NoEffect),
    ("remount", Meaning::Remount),
];

/// The options of one mount, sorted by what they act on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) attrs: Attrs,
    pub(super) recursive_attrs: Attrs,
    pub(super) propagation: Vec<(Propagation, Depth)>,
    pub(super) bind: Option<Depth>,
    pub(super) idmap: Option<Depth>,
    pub(super) copy_up: bool,
    /// Flags of the superblock.
    pub(super) flags: Vec<&'static str>,
    /// The file system's own, each with its index in the config.
    pub(super) data: Vec<(usize, String, Option<String>)>,
    /// Indices of options without effect.
    pub(super) no_effect: Vec<usize>,
    pub(super) remount: bool,
}

/// Sorts `options`.
pub(super) fn parse(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for (index, option) in options.iter().enumerate() {
        for part in split(option) {
            parse_one(index, part, &mut parsed);
        }
    }
    parsed
}

/// The names of all options of the table, for `features`: also those of
/// propagation, and the recursive ones.
pub(crate) fn names() -> Vec<String> {
    let table = TABLE.iter().filter(|(_, m)| !matches!(m, Meaning::NoEffect));
    let mut names: Vec<String> = table.clone().map(|(name, _)| (*name).to_owned()).collect();
    let recursive = table.filter(|(_, m)| matches!(m, Meaning::Attr(..)));
    names.extend(recursive.map(|(name, _)| format!("r{name}")));
    for name in ["shared", "slave", "private", "unbindable"] {
        names.extend([name.to_owned(), format!("r{name}")]);
    }
    names.sort();
    names
}

/// The kernel takes options one by one; mount(2) took them joined by commas, so
/// configs have both. A comma inside quotes (SELinux contexts) is no separator.
fn split(option: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    option
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .filter(|part| !part.is_empty())
}

fn parse_one(index: usize, option: &str, parsed: &mut Options) {
    if let Some(meaning) = meaning(option) {
        return apply(index, meaning, parsed);
    }
    if let Some(change) = propagation(option) {
        return parsed.propagation.push(change);
    }
    if let Some(Meaning::Attr(clear, set)) = option.strip_prefix('r').and_then(meaning) {
        return change(&mut parsed.recursive_attrs, clear, set);
    }
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (option, None),
    };
    parsed.data.push((index, key.to_owned(), value));
}

fn meaning(option: &str) -> Option<Meaning> {
    TABLE.iter().find(|(name, _)| *name == option).map(|(_, meaning)| *meaning)
}

fn apply(index: usize, meaning: Meaning, parsed: &mut Options) {
    match meaning {
        Meaning::Attr(clear, set) => change(&mut parsed.attrs, clear, set),
        Meaning::Flag(flag) if parsed.flags.contains(&flag) => {}
        Meaning::Flag(flag) => parsed.flags.push(flag),
        Meaning::NoFlag(flag) => parsed.flags.retain(|f| *f != flag),
        Meaning::Bind(depth) => parsed.bind = Some(deeper(parsed.bind, depth)),
        Meaning::Idmap(depth) => parsed.idmap = Some(deeper(parsed.idmap, depth)),
        Meaning::CopyUp => parsed.copy_up = true,
        Meaning::Nothing => {}
        Meaning::NoEffect => parsed.no_effect.push(index),
        Meaning::Remount => parsed.remount = true,
    }
}

/// The later of two changes to a bit counts.
fn change(attrs: &mut Attrs, clear: u64, set: u64) {
    attrs.set = attrs.set & !clear | set;
    attrs.clear = attrs.clear & !(set & !MOUNT_ATTR_ATIME) | clear;
}

fn deeper(before: Option<Depth>, now: Depth) -> Depth {
    if before == Some(Depth::Recursive) { Depth::Recursive } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[&str]) -> Options {
        parse(&list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn attributes_set_and_clear_the_last_one_wins() {
        let attrs = |list: &[&str]| {
            let Attrs { set, clear } = options(list).attrs;
            (set, clear)
        };
        assert_eq!(attrs(&["ro", "nosuid", "nodev", "noexec"]), (0xf, 0));
        assert_eq!(attrs(&["rw", "suid", "dev", "exec"]), (0, 0xf));
        assert_eq!(attrs(&["ro", "rw"]), (0, 1));
        assert_eq!(attrs(&["rw", "ro"]), (1, 0));
        assert_eq!(attrs(&["nosymfollow", "nodiratime"]), (0x20_0080, 0));
    }

    #[test]
    fn a_time_mode_always_clears_the_whole_field() {
        // mount_setattr(2): setting a mode without clearing the field is EINVAL.
        for (mode, set) in
            [("noatime", 0x10), ("strictatime", 0x20), ("relatime", 0), ("atime", 0), ("nostrictatime", 0)]
        {
            assert_eq!(options(&[mode]).attrs, Attrs { set, clear: 0x70 }, "{mode}");
            assert_eq!(
                options(&[&format!("r{mode}")]).recursive_attrs,
                Attrs { set, clear: 0x70 },
                "r{mode}"
            );
        }
        assert_eq!(options(&["noatime", "strictatime"]).attrs, Attrs { set: 0x20, clear: 0x70 });
    }

    // proves: recursive attributes
    #[test]
    fn recursive_options_are_told_from_others_with_an_r() {
        let parsed = options(&["rro", "rnosuid", "rbind", "rshared", "relatime", "rrelatime", "ridmap"]);
        assert_eq!(parsed.recursive_attrs, Attrs { set: 3, clear: 0x70 });
        assert_eq!(parsed.attrs, Attrs { set: 0, clear: 0x70 });
        assert_eq!(parsed.bind, Some(Depth::Recursive));
        assert_eq!(parsed.idmap, Some(Depth::Recursive));
        assert_eq!(parsed.propagation, [(Propagation::Shared, Depth::Recursive)]);
        assert_eq!(options(&["rrw"]).recursive_attrs, Attrs { set: 0, clear: 1 });
    }

    #[test]
    fn flags_of_the_superblock() {
        assert_eq!(
            options(&["sync", "dirsync", "lazytime", "mand"]).flags,
            ["sync", "dirsync", "lazytime", "mand"]
        );
        assert!(options(&["sync", "async", "lazytime", "nolazytime", "mand", "nomand"]).flags.is_empty());
        assert_eq!(options(&["sync", "sync"]).flags, ["sync"]);
    }

    #[test]
    fn the_rest_belongs_to_the_file_system() {
        let parsed = options(&["mode=755,size=64k", "newinstance", "context=\"a:b,c\"", "lowerdir=a=b"]);
        let data: Vec<_> = parsed.data.iter().map(|(i, k, v)| (*i, k.as_str(), v.as_deref())).collect();
        assert_eq!(
            data,
            [
                (0, "mode", Some("755")),
                (0, "size", Some("64k")),
                (1, "newinstance", None),
                (2, "context", Some("\"a:b,c\"")),
                (3, "lowerdir", Some("a=b")),
            ]
        );
    }

    // proves: mount options
    #[test]
    fn every_option_of_the_spec_is_known() {
        let names = names();
        for option in [
            "async atime bind defaults dev diratime dirsync exec lazytime loud mand noatime nodev nodiratime noexec",
            "nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime",
            "relatime rexec rnoatime rnodiratime rnodev rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro",
            "rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent",
            "slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap iversion noiversion remount",
        ]
        .iter()
        .flat_map(|line| line.split(' '))
        {
            assert!(names.iter().any(|n| n == option), "{option}");
            assert!(options(&[option]).data.is_empty(), "{option} is taken for data");
        }
        assert_eq!(options(&["iversion"]).flags, ["iversion"]);
        assert!(options(&["iversion", "noiversion"]).flags.is_empty());
        assert!(options(&["remount"]).remount);
    }
}
