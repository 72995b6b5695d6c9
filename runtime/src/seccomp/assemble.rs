//! Decisions → a program of classic BPF (Documentation/networking/filter.rst).
//!
//! For each audit architecture a binary search over [`Stretch`]es of numbers.
//! Most single numbers that are treated differently lie within others: one
//! comparison for equality tells such a number from both its neighbours, where
//! the search would need two.
//!
//! Jumps go forward only, so the program is written from its end: whatever a
//! jump leads to is there already. The offsets of a comparison have 8 bits;
//! where they do not reach, a copy of the target's `ret`, or a `ja`, whose
//! offset has 32 bits, is put between.

use super::decide::{Decided, Decision};
use super::rules::{Answer, Condition, Test};
use super::{Instruction, MAX_INSTRUCTIONS};

// Operations of linux/filter.h and linux/bpf_common.h.
pub(super) const LD_ABS: u16 = 0x20;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const AND: u16 = 0x54;
pub(super) const RET: u16 = 0x06;

// Offsets in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The farthest jump of a comparison, less room for two steps put between.
const REACH: usize = 253;

/// A place in the program: how many instructions stand behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(usize);

/// The program so far, its last instruction first.
struct Assembler<'a> {
    decided: &'a Decided,
    reversed: Vec<Instruction>,
    /// The last `ret` of each answer.
    answers: Vec<(Answer, Label)>,
    /// The beginning of each choice that is there already.
    choices: Vec<Option<Label>>,
}

/// Assembles the whole program. An unknown architecture is killed, as by libseccomp.
pub(super) fn assemble(decided: &Decided) -> Vec<Instruction> {
    let mut assembler = Assembler {
        decided,
        reversed: Vec::with_capacity(512),
        answers: Vec::with_capacity(8),
        choices: vec![None; decided.choices.len()],
    };
    let mut entries = Vec::with_capacity(decided.blocks.len());
    for block in &decided.blocks {
        let tree = assembler.tree(&stretches(&block.ranges));
        entries.push((block.audit, assembler.load_before(NUMBER, tree)));
        if assembler.reversed.len() > MAX_INSTRUCTIONS {
            break;
        }
    }
    let mut next = assembler.answer(libc::SECCOMP_RET_KILL_PROCESS);
    for (audit, entry) in entries {
        next = assembler.compare(JEQ, audit, entry, next);
    }
    assembler.load_before(ARCH, next);
    assembler.reversed.reverse();
    assembler.reversed
}

/// Numbers with one decision, but for some single ones among them.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    first: u32,
    decision: Decision,
    /// Ranges, every other one of which has a single number and a decision of its own.
    exceptions: &'a [(u32, Decision)],
}

/// More exceptions than this are split: they are compared one after the other.
const MAX_EXCEPTIONS: usize = 4;

fn stretches(ranges: &[(u32, Decision)]) -> Vec<Stretch<'_>> {
    let mut stretches = Vec::with_capacity(ranges.len() / 2);
    let mut rest = ranges;
    while let [(first, decision), behind @ ..] = rest {
        let is_exception = |pair: &[(u32, Decision)]| matches!(pair, [(single, _), (next, again)] if single.checked_add(1) == Some(*next) && again == decision);
        let count = behind.chunks(2).take(MAX_EXCEPTIONS).take_while(|pair| is_exception(pair)).count();
        let Some((exceptions, others)) = behind.split_at_checked(2 * count) else { break };
        stretches.push(Stretch { first: *first, decision: *decision, exceptions });
        rest = others;
    }
    stretches
}

