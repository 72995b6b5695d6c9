//! Device rules: `/linux/resources/devices` in their order, then the devices
//! that every container has. Without any rule all else is denied.
//!
//! A rule later in the list overrides an earlier one, for each kind of access
//! by itself. Version 2 does exactly that in a program of our own
//! ([`super::device_program`]). Version 1 knows a default and exceptions from
//! it, and takes no part away from an exception: a config that would need this
//! is refused, where the kernel would say nothing and allow the device.
//!
//! The default is the runtime-spec's list, and making (not opening) the nodes
//! of `/linux/devices`: narrower than runc's, which also allows `mknod` of
//! everything and `/dev/net/tun`.

use super::layout::Version;
use super::plan::Setting;
use super::resources::Builder;
use oci_spec::runtime::{Linux, LinuxDeviceCgroup, LinuxDeviceType};

/// Kind of device; `None` in a rule is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `c`
    Char,
    /// `b`
    Block,
}

/// Kinds of access, as the kernel numbers them for programs (linux/bpf.h, `BPF_DEVCG_ACC_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access(pub u8);

impl Access {
    /// mknod(2)
    pub const MKNOD: Self = Self(1);
    /// Reading.
    pub const READ: Self = Self(2);
    /// Writing.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self(0), |sum, c| match c {
            'm' => Some(Self(sum.0 | Self::MKNOD.0)),
            'r' => Some(Self(sum.0 | Self::READ.0)),
            'w' => Some(Self(sum.0 | Self::WRITE.0)),
            _ => None,
        })
    }

    fn text(self) -> String {
        [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MKNOD, 'm')]
            .iter()
            .filter_map(|(bit, c)| (self.0 & bit.0 != 0).then_some(*c))
            .collect()
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It permits.
    Allow,
    /// It forbids.
    #[default]
    Deny,
}

/// Which devices a rule is about; `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Kind.
    pub kind: Option<Kind>,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which devices.
    pub pattern: Pattern,
    /// Which kinds of access.
    pub access: Access,
    /// What it does.
    pub verdict: Verdict,
    /// Place in the config; empty for one of ours.
    pub pointer: String,
}

/// Who enforces the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// Nobody can: the host has neither.
    #[default]
    Unenforced,
    /// The version 1 controller: writes, in order.
    Controller(Vec<Setting>),
    /// A program at the unified directory.
    Program {
        /// Index into [`super::CgroupPlan::directories`].
        directory: usize,
        /// In the order of the config; the last match decides.
        rules: Vec<Rule>,
    },
}

