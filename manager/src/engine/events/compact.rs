//! What stays of the journal of events when it has grown to its bound: the
//! newest part, and of what is older the last word about each container that
//! still exists. How far a shim's journal was told must not be forgotten, or it
//! would be told again after a restart. Numbers stay as they are; an event of
//! kind *gap* stands for whatever is missing.

use super::mend::gap;
use crate::model::{Event, EventKind};
use std::collections::{BTreeMap, BTreeSet};

/// Of `all` events, each with its size, those that stay: the newest that have
/// `bytes` together (one at least), and older ones that are still needed.
pub(super) fn compact(all: Vec<(Event, u64)>, bytes: u64) -> Vec<Event> {
    let mut sum = 0;
    let fits = |(_, size): &&(Event, u64)| {
        sum += size;
        sum <= bytes
    };
    let newest = all.iter().rev().take_while(fits).count().max(1);
    let cut = all.len().saturating_sub(newest);
    let needed = last_words(all.iter().take(cut).map(|(event, _)| event));
    let stays = |index: usize, event: &Event| index >= cut || needed.contains(&event.seq);
    let mut kept: Vec<Event> = Vec::new();
    for (index, (event, _)) in all.into_iter().enumerate() {
        if !stays(index, &event) {
            continue;
        }
        let next = kept.last().map_or(1, |last| last.seq + 1);
        if event.seq > next && event.kind != EventKind::Gap {
            kept.push(gap(event.seq - 1));
        }
        kept.push(event);
    }
    kept
}

/// Numbers of the events that say how far the journal of each container was told, and of
/// exits that the manager alone has seen; without the containers that were removed.
fn last_words<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<u64> {
    let mut told: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    // What only these events say: how its health is, and that a restart was told.
    let mut health: BTreeMap<&str, u64> = BTreeMap::new();
    let mut restarts: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        let container = event.container.as_str();
        match event.kind {
            EventKind::Gap => {}
            EventKind::Deleted | EventKind::CreateFailed => {
                told.remove(container);
                seen.remove(container);
                health.remove(container);
                restarts.remove(container);
            }
            EventKind::Healthy | EventKind::Unhealthy => {
                health.insert(container, event.seq);
            }
            EventKind::Restarting => {
                restarts.insert(container, event.seq);
            }
            EventKind::Exited if event.container_seq == 0 => {
                seen.insert(container, event.seq);
            }
            _ => {
                let last = told.entry(container).or_insert(event);
                if event.container_seq >= last.container_seq {
                    *last = event;
                }
            }
        }
    }
    let only = [seen, health, restarts].into_iter().flat_map(BTreeMap::into_values);
    told.into_values().map(|event| event.seq).chain(only).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, container: &str, kind: EventKind, container_seq: u64) -> (Event, u64) {
        (Event { container: container.into(), kind, container_seq, ..gap(seq) }, 10)
    }

    fn seqs(events: &[Event]) -> Vec<(u64, EventKind)> {
        events.iter().map(|e| (e.seq, e.kind)).collect()
    }

    #[test]
    fn the_newest_stay_and_the_last_word_about_what_still_exists() {
        use EventKind::{Created, Deleted, Exited, Gap, Started};
        let all = vec![
            event(1, "lives", Created, 1),
            event(2, "gone", Created, 1),
            event(3, "lives", Started, 2),
            event(4, "gone", Deleted, 0),
            event(5, "seen", Created, 1),
            event(6, "seen", Exited, 0),
            event(7, "other", Created, 1),
            event(8, "other", Deleted, 0),
            event(9, "new", Created, 1),
            event(10, "new", Started, 2),
        ];
        let kept = compact(all.clone(), 29);
        let expected = [
            (2, Gap),
            (3, Started),
            (4, Gap),
            (5, Created),
            (6, Exited),
            (8, Gap),
            (9, Created),
            (10, Started),
        ];
        assert_eq!(seqs(&kept), expected);
        // Done again, nothing is said twice, and gaps grow together.
        let mut sized: Vec<_> = kept.into_iter().map(|event| (event, 10)).collect();
        sized.push(event(11, "lives", Deleted, 0));
        sized.push(event(12, "seen", Deleted, 0));
        sized.push(event(13, "new", Deleted, 0));
        let expected = [(9, Gap), (10, Started), (12, Gap), (13, Deleted)];
        assert_eq!(seqs(&compact(sized, 15)), expected);
        assert_eq!(seqs(&compact(all, 0)).last(), Some(&(10, Started)), "the last number is never forgotten");
    }
}
