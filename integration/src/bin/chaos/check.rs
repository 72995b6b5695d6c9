//! What must hold in the end, whatever was killed.

mod again;

use super::gremlin::Done;
use super::{ExecLife, Life, World};
use sextant_proto::v1::Event;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a log that are shown with what is wrong.
const LOG_SHOWN: usize = 4000;

/// What a process of the runtime exits with that a fault point has let die.
const FAULT: i32 = 137;

/// What a program exits with whose output nobody reads any more.
const UNREAD: i32 = 2;

/// How large the daemon is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    descriptors: usize,
    kib: u64,
    zombies: usize,
}

impl Size {
    pub(super) fn of(pid: u32) -> Self {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = rss.and_then(|rss| rss.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        Self { descriptors, kib, zombies: zombies(pid) }
    }

    /// No descriptor more, no zombie, and not more memory than its allocator keeps for later.
    pub(super) fn is_near(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors && self.zombies == 0 && self.kib <= before.kib + (24 << 10)
    }
}

/// Its children that are dead and were not waited for.
fn zombies(parent: u32) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let parent = parent.to_string();
    let dead = |stat: &String| {
        let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&parent)
    };
    stats.filter(dead).count()
}

/// All that is checked: `seen` was heard while it happened, `told` is what is told afterwards.
pub(super) fn all(world: &World, seen: &[Event], told: &[Event]) {
    order(world, told);
    same(world, seen, told);
    let mut of: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in told {
        of.entry(&event.container).or_default().push(event);
    }
    let lives = world.lives().clone();
    for (id, life) in &lives {
        let events = of.remove(id.as_str()).unwrap_or_default();
        for what in contradictions(life, &events) {
            let log = life.log.as_ref().map(|log| log.chars().take(LOG_SHOWN).collect());
            let life = Life { log, ..life.clone() };
            world.wrong(format!("{id}: {what}; {life:?}; events {:?}", kinds(&events)));
        }
    }
    for (id, events) in of {
        world.wrong(format!("{id}: events {:?} of a container that nobody asked for", kinds(&events)));
    }
}

fn kinds(events: &[&Event]) -> Vec<Kind> {
    events.iter().map(|event| event.kind()).collect()
}

/// One after the other from 1 on, without a gap.
fn order(world: &World, told: &[Event]) {
    for (event, expected) in told.iter().zip(1..) {
        if event.seq != expected || event.kind() == Kind::Gap {
            world.wrong(format!("event {} comes where {expected} should: {event:?}", event.seq));
            return;
        }
    }
}

/// What was heard is what is told: the same numbers mean the same events.
fn same(world: &World, seen: &[Event], told: &[Event]) {
    if seen.len() != told.len() {
        world.wrong(format!("{} events were heard, {} are told", seen.len(), told.len()));
    }
    if let Some((heard, told)) = seen.iter().zip(told).find(|(heard, told)| heard != told) {
        world.wrong(format!("heard {heard:?}, and told {told:?}"));
    }
}

/// What contradicts what.
fn contradictions(life: &Life, events: &[&Event]) -> Vec<String> {
    if life.inner {
        return Vec::new();
    }
    let mut found = Vec::new();
    let at = |kind| events.iter().position(|event| event.kind() == kind);
    let times = |kind| events.iter().filter(|event| event.kind() == kind).count();
    // A start is asked for with a key, and so comes about once.
    for kind in [Kind::Started, Kind::Deleted] {
        if times(kind) > 1 && (kind == Kind::Deleted || life.again.is_none()) {
            found.push(format!("{kind:?} {} times", times(kind)));
        }
    }
    // One whose init has died before the start has another life, which that begins.
    let lives: BTreeSet<u32> = events.iter().map(|event| event.life).collect();
    for number in lives {
        found.extend(wrong_life(number, events));
    }
    let mut must = |condition: bool, kind: Kind| {
        if condition && at(kind).is_none() {
            found.push(format!("{kind:?} is missing"));
        }
    };
    must(life.created, Kind::Created);
    must(life.created, Kind::Deleted);
    must(life.started, Kind::Started);
    must(life.started, Kind::Exited);
    if let Some(again) = &life.again {
        found.extend(again::contradictions(life, again, events));
        return found;
    }
    let started = events.iter().find(|event| event.kind() == Kind::Started).map(|event| event.life);
    let of_it =
        |event: &&&Event| event.kind() == Kind::Exited && started.is_none_or(|life| event.life == life);
    let told = events.iter().find(of_it);
    let told = told.and_then(|event| event.exit.clone()).and_then(|exit| exit.how);
    if life.exit.is_some() && life.exit != told {
        found.push(format!("Wait answered {:?}, the event says {told:?}", life.exit));
    }
    let lost = events.iter().any(|event| event.output_lost.is_some());
    if let (Some(how), None, Some(_)) = (&told, at(Kind::StartFailed), started) {
        found.extend(invented(life, how, lost));
    }
    found.extend(life.execs.iter().filter_map(|(id, exec)| wrong_exec(id, exec, life, events)));
    let never_ran = life.faulty && matches!(life.exit, Some(How::Code(FAULT)));
    if let (Some(log), Some(exit), false) = (&life.log, &life.exit, lost || life.starved || never_ran) {
        found.extend(torn(log, life.pad, exit));
    }
    found
}

