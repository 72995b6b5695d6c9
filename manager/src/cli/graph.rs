//! Who shares which namespace with whom, as a table, and as a graph for
//! Graphviz ([`dot`]) or as a picture ([`svg`]). Here is what the three have in
//! common: the order of rows, and the name of each namespace.

pub mod dot;
pub mod svg;

use super::view::sandbox::Owner;
use std::collections::BTreeMap;

/// The types of namespaces, in the order of the columns.
pub const KINDS: [&str; 8] = ["user", "pid", "network", "uts", "ipc", "mount", "cgroup", "time"];

/// What somebody has of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing: a sandbox shares none of this type.
    None,
    /// The host's.
    Host,
    /// One that nobody else has.
    Own,
    /// One that others have as well, or that a sandbox keeps for them: its short name.
    Shared(String),
}

impl Cell {
    /// As one word; empty for none.
    pub fn word(&self) -> &str {
        match self {
            Self::None => "",
            Self::Host => "host",
            Self::Own => "own",
            Self::Shared(name) => name,
        }
    }
}

/// Somebody with namespaces, one cell for each of [`KINDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `host`, `sandbox`, `container`.
    pub kind: &'static str,
    /// Its id.
    pub name: String,
    /// Of a container: its sandbox.
    pub sandbox: Option<String>,
    /// What it has.
    pub cells: [Cell; KINDS.len()],
}

/// The rows of everybody: the host, each sandbox with its containers behind it, then the other containers.
/// Shared namespaces are A, B and so on in the order in which they appear; the same name, the same namespace.
pub fn rows(owners: &[Owner]) -> Vec<Row> {
    let mut ordered: Vec<&Owner> = owners.iter().filter(|o| o.kind == "host").collect();
    for sandbox in owners.iter().filter(|o| o.kind == "sandbox") {
        ordered.push(sandbox);
        ordered.extend(owners.iter().filter(|o| o.sandbox.as_ref() == Some(&sandbox.id)));
    }
    let known = |id: &str| owners.iter().any(|o| o.kind == "sandbox" && o.id == id);
    let alone = |o: &&Owner| o.kind == "container" && !o.sandbox.as_deref().is_some_and(known);
    ordered.extend(owners.iter().filter(alone));
    let mut names = BTreeMap::new();
    ordered.into_iter().map(|owner| row(owner, &mut names)).collect()
}

fn row(owner: &Owner, names: &mut BTreeMap<(&'static str, u64), String>) -> Row {
    let cells = KINDS.map(|kind| {
        let Some(ns) = owner.namespaces.iter().find(|ns| ns.kind == kind) else { return Cell::None };
        if ns.shared {
            return Cell::Host;
        }
        if ns.sharers.is_empty() && owner.kind != "sandbox" {
            return Cell::Own;
        }
        let next = letters(names.len());
        Cell::Shared(names.entry((kind, ns.inode)).or_insert(next).clone())
    });
    let name = if owner.kind == "host" { "host".to_owned() } else { owner.id.clone() };
    Row { kind: owner.kind, name, sandbox: owner.sandbox.clone(), cells }
}

/// A to Z, then AA, AB and so on.
fn letters(mut number: usize) -> String {
    let mut name = Vec::new();
    loop {
        name.insert(0, b'A' + u8::try_from(number % 26).unwrap_or(0));
        match number / 26 {
            0 => return name.into_iter().map(char::from).collect(),
            rest => number = rest - 1,
        }
    }
}

/// The columns that tell something: those in which not everybody has the host's.
pub fn telling(rows: &[Row]) -> Vec<usize> {
    let tells = |column: &usize| {
        rows.iter().filter_map(|row| row.cells.get(*column)).any(|c| !matches!(c, Cell::Host | Cell::None))
    };
    (0..KINDS.len()).filter(tells).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cli::view::sandbox::Namespace;

    fn owner(kind: &'static str, id: &str, sandbox: Option<&str>, inodes: &[(&str, u64, &[&str])]) -> Owner {
        let one = |(kind, inode, sharers): &(&str, u64, &[&str])| Namespace {
            kind: (*kind).into(),
            inode: *inode,
            host_inode: 1,
            shared: *inode == 1,
            sharers: sharers.iter().map(ToString::to_string).collect(),
        };
        let namespaces = inodes.iter().map(one).collect();
        Owner { kind, id: id.into(), sandbox: sandbox.map(Into::into), pid: None, namespaces }
    }

    /// A sandbox with two containers, and one that is in the host's network.
    pub(crate) fn sample() -> Vec<Row> {
        let host: Vec<_> = KINDS.iter().map(|kind| (*kind, 1, &[][..])).collect();
        let with = |changes: &[(&'static str, u64, &'static [&'static str])]| {
            let mut all = host.clone();
            for change in changes {
                all.retain(|(kind, ..)| *kind != change.0);
                all.push(*change);
            }
            all
        };
        rows(&[
            owner("host", "", None, &host),
            owner(
                "sandbox",
                "pod",
                None,
                &[("user", 10, &["a", "b"]), ("network", 11, &["a", "b"]), ("ipc", 12, &[])],
            ),
            owner(
                "container",
                "a",
                Some("pod"),
                &with(&[("user", 10, &["b", "pod"]), ("network", 11, &["b", "pod"]), ("pid", 20, &[])]),
            ),
            owner("container", "alone", None, &with(&[("user", 30, &[]), ("pid", 31, &[])])),
            owner(
                "container",
                "b<",
                Some("pod"),
                &with(&[("user", 10, &["a", "pod"]), ("network", 11, &["a", "pod"]), ("pid", 21, &[])]),
            ),
        ])
    }

    #[test]
    fn rows_follow_their_sandbox_and_the_same_namespace_has_the_same_name() {
        let rows = sample();
        let lines: Vec<String> = rows
            .iter()
            .map(|row| {
                format!("{} {}", row.name, row.cells.each_ref().map(|c| c.word().to_owned()).join("|"))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "host host|host|host|host|host|host|host|host",
                "pod A||B||C|||",
                "a A|own|B|host|host|host|host|host",
                "b< A|own|B|host|host|host|host|host",
                "alone own|own|host|host|host|host|host|host",
            ]
        );
        assert_eq!(telling(&rows), [0, 1, 2, 4]);
    }

    #[test]
    fn there_are_enough_letters() {
        for (number, name) in [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (701, "ZZ"), (702, "AAA")] {
            assert_eq!(letters(number), name);
        }
    }
}
