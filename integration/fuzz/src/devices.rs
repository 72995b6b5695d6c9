//! Device rules: made from choices, read plainly, and a model of the version 1 controller
//! (security/device_cgroup.c), which keeps a default and exceptions from it.

use crate::choices::Choices;
use crate::ebpf::Access;
use serde_json::{Value, json};
use sextant_runtime::cgroup::layout::{Hierarchy, HostCgroups, Layout, Version};

const CHAR: u32 = 2;
const BLOCK: u32 = 1;

/// One rule; `None` is any.
#[derive(Clone, Copy, Debug)]
struct Rule {
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
    allow: bool,
}

impl Rule {
    fn is_about(&self, asked: &Access) -> bool {
        let fits = |wanted: Option<u32>, is: u32| wanted.is_none_or(|w| w == is);
        fits(self.kind, asked.kind) && fits(self.major, asked.major) && fits(self.minor, asked.minor)
    }
}

/// The rules of a config, with those that every container has behind them.
#[derive(Debug)]
pub struct Plain(Vec<Rule>);

/// The devices of every container (config-linux.md, "Default Devices").
const DEFAULTS: [(u32, Option<u32>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

impl Plain {
    /// Of `/linux/resources/devices`.
    pub fn new(rules: &[Value]) -> Self {
        let number = |v: &Value| v.as_i64().filter(|n| *n != -1).map(|n| n as u32);
        let one = |rule: &Value| Rule {
            kind: match rule["type"].as_str() {
                Some("b") => Some(BLOCK),
                Some("c" | "u") => Some(CHAR),
                _ => None,
            },
            major: number(&rule["major"]),
            minor: number(&rule["minor"]),
            access: access(rule["access"].as_str().filter(|a| !a.is_empty()).unwrap_or("rwm")),
            allow: rule["allow"] == true,
        };
        let default =
            |(major, minor)| Rule { kind: Some(CHAR), major: Some(major), minor, access: 7, allow: true };
        Self(rules.iter().map(one).chain(DEFAULTS.map(default)).collect())
    }

    /// For each kind of access the last rule about it decides; without one it is forbidden.
    pub fn allows(&self, asked: Access) -> bool {
        [1, 2, 4].into_iter().filter(|bit| asked.access & bit != 0).all(|bit| {
            let mut about = self.0.iter().rev().filter(|r| r.access & bit != 0 && r.is_about(&asked));
            about.next().is_some_and(|rule| rule.allow)
        })
    }

    /// Every kind and access of every device that a rule could be about.
    pub fn questions(&self) -> impl Iterator<Item = Access> {
        let numbers = |pick: fn(&Rule) -> Option<u32>| {
            let mut all: Vec<u32> = self.0.iter().filter_map(pick).chain([0, 77]).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (majors, minors) = (numbers(|r| r.major), numbers(|r| r.minor));
        let places = majors.into_iter().flat_map(move |major| {
            let minors = minors.clone();
            minors.into_iter().map(move |minor| (major, minor))
        });
        places.flat_map(|(major, minor)| {
            [BLOCK, CHAR]
                .into_iter()
                .flat_map(move |kind| (1..8).map(move |access| Access { kind, access, major, minor }))
        })
    }
}

fn access(text: &str) -> u32 {
    text.chars().fold(0, |sum, c| {
        sum | match c {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            other => panic!("{other:?} is no kind of access"),
        }
    })
}

/// The state of the version 1 controller.
#[derive(Debug)]
pub struct V1 {
    allows: bool,
    exceptions: Vec<Rule>,
}

impl V1 {
    /// After these writes into a cgroup that begins with what its parent has: everything.
    pub fn after<'a>(writes: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut state = Self { allows: true, exceptions: Vec::new() };
        for (file, value) in writes {
            state.write(file == "devices.allow", value);
        }
        state
    }

    fn write(&mut self, allow: bool, value: &str) {
        if value == "a" {
            *self = Self { allows: allow, exceptions: Vec::new() };
            return;
        }
        let mut words = value.split(' ');
        let kind = words.next().map(|kind| if kind == "b" { BLOCK } else { CHAR });
        let (major, minor) = words.next().and_then(|w| w.split_once(':')).expect("major:minor");
        let access = access(words.next().expect("access"));
        let rule = Rule { kind, major: major.parse().ok(), minor: minor.parse().ok(), access, allow };
        if allow == self.allows {
            // Taken away from the exceptions for exactly these devices.
            for e in &mut self.exceptions {
                if (e.kind, e.major, e.minor) == (rule.kind, rule.major, rule.minor) {
                    e.access &= !rule.access;
                }
            }
            self.exceptions.retain(|e| e.access != 0);
        } else {
            self.exceptions.push(rule);
        }
    }

    /// What the kernel answers.
    pub fn allows(&self, asked: Access) -> bool {
        let mut about = self.exceptions.iter().filter(|e| e.is_about(&asked));
        if self.allows {
            !about.any(|e| asked.access & e.access != 0)
        } else {
            about.any(|e| asked.access & !merged(&self.exceptions, e) == 0)
        }
    }
}

/// An exception for the same devices adds its access to the one that is there.
fn merged(exceptions: &[Rule], one: &Rule) -> u32 {
    let same = |e: &&Rule| (e.kind, e.major, e.minor) == (one.kind, one.major, one.minor);
    exceptions.iter().filter(same).fold(0, |sum, e| sum | e.access)
}

/// `/linux/resources/devices` of choices.
pub fn rules(choices: &mut Choices<'_>) -> Vec<Value> {
    let mut rules = Vec::new();
    while !choices.at_end() && rules.len() < 40 {
        let mut rule = json!({"allow": choices.once_in(2)});
        if !choices.once_in(5) {
            rule["type"] = json!(choices.pick(&["a", "b", "c", "u"]));
        }
        for key in ["major", "minor"] {
            match choices.below(8) {
                0 => {}
                1 => rule[key] = json!(-1),
                2 => rule[key] = json!(4095),
                // Those of the default devices, and some beside them.
                _ => rule[key] = json!(choices.below(12)),
            }
        }
        if !choices.once_in(6) {
            rule["access"] = json!(choices.pick(&["r", "w", "m", "rw", "rm", "wm", "rwm", "mrw", "", "rr"]));
        }
        rules.push(rule);
    }
    rules
}

/// A host whose device rules are enforced by this version.
pub fn host(version: Version) -> HostCgroups {
    let (name, layout) = match version {
        Version::V1 => ("devices", Layout::V1),
        Version::V2 => ("", Layout::V2),
    };
    let hierarchy = Hierarchy {
        name: name.into(),
        version,
        controllers: vec![if name.is_empty() { "pids" } else { name }.into()],
        mount: "/sys/fs/cgroup".into(),
        own: "user".into(),
    };
    HostCgroups { layout, hierarchies: vec![hierarchy], systemd: None }
}