/// What is wrong with one life: its steps come once, and in order.
fn wrong_life(number: u32, events: &[&Event]) -> Option<String> {
    let steps = [Kind::Created, Kind::Started, Kind::Exited];
    let of_it = events.iter().filter(|event| event.life == number);
    let places: Vec<usize> =
        of_it.filter_map(|event| steps.iter().position(|step| *step == event.kind())).collect();
    let wrong = places.windows(2).any(|pair| !matches!(pair, [before, after] if before < after));
    wrong.then(|| format!("life {number} is out of order"))
}

/// What is wrong with one exec: each of its events is told once, in order, and what they say is what was asked for.
fn wrong_exec(id: &str, exec: &ExecLife, life: &Life, events: &[&Event]) -> Option<String> {
    let own = events.iter().filter(|event| event.exec == *id);
    let own: Vec<(Kind, Option<How>)> =
        own.map(|event| (event.kind(), event.exit.clone().and_then(|exit| exit.how))).collect();
    let [(Kind::ExecStarted, None), (Kind::ExecExited, Some(how))] = own.as_slice() else {
        return Some(format!("exec {id}: events {own:?}"));
    };
    if exec.told.as_ref().is_some_and(|told| told != how) {
        return Some(format!("exec {id}: Wait answered {:?}, the event says {how:?}", exec.told));
    }
    match how {
        How::Code(code) if *code == exec.code => None,
        // With the init of its pid namespace it ends by this signal.
        How::Signal(9) => None,
        How::Unknown(because) if !because.is_empty() => None,
        other => Some(format!("exec {id} exited with {other:?} and not {}, {life:?}", exec.code)),
    }
}

/// An exit that cannot be, of a process that was executed.
fn invented(life: &Life, how: &How, lost: bool) -> Option<String> {
    match how {
        // What it writes while nobody has its pipes is an error to it, of which it panics.
        How::Code(UNREAD) if lost => None,
        How::Code(code) if *code == life.code => None,
        How::Signal(9) if life.killed => None,
        // An init that was made to die before it could execute the process.
        How::Code(FAULT) if life.faulty => None,
        How::Unknown(because) if !because.is_empty() => None,
        other => Some(format!("exited with {other:?}")),
    }
}

/// A log whose lines are not those that were written.
fn torn(log: &str, pad: usize, exit: &How) -> Option<String> {
    let mut lines = log.lines().peekable();
    let mut expected = 1_u64;
    let pad = "x".repeat(pad);
    while lines.next_if(|line| *line == format!("line {expected}{pad}")).is_some() {
        expected += 1;
    }
    let written = expected - 1;
    let last = lines.next();
    let ended = match exit {
        How::Code(code) => last == Some(&format!("end {code} after {written}")),
        // Killed in the middle of a line, or after the last one.
        _ => last.is_none_or(|last| {
            format!("line {expected}{pad}").starts_with(last)
                || last.starts_with("end ")
                || "end".starts_with(last)
        }),
    };
    (!ended || lines.next().is_some())
        .then(|| format!("after {written} lines the log says {last:?} and {:?}", lines.next()))
}