/// Major and minor numbers of the devices that every container has
/// (runtime-spec, config-linux.md, "Default Devices"): null, zero, full,
/// random, urandom, tty, ptmx, and the terminals of devpts, of which the
/// container's console is one (5:1 would be the host's).
pub(super) const DEFAULTS: [(u32, Option<u32>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// Decides the rules and who enforces them.
pub(super) fn plan(linux: Option<&Linux>, builder: &mut Builder<'_>) -> Devices {
    let configured = linux.and_then(|l| l.resources().as_ref()).and_then(|r| r.devices().as_deref());
    let mut rules: Vec<Rule> = Vec::new();
    for (index, entry) in configured.unwrap_or_default().iter().enumerate() {
        rules.extend(parse(entry, &format!("/linux/resources/devices/{index}"), builder));
    }
    rules.extend(nodes(linux));
    rules.extend(DEFAULTS.map(|(major, minor)| Rule {
        pattern: Pattern { kind: Some(Kind::Char), major: Some(major), minor },
        access: Access::ALL,
        verdict: Verdict::Allow,
        pointer: String::new(),
    }));
    let unified = builder.host.hierarchies.iter().position(|h| h.version == Version::V2);
    match (builder.host.find("devices"), unified) {
        (Some((directory, _)), _) => match reduce(&rules) {
            Ok(reduced) => Devices::Controller(reduced.settings(directory)),
            Err(rule) => {
                builder.refuse_hint(
                    &rule.pointer,
                    "takes a part away from an earlier rule, which cgroup version 1 cannot do",
                    "name the devices of the earlier rule one by one",
                );
                Devices::Unenforced
            }
        },
        (None, Some(directory)) => Devices::Program { directory, rules },
        (None, None) => {
            if configured.is_some_and(|c| !c.is_empty()) {
                builder
                    .warn("/linux/resources/devices", "no effect: the host has no cgroup for device rules");
            }
            Devices::Unenforced
        }
    }
}

/// The nodes of `/linux/devices` can be made, whatever their rules say.
fn nodes(linux: Option<&Linux>) -> Vec<Rule> {
    let devices = linux.and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let rule = |device: &oci_spec::runtime::LinuxDevice| {
        let kind = match device.typ() {
            LinuxDeviceType::B => Kind::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
            LinuxDeviceType::A | LinuxDeviceType::P => return None,
        };
        let (major, minor) = (u32::try_from(device.major()).ok()?, u32::try_from(device.minor()).ok()?);
        Some(Rule {
            pattern: Pattern { kind: Some(kind), major: Some(major), minor: Some(minor) },
            access: Access::MKNOD,
            verdict: Verdict::Allow,
            pointer: String::new(),
        })
    };
    devices.iter().filter_map(rule).collect()
}

fn parse(entry: &LinuxDeviceCgroup, pointer: &str, builder: &mut Builder<'_>) -> Option<Rule> {
    let kind = match entry.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(Kind::Char),
        LinuxDeviceType::P => {
            builder.refuse(&format!("{pointer}/type"), "p: a fifo is no device");
            return None;
        }
    };
    let major = number(entry.major(), 1 << 12, &format!("{pointer}/major"), builder);
    let minor = number(entry.minor(), 1 << 20, &format!("{pointer}/minor"), builder);
    let text = entry.access().as_deref().filter(|a| !a.is_empty()).unwrap_or("rwm");
    let access = Access::parse(text);
    if access.is_none() {
        builder.refuse(&format!("{pointer}/access"), format!("{text:?} has other letters than r, w and m"));
    }
    let verdict = if entry.allow() { Verdict::Allow } else { Verdict::Deny };
    let pattern = Pattern { kind, major: major?, minor: minor? };
    Some(Rule { pattern, access: access?, verdict, pointer: pointer.into() })
}

/// Absent or -1 is any (`Some(None)`); a number that no device has is refused.
fn number(value: Option<i64>, end: u32, pointer: &str, builder: &mut Builder<'_>) -> Option<Option<u32>> {
    match value {
        None | Some(-1) => Some(None),
        Some(value) => {
            let number = u32::try_from(value).ok().filter(|n| *n < end);
            if number.is_none() {
                builder.refuse(pointer, format!("{value} is neither below {end} nor -1, which is any"));
            }
            number.map(Some)
        }
    }
}

impl Pattern {
    const ANY: Self = Self { kind: None, major: None, minor: None };

    /// Whether every device of `other` is one of this.
    fn covers(self, other: Self) -> bool {
        fn one<T: PartialEq>(outer: Option<T>, inner: Option<T>) -> bool {
            outer.is_none() || outer == inner
        }
        one(self.kind, other.kind) && one(self.major, other.major) && one(self.minor, other.minor)
    }

    /// Whether a device can be of both.
    fn overlaps(self, other: Self) -> bool {
        fn one<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        one(self.kind, other.kind) && one(self.major, other.major) && one(self.minor, other.minor)
    }

    /// A pattern for each kind: version 1 takes the kind `a` for "everything",
    /// whatever numbers stand behind it.
    fn by_kind(self) -> Vec<Self> {
        match self.kind {
            Some(_) => vec![self],
            None => [Kind::Char, Kind::Block].map(|kind| Self { kind: Some(kind), ..self }).into(),
        }
    }
}

/// Rules as version 1 keeps them: a default and exceptions from it.
#[derive(Debug, Default)]
struct Reduced {
    default: Verdict,
    exceptions: Vec<(Pattern, Access)>,
}

/// Brings the list into version 1's form.
///
/// # Errors
/// The rule that this form cannot express.
fn reduce(rules: &[Rule]) -> Result<Reduced, &Rule> {
    let mut state = Reduced::default();
    for rule in rules {
        if rule.pattern == Pattern::ANY && rule.access == Access::ALL {
            state = Reduced { default: rule.verdict, exceptions: Vec::new() };
            continue;
        }
        for pattern in rule.pattern.by_kind() {
            let done = if rule.verdict == state.default {
                state.take_away(pattern, rule.access)
            } else {
                state.add(pattern, rule.access);
                true
            };
            if !done {
                return Err(rule);
            }
        }
    }
    Ok(state)
}

impl Reduced {
    fn add(&mut self, pattern: Pattern, access: Access) {
        match self.exceptions.iter_mut().find(|(p, _)| *p == pattern) {
            Some((_, present)) => present.0 |= access.0,
            None => self.exceptions.push((pattern, access)),
        }
    }

    /// Gives false where a part of an exception would have to remain.
    fn take_away(&mut self, pattern: Pattern, access: Access) -> bool {
        for (exception, present) in &mut self.exceptions {
            if pattern.covers(*exception) {
                present.0 &= !access.0;
            } else if pattern.overlaps(*exception) && present.0 & access.0 != 0 {
                return false;
            }
        }
        self.exceptions.retain(|(_, access)| access.0 != 0);
        true
    }

    fn settings(&self, directory: usize) -> Vec<Setting> {
        let (default, exception) = match self.default {
            Verdict::Deny => ("devices.deny", "devices.allow"),
            Verdict::Allow => ("devices.allow", "devices.deny"),
        };
        let exceptions = self.exceptions.iter().map(|(p, access)| (exception, line(*p, *access)));
        std::iter::once((default, "a".to_owned()))
            .chain(exceptions)
            .map(|(file, value)| Setting {
                directory,
                file: file.into(),
                what: format!("device rule {value}"),
                value,
                otherwise: None,
                usage: None,
                pointer: "/linux/resources/devices".into(),
            })
            .collect()
    }
}

/// `c 1:3 rwm`
fn line(pattern: Pattern, access: Access) -> String {
    let kind = match pattern.kind {
        Some(Kind::Block) => 'b',
        Some(Kind::Char) | None => 'c',
    };
    let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
    format!("{kind} {}:{} {}", number(pattern.major), number(pattern.minor), access.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let mut words = text.split(' ');
        let verdict = if words.next() == Some("allow") { Verdict::Allow } else { Verdict::Deny };
        let kind = match words.next() {
            Some("c") => Some(Kind::Char),
            Some("b") => Some(Kind::Block),
            _ => None,
        };
        let (major, minor) = words.next().unwrap().split_once(':').unwrap();
        let access = Access::parse(words.next().unwrap()).unwrap();
        let pattern = Pattern { kind, major: major.parse().ok(), minor: minor.parse().ok() };
        Rule { pattern, access, verdict, pointer: text.into() }
    }

    fn lines(rules: &[&str]) -> Result<Vec<String>, String> {
        let rules: Vec<_> = rules.iter().map(|r| rule(r)).collect();
        let reduced = reduce(&rules).map_err(|r| r.pointer.clone())?;
        Ok(reduced.settings(0).iter().map(|s| format!("{} {}", s.file, s.value)).collect())
    }

    #[test]
    fn a_list_becomes_default_and_exceptions() {
        let rules = ["deny a *:* rwm", "allow c 1:3 r", "allow c 1:3 w", "allow b 8:* rw", "deny b *:* w"];
        assert_eq!(
            lines(&rules).unwrap(),
            ["devices.deny a", "devices.allow c 1:3 rw", "devices.allow b 8:* r"]
        );
        assert_eq!(
            lines(&["allow a *:* rwm", "deny c 1:1 rw"]).unwrap(),
            ["devices.allow a", "devices.deny c 1:1 rw"]
        );
    }

    #[test]
    fn both_kinds_with_numbers_are_not_everything() {
        assert_eq!(
            lines(&["allow a 7:1 r"]).unwrap(),
            ["devices.deny a", "devices.allow c 7:1 r", "devices.allow b 7:1 r"]
        );
    }

    #[test]
    fn a_part_of_an_exception_cannot_be_taken_away() {
        assert_eq!(lines(&["allow c 1:* rw", "deny c 1:5 w"]), Err("deny c 1:5 w".into()));
        assert_eq!(lines(&["allow c 1:* rw", "deny c *:5 w"]), Err("deny c *:5 w".into()));
        assert!(lines(&["allow c 1:* r", "deny c 1:5 w"]).is_ok());
    }
}
