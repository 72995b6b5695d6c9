//! Id mappings: lines of a uid_map or gid_map (user_namespaces(7)).

use super::problems::Problems;
use super::{IdMapping, Namespace, Namespaces};
use oci_spec::runtime::LinuxIdMapping;

/// The kernel takes no more lines (user_namespaces(7), since Linux 4.15).
const MAX_LINES: usize = 340;

/// Checks mappings and converts them. `pointer` is that of the list.
pub(super) fn mappings(list: &[LinuxIdMapping], pointer: &str, problems: &mut Problems) -> Vec<IdMapping> {
    if list.len() > MAX_LINES {
        problems.refuse(pointer, format!("{} mappings, the kernel takes {MAX_LINES} at most", list.len()));
    }
    let lines: Vec<IdMapping> = list
        .iter()
        .map(|m| IdMapping { container_id: m.container_id(), host_id: m.host_id(), size: m.size() })
        .collect();
    for (index, line) in lines.iter().enumerate() {
        check_line(line, &format!("{pointer}/{index}"), problems);
    }
    check_overlaps(&lines, Side::Container, pointer, problems);
    check_overlaps(&lines, Side::Host, pointer, problems);
    lines
}

/// Which ids of a mapping are meant.
#[derive(Clone, Copy)]
enum Side {
    Container,
    Host,
}

impl Side {
    fn first(self, line: &IdMapping) -> u32 {
        match self {
            Self::Container => line.container_id,
            Self::Host => line.host_id,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Container => "containerID",
            Self::Host => "hostID",
        }
    }
}

fn check_line(line: &IdMapping, pointer: &str, problems: &mut Problems) {
    if line.size == 0 {
        problems.refuse(format!("{pointer}/size"), "the size of a mapping cannot be 0");
    }
    for side in [Side::Container, Side::Host] {
        // The last id, 2^32 - 1, means "no id" in system calls; the kernel refuses to map it.
        if side.first(line).checked_add(line.size).is_none() {
            problems.refuse(
                format!("{pointer}/{}", side.field()),
                format!("{} ids from {} on reach beyond 4294967294", line.size, side.first(line)),
            );
        }
    }
}

fn check_overlaps(lines: &[IdMapping], side: Side, pointer: &str, problems: &mut Problems) {
    for (index, line) in lines.iter().enumerate() {
        let overlaps = |other: &IdMapping| {
            let (a, b) = (u64::from(side.first(line)), u64::from(side.first(other)));
            a < b + u64::from(other.size) && b < a + u64::from(line.size)
        };
        if let Some(earlier) = lines.iter().take(index).position(overlaps) {
            problems.refuse(
                format!("{pointer}/{index}/{}", side.field()),
                format!("the range overlaps that of {pointer}/{earlier}"),
            );
        }
    }
}

/// Whether `id` of the container has a mapping.
pub(super) fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|m| id.checked_sub(m.container_id).is_some_and(|offset| offset < m.size))
}

/// A user or a group.
#[derive(Clone, Copy)]
pub(super) enum IdKind {
    User,
    Group,
}

/// Refuses an id that a created user namespace does not map, or that no process can have.
pub(super) fn check_id(kind: IdKind, id: u32, pointer: &str, ns: &Namespaces, problems: &mut Problems) {
    if id == u32::MAX {
        return problems.refuse(pointer, "4294967295 is not an id, it means \"unchanged\" in system calls");
    }
    let (what, mappings, list) = match kind {
        IdKind::User => ("user", &ns.uid_mappings, "/linux/uidMappings"),
        IdKind::Group => ("group", &ns.gid_mappings, "/linux/gidMappings"),
    };
    // Missing mappings are reported by themselves; a joined namespace has its own.
    if ns.user == Namespace::Create && !mappings.is_empty() && !is_mapped(mappings, id) {
        problems.refuse_hint(
            pointer,
            format!("{what} id {id} is not mapped in the container's user namespace"),
            format!("add it to {list}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(u32, u32, u32)]) -> Vec<String> {
        let list: Vec<LinuxIdMapping> = lines
            .iter()
            .map(|(container, host, size)| {
                serde_json::from_value(
                    serde_json::json!({"containerID": container, "hostID": host, "size": size}),
                )
                .unwrap()
            })
            .collect();
        let mut problems = Problems::default();
        mappings(&list, "/u", &mut problems);
        problems.mistakes()
    }

    #[test]
    fn sound_mappings_pass() {
        assert!(check(&[(0, 100_000, 1000), (1000, 1000, 1), (1001, 101_001, 64_535)]).is_empty());
        assert!(check(&[(0, 0, u32::MAX)]).is_empty(), "the identity of the host");
    }

    #[test]
    fn each_unsound_mapping_has_its_place() {
        for (lines, start) in [
            (vec![(0, 0, 0)], "/u/0/size: "),
            (vec![(1, 0, u32::MAX)], "/u/0/containerID: "),
            (vec![(0, 1, u32::MAX)], "/u/0/hostID: "),
            (vec![(0, 0, 10), (9, 100, 10)], "/u/1/containerID: the range overlaps that of /u/0"),
            (vec![(0, 0, 10), (10, 9, 10)], "/u/1/hostID: the range overlaps that of /u/0"),
        ] {
            let found = check(&lines);
            assert!(found.len() == 1 && found[0].starts_with(start), "{lines:?}: {found:?}");
        }
        assert!(check(&[(0, 0, 1); 341])[0].starts_with("/u: 341 mappings"));
    }

    #[test]
    fn membership() {
        let map = [IdMapping { container_id: 10, host_id: 0, size: 5 }];
        let inside: Vec<u32> = (0..20).filter(|id| is_mapped(&map, *id)).collect();
        assert_eq!(inside, [10, 11, 12, 13, 14]);
    }
}