/// What was done, for who reads it.
pub(super) fn summary(world: &World, done: &Done, told: &[Event]) {
    let lives = world.lives();
    let count = |wanted: fn(&Life) -> bool| lives.values().filter(|life| wanted(life)).count();
    println!(
        "{} containers asked for, {} created, {} started, {} deleted by their clients; {} events",
        lives.len(),
        count(|life| life.created),
        count(|life| life.started),
        count(|life| life.deleted),
        told.len()
    );
    let unknown: Vec<&Event> = told
        .iter()
        .filter(|event| {
            matches!(event.exit.as_ref().and_then(|exit| exit.how.as_ref()), Some(How::Unknown(_)))
        })
        .collect();
    let adopted = told.iter().filter(|event| event.kind() == Kind::Adopted).count();
    let lost = told.iter().filter(|event| event.output_lost.is_some()).count();
    println!("{adopted} adopted, {lost} with output lost, {} exits unknown", unknown.len());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for event in unknown {
        if let Some(How::Unknown(because)) = event.exit.as_ref().and_then(|exit| exit.how.clone()) {
            *reasons.entry(because).or_default() += 1;
        }
    }
    for (because, times) in reasons {
        println!("  {times}: {because}");
    }
    println!("{done:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> Life {
        let log = Some("line 1\nline 2\nend 7 after 2\n".to_owned());
        let exit = Some(How::Code(7));
        Life { code: 7, created: true, started: true, exit, log, deleted: true, ..Life::default() }
    }

    fn events(kinds: &[Kind], how: How) -> Vec<Event> {
        let exit = sextant_proto::v1::Exit { how: Some(how), ..Default::default() };
        let event = |kind: &Kind| Event {
            kind: (*kind).into(),
            exit: (*kind == Kind::Exited).then(|| exit.clone()),
            ..Event::default()
        };
        kinds.iter().map(event).collect()
    }

    fn found(life: &Life, kinds: &[Kind], how: How) -> Vec<String> {
        contradictions(life, &events(kinds, how).iter().collect::<Vec<_>>())
    }

    const WHOLE: [Kind; 4] = [Kind::Created, Kind::Started, Kind::Exited, Kind::Deleted];

    #[test]
    fn a_life_as_it_should_be_is_not_blamed() {
        assert_eq!(found(&life(), &WHOLE, How::Code(7)), Vec::<String>::new());
        let killed =
            Life { killed: true, exit: Some(How::Signal(9)), log: Some("line 1\nli".into()), ..life() };
        assert_eq!(found(&killed, &WHOLE, How::Signal(9)), Vec::<String>::new());
    }

    #[test]
    fn lost_doubled_and_invented_ones_are_found() {
        let one = |life: &Life, kinds: &[Kind], how| {
            let found = found(life, kinds, how);
            assert_eq!(found.len(), 1, "{found:?}");
            found.concat()
        };
        let without_deleted = WHOLE.split_last().unwrap().1;
        assert_eq!(one(&life(), without_deleted, How::Code(7)), "Deleted is missing");
        let doubled = [Kind::Created, Kind::Started, Kind::Started, Kind::Exited, Kind::Deleted];
        assert_eq!(found(&life(), &doubled, How::Code(7)), ["Started 2 times", "life 0 is out of order"]);
        let turned = [Kind::Started, Kind::Created, Kind::Exited, Kind::Deleted];
        assert_eq!(one(&life(), &turned, How::Code(7)), "life 0 is out of order");
        let unasked = Life { exit: Some(How::Signal(9)), log: None, ..life() };
        assert_eq!(one(&unasked, &WHOLE, How::Signal(9)), "exited with Signal(9)");
        let other = Life { exit: None, log: None, ..life() };
        assert_eq!(one(&other, &WHOLE, How::Code(0)), "exited with Code(0)");
        let differing = Life { killed: true, exit: Some(How::Signal(9)), log: None, ..life() };
        assert!(one(&differing, &WHOLE, How::Code(7)).starts_with("Wait answered"));
    }

    #[test]
    fn an_exec_that_is_lost_doubled_or_invented_is_found() {
        let exec = ExecLife { code: 3, told: Some(How::Code(3)) };
        let life = Life { execs: BTreeMap::from([("e1".to_owned(), exec)]), ..life() };
        let whole = |how| {
            let mut all = events(&[Kind::Created, Kind::Started, Kind::ExecStarted, Kind::ExecExited], how);
            all[2].exec = "e1".into();
            all[3] = Event { exec: "e1".into(), exit: all[3].exit.clone(), ..all[3].clone() };
            all[3].exit = events(&[Kind::Exited], How::Code(3))[0].exit.clone();
            all.extend(events(&[Kind::Exited, Kind::Deleted], How::Code(7)));
            all
        };
        let found = |events: &[Event]| contradictions(&life, &events.iter().collect::<Vec<_>>());
        let good = whole(How::Code(7));
        assert_eq!(found(&good), Vec::<String>::new());
        let mut lost = good.clone();
        lost.remove(3);
        let mut doubled = good.clone();
        doubled.insert(3, good[3].clone());
        let mut invented = good.clone();
        invented[3].exit = events(&[Kind::Exited], How::Code(4))[0].exit.clone();
        for wrong in [lost, doubled, invented] {
            assert_eq!(found(&wrong).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn a_log_with_a_hole_is_found() {
        let hole = |log: &str| torn(log, 0, &How::Code(7)).is_some();
        assert!(!hole("line 1\nend 7 after 1\n"));
        for log in [
            "",
            "line 1\n",
            "line 1\nend 7 after 2\n",
            "line 2\nend 7 after 1\n",
            "line 1\nline 1\nend 7 after 2\n",
        ] {
            assert!(hole(log), "{log:?}");
        }
        assert!(torn("line 1\nline 3\n", 0, &How::Signal(9)).is_some());
        assert!(torn("line 1\nline", 0, &How::Signal(9)).is_none());
    }
}
