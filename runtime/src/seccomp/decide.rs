//! Rules → for each audit architecture, ranges of numbers with one decision each.

use super::arch::{Arch, X32_BIT};
use super::rules::{Answer, Condition, Rules, Test};
use oci_spec::runtime::LinuxSeccompAction;
use std::collections::BTreeMap;

/// What happens with a system call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decision {
    /// Alternatives in the config's order: the first whose conditions all hold decides.
    pub(super) alternatives: Vec<(Vec<Condition>, Answer)>,
    /// Otherwise.
    pub(super) otherwise: Answer,
}

impl Decision {
    fn plain(answer: Answer) -> Self {
        Self { alternatives: Vec::new(), otherwise: answer }
    }
}

/// All system calls of one audit architecture.
#[derive(Debug)]
pub(super) struct Block {
    /// `AUDIT_ARCH_*`
    pub(super) audit: u32,
    /// First number and decision, ascending, beginning with 0; neighbours differ.
    pub(super) ranges: Vec<(u32, Decision)>,
}

/// One block for each audit architecture, in the order of the rules'.
pub(super) fn blocks(rules: &Rules<'_>) -> Vec<Block> {
    let mut blocks: Vec<(u32, BTreeMap<u32, Decision>)> = Vec::new();
    for arch in &rules.arches {
        let points = match blocks.iter_mut().find(|(audit, _)| *audit == arch.audit()) {
            Some((_, points)) => points,
            None => {
                let points = BTreeMap::from([(0, Decision::plain(rules.default))]);
                blocks.push((arch.audit(), points));
                let Some((_, points)) = blocks.last_mut() else { continue };
                points
            }
        };
        if *arch == Arch::X86_64 {
            // Unless x32 is listed and replaces this.
            points.insert(X32_BIT, Decision::plain(foreign(rules)));
        }
        lay(points, *arch, rules);
    }
    let merged = |points: BTreeMap<u32, Decision>| {
        let mut ranges: Vec<(u32, Decision)> = points.into_iter().collect();
        ranges.dedup_by(|next, previous| next.1 == previous.1);
        ranges
    };
    blocks.into_iter().map(|(audit, points)| Block { audit, ranges: merged(points) }).collect()
}

/// x32 where it is not listed: refused in the profile's own way, and killed
/// where that would let it through.
fn foreign(rules: &Rules<'_>) -> Answer {
    use LinuxSeccompAction as A;
    match rules.default_action {
        A::ScmpActAllow | A::ScmpActLog | A::ScmpActTrace | A::ScmpActNotify => {
            libc::SECCOMP_RET_KILL_PROCESS
        }
        _ => rules.default,
    }
}

/// Writes the decisions of one architecture over what is in its range. Each
/// number is the beginning of a range; the number after it goes on with the default.
fn lay(points: &mut BTreeMap<u32, Decision>, arch: Arch, rules: &Rules<'_>) {
    let (first, last) = arch.range();
    points.insert(first, Decision::plain(rules.default));
    let decisions = decisions(arch, rules);
    let newest = decisions.newest;
    for (number, decision) in decisions.calls {
        points.insert(number, decision);
        if let Some(next) = number.checked_add(1) {
            points.entry(next).or_insert_with(|| Decision::plain(rules.default));
        }
    }
    // A call newer than the profile: it cannot have been meant. ENOSYS makes
    // programs fall back to an older one (as runc does).
    if rules.default_action == LinuxSeccompAction::ScmpActErrno
        && let Some(newest) = newest.filter(|newest| *newest < last)
    {
        let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        points.insert(newest + 1, Decision::plain(enosys));
        if arch == Arch::Arm {
            points.entry(last + 1).or_insert_with(|| Decision::plain(rules.default));
        }
    }
}

/// What the rules say about an architecture's calls.
struct Calls {
    calls: BTreeMap<u32, Decision>,
    /// The highest number that the profile names.
    newest: Option<u32>,
}

fn decisions(arch: Arch, rules: &Rules<'_>) -> Calls {
    let mut gathered: BTreeMap<u32, Gathered> = BTreeMap::new();
    for rule in &rules.list {
        let conditions: Vec<Condition> = rule.conditions.iter().map(|c| narrowed(*c, arch)).collect();
        if let Some((multiplexer, call)) = arch.multiplexed(rule.name)
            && let Some(number) = arch.number(multiplexer)
            && (conditions.is_empty() || !is_permissive(rule.answer))
        {
            let test = vec![Condition { argument: 0, test: Test::Equal(call) }];
            gathered.entry(number).or_default().add(test, rule.answer);
        }
        if let Some(number) = arch.number_in(rule.row) {
            gathered.entry(number).or_default().add(conditions, rule.answer);
        }
    }
    let newest = rules.newest(arch);
    let calls = gathered.into_iter().map(|(number, g)| (number, g.decide(rules.default))).collect();
    Calls { calls, newest }
}

impl Rules<'_> {
    fn newest(&self, arch: Arch) -> Option<u32> {
        self.named.iter().filter_map(|row| arch.number_in(row)).filter(|n| arch.is_sequential(*n)).max()
    }
}

/// Conditions cannot be checked behind a multiplexer, where the arguments lie
/// in memory. So a rule that forbids on a condition forbids there always, and
/// one that permits does not permit.
fn is_permissive(answer: Answer) -> bool {
    [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&answer)
}

#[derive(Default)]
struct Gathered {
    alternatives: Vec<(Vec<Condition>, Answer)>,
    always: Option<Answer>,
}

impl Gathered {
    fn add(&mut self, conditions: Vec<Condition>, answer: Answer) {
        if conditions.is_empty() {
            self.always.get_or_insert(answer);
        } else {
            self.alternatives.push((conditions, answer));
        }
    }

    /// As with libseccomp a rule without conditions is stronger than all with
    /// conditions, wherever it stands, and the first of several counts.
    fn decide(self, default: Answer) -> Decision {
        match self.always {
            Some(answer) => Decision::plain(answer),
            None => Decision { alternatives: self.alternatives, otherwise: default },
        }
    }
}

/// On a 32-bit architecture a negative number of the config stands for its low half.
fn narrowed(condition: Condition, arch: Arch) -> Condition {
    const HIGH: u64 = 0xffff_ffff_0000_0000;
    if !arch.has_narrow_arguments() {
        return condition;
    }
    let low = |value: u64| if value & HIGH == HIGH { value & !HIGH } else { value };
    let test = match condition.test {
        Test::Equal(v) => Test::Equal(low(v)),
        Test::Unequal(v) => Test::Unequal(low(v)),
        Test::Less(v) => Test::Less(low(v)),
        Test::LessOrEqual(v) => Test::LessOrEqual(low(v)),
        Test::Greater(v) => Test::Greater(low(v)),
        Test::GreaterOrEqual(v) => Test::GreaterOrEqual(low(v)),
        Test::MaskedEqual { mask, value } => Test::MaskedEqual { mask: mask & !HIGH, value: low(value) },
    };
    Condition { test, ..condition }
}
