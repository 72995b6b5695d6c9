//! The options of a mount: sorted into attributes, propagation and data as a
//! plain reading one by one has it.

use crate::check;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::plan::{self, Attrs, Depth, Host, Mount, MountKind, default_spec};
use std::path::Path;

/// Each attribute's bit, the option that clears it and the one that sets it.
const SWITCHES: [(u64, &str, &str); 6] = [
    (0x1, "rw", "ro"),
    (0x2, "suid", "nosuid"),
    (0x4, "dev", "nodev"),
    (0x8, "exec", "noexec"),
    (0x80, "diratime", "nodiratime"),
    (0x20_0000, "symfollow", "nosymfollow"),
];

/// The time modes, as the field of [`TIME`] has them.
const TIMES: [(u64, &str); 6] = [
    (0, "atime"),
    (0, "relatime"),
    (0, "norelatime"),
    (0, "nostrictatime"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
];
const TIME: u64 = 0x70;

/// A line an option, after a byte that says what is mounted.
pub(super) fn target(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let options: Vec<String> = String::from_utf8_lossy(rest).split('\n').map(str::to_owned).collect();
    let fstype = ["tmpfs", "bind", "proc", "overlay"][usize::from(first % 4)];
    let config = json!([{"destination": "/x", "type": fstype, "source": "src", "options": options}]);
    let mut spec: Value = serde_json::to_value(default_spec()).expect("a spec is JSON");
    spec["mounts"] = config;
    let spec: Spec = serde_json::from_value(spec).expect("of the right form");
    let raw = serde_json::to_value(&spec).expect("a spec is JSON");
    let bundle =
        Bundle { dir: "/bundle".into(), spec, annotations: Default::default(), warnings: Vec::new() };
    let plan = match plan::plan(&bundle, "fuzz", &Host::sample()) {
        Err(problems) => return check::problems(&problems, &raw),
        Ok(plan) => plan,
    };
    check::plan(&plan);
    let mount = &plan.mounts[0];
    let parts: Vec<&str> = options.iter().flat_map(|option| split(option)).collect();
    for before in [0, u64::MAX] {
        assert_eq!(applied(mount.attrs, before), plainly(&parts, "", before), "{parts:?}");
        assert_eq!(applied(mount.recursive_attrs, before), plainly(&parts, "r", before), "{parts:?}");
    }
    kind(mount, &parts, fstype);
}

/// At commas that are not inside quotes.
fn split(option: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in option.char_indices() {
        quoted ^= c == '"';
        if c == ',' && !quoted {
            parts.push(&option[from..at]);
            from = at + 1;
        }
    }
    parts.push(&option[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn applied(attrs: Attrs, before: u64) -> u64 {
    before & !attrs.clear | attrs.set
}

/// The attributes after all options with this prefix, one after the other.
fn plainly(parts: &[&str], prefix: &str, before: u64) -> u64 {
    let names = parts.iter().filter(|part| prefix.is_empty() || !is_plain(part));
    names.filter_map(|part| part.strip_prefix(prefix)).fold(before, |bits, name| {
        if let Some((_, bit, sets)) = switch(name) {
            return if sets { bits | bit } else { bits & !bit };
        }
        TIMES.iter().find(|(_, n)| *n == name).map_or(bits, |(mode, _)| bits & !TIME | mode)
    })
}

fn switch(name: &str) -> Option<(&'static str, u64, bool)> {
    let (bit, off, on) = SWITCHES.into_iter().find(|(_, off, on)| [off, on].contains(&&name))?;
    Some(if name == on { (on, bit, true) } else { (off, bit, false) })
}

/// `relatime` is an option of its own, not the recursive form of `elatime`; `rw`
/// and `ro` likewise.
fn is_plain(part: &str) -> bool {
    switch(part).is_some() || TIMES.iter().any(|(_, name)| *name == part)
}

fn kind(mount: &Mount, parts: &[&str], fstype: &str) {
    let recursive = parts.contains(&"rbind");
    match &mount.kind {
        MountKind::Bind { source, depth } => {
            assert!(fstype == "bind" || recursive || parts.contains(&"bind"));
            assert_eq!(*depth, if recursive { Depth::Recursive } else { Depth::One });
            assert_eq!(source, Path::new("/bundle/src"));
        }
        MountKind::Fs { options, .. } => {
            // What is not known is passed on, in its order, with its value.
            let data: Vec<_> = parts.iter().filter(|part| part.contains('=')).collect();
            let passed: Vec<String> = options
                .iter()
                .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
                .collect();
            assert!(data.iter().map(|d| (**d).to_owned()).eq(passed.iter().cloned()), "{data:?} {passed:?}");
        }
        MountKind::Remount { .. } => assert!(parts.contains(&"remount"), "{parts:?}"),
        MountKind::Cgroup => panic!("{fstype} is no cgroup"),
    }
    let propagation = ["shared", "slave", "private", "unbindable"];
    let changes =
        parts.iter().filter(|part| propagation.iter().any(|p| part.strip_prefix('r').unwrap_or(part) == *p));
    assert_eq!(mount.propagation.len(), changes.count(), "{parts:?}");
}
