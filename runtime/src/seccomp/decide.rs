//! Rules → for each audit architecture, ranges of numbers with one decision each.
//!
//! Everything is a number, a decision of one word, or a [`Span`] of a list, and
//! sorting replaces maps: a profile of 380 names costs a few pages of memory.

use super::arch::{Arch, X32_BIT};
use super::rules::{Answer, Condition, Rule, Rules, Span, Test};
use oci_spec::runtime::LinuxSeccompAction;

/// What happens with a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This.
    Always(Answer),
    /// One of the [`Decided::choices`].
    Choice(u32),
}

/// The first alternative whose conditions all hold decides, else the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alternative {
    /// Of [`Decided::conditions`].
    pub(super) conditions: Span,
    pub(super) answer: Answer,
}

/// All system calls of one audit architecture.
#[derive(Debug)]
pub(super) struct Block {
    /// `AUDIT_ARCH_*`
    pub(super) audit: u32,
    /// First number and decision, ascending, beginning with 0; neighbours differ.
    pub(super) ranges: Vec<(u32, Decision)>,
}

/// What the program has to say.
#[derive(Debug)]
pub(super) struct Decided {
    /// One for each audit architecture, in the order of the rules'.
    pub(super) blocks: Vec<Block>,
    /// Parts of `alternatives`; no two say the same.
    pub(super) choices: Vec<Span>,
    pub(super) alternatives: Vec<Alternative>,
    pub(super) conditions: Vec<Condition>,
    /// Where no alternative holds.
    pub(super) otherwise: Answer,
}

/// Decides about every number of every architecture.
pub(super) fn decide(mut rules: Rules) -> Decided {
    let conditions = std::mem::take(&mut rules.conditions);
    let (choices, alternatives) = (Vec::new(), Vec::new());
    let mut decided =
        Decided { blocks: Vec::new(), choices, alternatives, conditions, otherwise: rules.default };
    // Those of one audit value behind each other, by their ranges.
    let mut arches = rules.arches.clone();
    if let Some(native) = arches.first().copied() {
        arches.sort_by_key(|arch| (arch.audit() != native.audit(), arch.audit(), arch.range().0));
    }
    for arch in &arches {
        let mut ranges = match decided.blocks.last_mut() {
            Some(block) if block.audit == arch.audit() => std::mem::take(&mut block.ranges),
            _ => {
                decided.blocks.push(Block { audit: arch.audit(), ranges: Vec::new() });
                Vec::with_capacity(rules.list.len() / 2)
            }
        };
        decided.lay(&mut ranges, *arch, &rules);
        if *arch == Arch::X86_64 && !arches.contains(&Arch::X32) {
            // As another architecture that is not listed. The number -1 is no
            // call of x32: a tracer sets it to skip a call.
            extend(&mut ranges, X32_BIT, Decision::Always(libc::SECCOMP_RET_KILL_PROCESS));
            extend(&mut ranges, u32::MAX, Decision::Always(rules.default));
        }
        if let Some(block) = decided.blocks.last_mut() {
            block.ranges = ranges;
        }
    }
    decided
}

/// From `number` on, `decision`.
fn extend(ranges: &mut Vec<(u32, Decision)>, number: u32, decision: Decision) {
    match ranges.last_mut() {
        Some((first, last)) if *first == number => *last = decision,
        Some((_, last)) if *last == decision => {}
        _ => ranges.push((number, decision)),
    }
}

/// One rule for one number; small, since there is one for each name.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    /// The rule's place in the config's order: the first counts.
    place: u32,
    /// The first argument of a multiplexer that stands for the rule's call, else 0.
    multiplexed: u32,
}

impl Decided {
    /// Adds the ranges of one architecture.
    fn lay(&mut self, ranges: &mut Vec<(u32, Decision)>, arch: Arch, rules: &Rules) {
        let background = Background::new(arch, rules);
        let (mut next, last) = arch.range();
        for entries in sorted(arch, rules).chunk_by(|a, b| a.number == b.number) {
            let Some(number) = entries.first().map(|entry| entry.number) else { continue };
            background.fill(ranges, next, number);
            let decision = self.decision(entries, arch, rules);
            extend(ranges, number, decision);
            if number == last {
                return;
            }
            next = number.saturating_add(1);
        }
        background.fill(ranges, next, last);
        extend(ranges, last, background.at(last));
    }

    /// What the rules for one number say, in the config's order. As with
    /// libseccomp one without conditions is stronger than all with conditions,
    /// wherever it stands, and the first of several counts; a mask of zero is
    /// no condition.
    fn decision(&mut self, entries: &[Entry], arch: Arch, rules: &Rules) -> Decision {
        let ruled =
            || entries.iter().filter_map(|entry| Some((entry, rules.list.get(to_index(entry.place))?)));
        let is_always = |rule: &Rule| rule.conditions.of(&self.conditions).iter().all(|c| c.is_none_on(arch));
        let always = ruled().find(|(entry, rule)| entry.multiplexed == 0 && is_always(rule));
        if let Some((_, rule)) = always {
            return Decision::Always(rule.answer);
        }
        let first = self.alternatives.len();
        for (entry, rule) in ruled() {
            let conditions = match entry.multiplexed {
                0 => self.conditions_on(arch, rule.conditions),
                call => self.condition_on_first(call),
            };
            self.alternatives.push(Alternative { conditions, answer: rule.answer });
        }
        let choice = Span { first, count: self.alternatives.len() - first };
        let known = self.choices.iter().position(|other| self.say_the_same(*other, choice));
        match known {
            Some(_) => self.alternatives.truncate(first),
            None => self.choices.push(choice),
        }
        let index = known.unwrap_or(self.choices.len() - 1);
        u32::try_from(index).map_or(Decision::Always(rules.default), Decision::Choice)
    }

