//! Device rules of version 1 as properties. systemd writes its own rules whenever it
//! applies a unit anew, at each change of a limit: a unit without any allows all
//! devices. So it gets ours, in its own words. On version 2 our program stands beside
//! whatever systemd attaches, and nothing has to be said.

use super::wire::{Property, Value};
use crate::cgroup::devices::Devices;

/// The properties for these rules; none where all devices are allowed but exceptions.
pub(super) fn properties(devices: &Devices) -> Vec<Property> {
    let Devices::Controller(settings) = devices else { return Vec::new() };
    let Some((first, others)) = settings.split_first() else { return Vec::new() };
    if (first.file.as_str(), first.value.as_str()) != ("devices.deny", "a") {
        return Vec::new();
    }
    let known = crate::sys::file::read_kernel_text("/proc/devices").unwrap_or_default();
    let allowed = others.iter().filter(|s| s.file == "devices.allow").flat_map(|s| named(&s.value, &known));
    vec![("DevicePolicy", Value::Text("strict".into())), ("DeviceAllow", Value::TextPairs(allowed.collect()))]
}

/// `c 1:3 rwm` as systemd names it (systemd.resource-control(5)): a node by its
/// number, or all devices of a driver. Of a number without a driver there are none.
fn named(rule: &str, known: &str) -> Option<(String, String)> {
    let mut words = rule.split(' ');
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let kind = if kind == "b" { "block" } else { "char" };
    let name = match numbers.split_once(':')? {
        ("*", "*") => format!("{kind}-*"),
        (major, "*") => format!("{kind}-{}", driver(kind, major, known)?),
        (major, minor) => format!("/dev/{kind}/{major}:{minor}"),
    };
    Some((name, access.to_owned()))
}

/// The name of a driver in the text of `/proc/devices`.
fn driver<'a>(kind: &str, major: &str, known: &'a str) -> Option<&'a str> {
    let heading = if kind == "block" { "Block devices:" } else { "Character devices:" };
    let lines = known.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.trim().split_once(' '))
        .find(|(number, _)| *number == major)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::plan::Setting;

    const KNOWN: &str = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  1 ramdisk\n259 blkext\n";

    fn rule(file: &str, value: &str) -> Setting {
        Setting {
            directory: 0,
            file: file.into(),
            value: value.into(),
            otherwise: None,
            usage: None,
            what: String::new(),
            pointer: String::new(),
        }
    }

    #[test]
    fn rules_have_names_of_nodes_and_drivers() {
        for (rule, name) in [
            ("c 1:3 rwm", Some("/dev/char/1:3")),
            ("b 259:0 r", Some("/dev/block/259:0")),
            ("c 136:* rw", Some("char-pts")),
            ("b 1:* m", Some("block-ramdisk")),
            ("c *:* m", Some("char-*")),
            ("c 77:* rwm", None),
        ] {
            assert_eq!(named(rule, KNOWN).map(|(name, _)| name).as_deref(), name, "{rule}");
        }
    }

    #[test]
    fn a_default_of_denying_is_strict() {
        let denied = [rule("devices.deny", "a"), rule("devices.allow", "c 1:3 rwm")];
        let expected = [
            ("DevicePolicy", Value::Text("strict".into())),
            ("DeviceAllow", Value::TextPairs(vec![("/dev/char/1:3".into(), "rwm".into())])),
        ];
        assert_eq!(properties(&Devices::Controller(denied.into())), expected);
        let allowed = [rule("devices.allow", "a"), rule("devices.deny", "c 1:3 rwm")];
        assert_eq!(properties(&Devices::Controller(allowed.into())), []);
        assert_eq!(properties(&Devices::Program { directory: 0, rules: Vec::new() }), []);
    }
}