impl Assembler<'_> {
    fn here(&self) -> Label {
        Label(self.reversed.len())
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        let label = self.here();
        self.reversed.push(Instruction { code, jt, jf, k });
        label
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len().saturating_sub(label.0).saturating_sub(1)
    }

    /// A `ret` in reach.
    fn answer(&mut self, answer: Answer) -> Label {
        let known = self.answers.iter().position(|(other, _)| *other == answer);
        let label = known.and_then(|at| self.answers.get(at)).map(|(_, label)| *label);
        if let Some(label) = label.filter(|label| self.distance(*label) <= REACH) {
            return label;
        }
        let label = self.push(RET, 0, 0, answer);
        match known.and_then(|at| self.answers.get_mut(at)) {
            Some(last) => last.1 = label,
            None => self.answers.push((answer, label)),
        }
        label
    }

    /// A place in reach that leads to `label`.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) <= REACH {
            return label;
        }
        match self.reversed.get(label.0) {
            Some(Instruction { code: RET, k, .. }) => self.answer(*k),
            _ => self.jump(label),
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(JA, 0, 0, distance)
    }

    /// `if A op k goto yes else goto no`
    fn compare(&mut self, op: u16, k: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.near(yes), self.near(no));
        let offset = |label| u8::try_from(self.distance(label)).unwrap_or(u8::MAX);
        let (jt, jf) = (offset(yes), offset(no));
        self.push(op, jt, jf, k)
    }

    /// `A = data[offset]`, then `next`.
    fn load_before(&mut self, offset: u32, next: Label) -> Label {
        if self.distance(next) != 0 {
            self.jump(next);
        }
        self.push(LD_ABS, 0, 0, offset)
    }

    /// A binary search for the number in A.
    fn tree(&mut self, stretches: &[Stretch<'_>]) -> Label {
        let (left, right) = stretches.split_at(stretches.len() / 2);
        match (left, right) {
            ([], [stretch, ..]) => self.stretch(stretch),
            (_, [first, ..]) => {
                let above = self.tree(right);
                let below = self.tree(left);
                self.compare(JGE, first.first, above, below)
            }
            (_, []) => self.answer(libc::SECCOMP_RET_KILL_PROCESS),
        }
    }

    fn stretch(&mut self, stretch: &Stretch<'_>) -> Label {
        let mut next = self.decision(stretch.decision);
        for (number, decision) in stretch.exceptions.iter().step_by(2).rev() {
            let exception = self.decision(*decision);
            next = self.compare(JEQ, *number, exception, next);
        }
        next
    }

    fn decision(&mut self, decision: Decision) -> Label {
        let choice = match decision {
            Decision::Always(answer) => return self.answer(answer),
            Decision::Choice(choice) => usize::try_from(choice).unwrap_or(usize::MAX),
        };
        if let Some(Some(label)) = self.choices.get(choice) {
            return *label;
        }
        let decided = self.decided;
        let mut next = self.answer(decided.otherwise);
        let alternatives = decided.choices.get(choice).map(|span| span.of(&decided.alternatives));
        for alternative in alternatives.unwrap_or_default().iter().rev() {
            next = self.all(alternative.conditions.of(&decided.conditions), alternative.answer, next);
        }
        if let Some(known) = self.choices.get_mut(choice) {
            *known = Some(next);
        }
        next
    }

    /// `answer` when all conditions hold, else on to `otherwise`.
    fn all(&mut self, conditions: &[Condition], answer: Answer, otherwise: Label) -> Label {
        let mut hold = self.answer(answer);
        for condition in conditions.iter().rev() {
            hold = self.one(*condition, hold, otherwise);
        }
        hold
    }

    fn one(&mut self, condition: Condition, yes: Label, no: Label) -> Label {
        let word = |half: u32| ARGUMENTS + 8 * u32::from(condition.argument) + half;
        let (low, high) =
            if cfg!(target_endian = "little") { (word(0), word(4)) } else { (word(4), word(0)) };
        match condition.test {
            Test::Equal(v) => self.equal((low, high), (u64::MAX, v), yes, no),
            Test::Unequal(v) => self.equal((low, high), (u64::MAX, v), no, yes),
            Test::MaskedEqual { mask, value } => self.equal((low, high), (mask, value), yes, no),
            Test::Greater(v) => self.ordered(JGT, (low, high), v, yes, no),
            Test::GreaterOrEqual(v) => self.ordered(JGE, (low, high), v, yes, no),
            Test::Less(v) => self.ordered(JGE, (low, high), v, no, yes),
            Test::LessOrEqual(v) => self.ordered(JGT, (low, high), v, no, yes),
        }
    }

    /// `argument & mask == value`, the high half first.
    fn equal(&mut self, at: (u32, u32), (mask, value): (u64, u64), yes: Label, no: Label) -> Label {
        let ((mask_low, mask_high), (low, high)) = (halves(mask), halves(value));
        let next = self.equal_half(at.0, mask_low, low, yes, no);
        if (mask_high, high) == (0, 0) {
            return next;
        }
        self.equal_half(at.1, mask_high, high, next, no)
    }

    fn equal_half(&mut self, at: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        let mut label = self.compare(JEQ, value, yes, no);
        if mask != u32::MAX {
            label = self.push(AND, 0, 0, mask);
        }
        self.load_before(at, label)
    }

    /// `argument > value` or `>=`: `op` decides where the high halves are equal.
    fn ordered(&mut self, op: u16, at: (u32, u32), value: u64, yes: Label, no: Label) -> Label {
        let (low, high) = halves(value);
        let compared = self.compare(op, low, yes, no);
        let next = self.load_before(at.0, compared);
        let equal = self.compare(JEQ, high, next, no);
        let greater = self.compare(JGT, high, yes, equal);
        self.load_before(at.1, greater)
    }
}

/// The low and the high half.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}