    /// These conditions as they are on `arch`.
    fn conditions_on(&mut self, arch: Arch, span: Span) -> Span {
        if !arch.has_narrow_arguments() || span.of(&self.conditions).iter().all(|c| c.narrowed() == *c) {
            return span;
        }
        let first = self.conditions.len();
        self.conditions.extend_from_within(span.first..span.first + span.count);
        self.conditions.iter_mut().skip(first).for_each(|c| *c = c.narrowed());
        Span { first, ..span }
    }

    fn condition_on_first(&mut self, argument: u32) -> Span {
        let first = self.conditions.len();
        self.conditions.push(Condition { argument: 0, test: Test::Equal(argument.into()) });
        Span { first, count: 1 }
    }

    fn say_the_same(&self, a: Span, b: Span) -> bool {
        let (a, b) = (a.of(&self.alternatives), b.of(&self.alternatives));
        let conditions = |alternative: &Alternative| alternative.conditions.of(&self.conditions);
        let same = |(a, b)| conditions(a) == conditions(b) && a.answer == b.answer;
        a.len() == b.len() && a.iter().zip(b).all(same)
    }
}

/// The rules by number, then in the config's order.
fn sorted(arch: Arch, rules: &Rules) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(rules.list.len());
    for (place, rule) in (0_u32..).zip(&rules.list) {
        if arch.multiplexes()
            && let Some((multiplexer, call)) = rule.call.multiplexed()
            && let Some(number) = arch.number(multiplexer)
            && (rule.conditions.count == 0 || !is_permissive(rule.answer))
        {
            entries.push(Entry { number, place, multiplexed: call });
        }
        if let Some(number) = arch.number(rule.call) {
            entries.push(Entry { number, place, multiplexed: 0 });
        }
    }
    entries.sort_unstable_by_key(|entry| (entry.number, entry.place));
    entries
}

fn to_index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// Conditions cannot be checked behind a multiplexer, where the arguments lie
/// in memory. So a rule that forbids on a condition forbids there always, and
/// one that permits does not permit.
fn is_permissive(answer: Answer) -> bool {
    [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&answer)
}

/// What happens with numbers that no rule names.
struct Background {
    default: Answer,
    /// Numbers that cannot have been meant: newer than the newest of the
    /// profile. ENOSYS makes programs fall back to an older call.
    unknown: Option<(u32, u32)>,
}

impl Background {
    /// As in runc: a default that lets calls through, or to a tracer, does so
    /// with newer ones as well.
    fn new(arch: Arch, rules: &Rules) -> Self {
        use LinuxSeccompAction as A;
        let last = arch.last_of_sequence();
        let newest = rules.named.iter().filter_map(|call| arch.number(*call)).filter(|n| *n <= last).max();
        let unknown = match rules.default_action {
            A::ScmpActAllow | A::ScmpActLog | A::ScmpActTrace | A::ScmpActNotify => None,
            _ => newest.and_then(|n| n.checked_add(1)).filter(|n| *n <= last).map(|first| (first, last)),
        };
        Self { default: rules.default, unknown }
    }

    fn at(&self, number: u32) -> Decision {
        let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        let is_unknown = self.unknown.is_some_and(|(first, last)| (first..=last).contains(&number));
        Decision::Always(if is_unknown { enosys } else { self.default })
    }

    /// From `next` up to the number before `until`.
    fn fill(&self, ranges: &mut Vec<(u32, Decision)>, next: u32, until: u32) {
        if next < until {
            extend(ranges, next, self.at(next));
        }
        let (first, last) = self.unknown.unwrap_or_default();
        for turn in [first, last.saturating_add(1)] {
            if next < turn && turn < until {
                extend(ranges, turn, self.at(turn));
            }
        }
    }
}

impl Condition {
    /// Whether it says nothing about the bits of an argument of `arch`.
    fn is_none_on(self, arch: Arch) -> bool {
        let condition = if arch.has_narrow_arguments() { self.narrowed() } else { self };
        matches!(condition.test, Test::MaskedEqual { mask: 0, .. })
    }

    /// On a 32-bit architecture only the low half of a value counts, as with libseccomp.
    fn narrowed(self) -> Self {
        const LOW: u64 = 0xffff_ffff;
        let test = match self.test {
            Test::Equal(v) => Test::Equal(v & LOW),
            Test::Unequal(v) => Test::Unequal(v & LOW),
            Test::Less(v) => Test::Less(v & LOW),
            Test::LessOrEqual(v) => Test::LessOrEqual(v & LOW),
            Test::Greater(v) => Test::Greater(v & LOW),
            Test::GreaterOrEqual(v) => Test::GreaterOrEqual(v & LOW),
            Test::MaskedEqual { mask, value } => Test::MaskedEqual { mask: mask & LOW, value: value & LOW },
        };
        Self { test, ..self }
    }
}
