//! Device rules as a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`, which
//! the kernel asks at every open(2) and mknod(2) of a device in the cgroup
//! (Documentation/admin-guide/cgroup-v2.rst, "Device controller"). Pure;
//! [`crate::sys::bpf`] loads it.
//!
//! The rules are walked from the last to the first. r7 holds the kinds of
//! access that no rule has decided yet: a rule that allows takes its kinds
//! away, one that forbids ends the walk when it meets any of them. What is
//! left at the end is forbidden.
//!
//! Neighbours that all allow, or all forbid, mean the same in any order. So they
//! are sorted: type and major number are compared once for all that share them,
//! and a device costs one instruction. The kernel takes 1.6 microseconds for each
//! instruction, at every start of a container.

use super::devices::{Access, Kind, Pattern, Rule, Verdict};

/// One instruction in the kernel's encoding (`struct bpf_insn`, linux/bpf.h).
pub type Word = u64;

// Classes, sizes and operations of linux/bpf_common.h and linux/bpf.h.
const LDX_MEM_W: u8 = 0x61;
const MOV64_IMM: u8 = 0xb7;
const MOV64_REG: u8 = 0xbf;
const AND64_IMM: u8 = 0x57;
const RSH64_IMM: u8 = 0x77;
// On 32 bits (Linux 5.1): an immediate value is not extended with its sign then.
const JEQ_IMM: u8 = 0x16;
const JNE_IMM: u8 = 0x56;
const JSET_IMM: u8 = 0x46;
const EXIT: u8 = 0x95;

const R0: u8 = 0;
const R1: u8 = 1;
const TYPE: u8 = 6;
const REMAINING: u8 = 7;
const MAJOR: u8 = 8;
const MINOR: u8 = 9;

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

/// Assembles the program for `rules`, of which a later one overrides an earlier.
pub fn assemble(rules: &[Rule]) -> Vec<Word> {
    let mut code = Code::default();
    // struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor
    code.put(insn(LDX_MEM_W, TYPE, R1, 0, 0));
    code.put(insn(LDX_MEM_W, MAJOR, R1, 4, 0));
    code.put(insn(LDX_MEM_W, MINOR, R1, 8, 0));
    code.put(insn(MOV64_REG, REMAINING, TYPE, 0, 0));
    code.put(insn(RSH64_IMM, REMAINING, 0, 0, 16));
    code.put(insn(AND64_IMM, TYPE, 0, 0, 0xffff));
    // Nothing before a rule about everything can matter.
    let relevant = match rules.iter().rposition(is_about_all) {
        // Whatever is left is forbidden anyway.
        Some(at) if rules.get(at).is_some_and(|r| r.verdict == Verdict::Deny) => at + 1,
        Some(at) => at,
        None => 0,
    };
    let relevant: Vec<&Rule> = rules.iter().skip(relevant).rev().collect();
    for neighbours in relevant.chunk_by(|a, b| a.verdict == b.verdict) {
        code.put_all(neighbours);
    }
    code.finish()
}

/// Where a jump goes that is not behind a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jump {
    at: usize,
    to: Verdict,
}

/// A program that grows.
#[derive(Default)]
struct Code {
    words: Vec<Word>,
    jumps: Vec<Jump>,
    /// What is answered where no rule has decided.
    otherwise: Verdict,
}

impl Code {
    fn put(&mut self, word: Word) {
        self.words.push(word);
    }

    /// A jump to the end that answers so.
    fn put_jump(&mut self, code: u8, register: u8, immediate: u32, to: Verdict) {
        self.jumps.push(Jump { at: self.words.len(), to });
        self.put(insn(code, register, 0, 0, immediate));
    }

    /// What `body` adds is for requests in which `register` is `wanted`; for all, without one.
    fn only_if(&mut self, register: u8, wanted: Option<u32>, body: impl FnOnce(&mut Self)) {
        let Some(wanted) = wanted else { return body(self) };
        let at = self.words.len();
        self.put(0);
        body(self);
        let skip = u16::try_from(self.words.len() - at - 1).unwrap_or(u16::MAX);
        if let Some(place) = self.words.get_mut(at) {
            *place = insn(JNE_IMM, register, 0, skip, wanted);
        }
    }

    /// Rules with one verdict.
    fn put_all(&mut self, rules: &[&Rule]) {
        let mut rules = rules.to_vec();
        let major = |r: &Rule| (r.pattern.kind.map(kind_number), r.pattern.major);
        rules.sort_by_key(|r| (major(r), r.access.0, r.pattern.minor));
        rules.dedup_by_key(|r| (major(r), r.access.0, r.pattern.minor));
        if rules.iter().any(|r| is_about_all(r) && decides(r)) {
            self.otherwise = Verdict::Allow;
            return;
        }
        for of_kind in rules.chunk_by(|a, b| a.pattern.kind == b.pattern.kind) {
            let Some(kind) = of_kind.first().map(|r| r.pattern.kind.map(kind_number)) else { continue };
            let whole = |r: &&Rule| (r.pattern.major, r.pattern.minor) == (None, None) && decides(r);
            match kind {
                Some(kind) if of_kind.iter().any(whole) => {
                    self.put_jump(JEQ_IMM, TYPE, kind, Verdict::Allow);
                }
                _ => self.only_if(TYPE, kind, |code| {
                    for of_major in of_kind.chunk_by(|a, b| a.pattern.major == b.pattern.major) {
                        code.put_major(of_major);
                    }
                }),
            }
        }
    }

    /// Rules about one major number, or about all.
    fn put_major(&mut self, rules: &[&Rule]) {
        let Some(major) = rules.first().map(|r| r.pattern.major) else { return };
        match major {
            Some(major) if rules.iter().any(|r| r.pattern.minor.is_none() && decides(r)) => {
                self.put_jump(JEQ_IMM, MAJOR, major, Verdict::Allow);
            }
            _ => self.only_if(MAJOR, major, |code| rules.iter().for_each(|rule| code.put_minor(rule))),
        }
    }

    /// One rule; about all minor numbers only where it leaves something undecided. An instruction
    /// that cannot be reached would be refused by the kernel.
    fn put_minor(&mut self, rule: &Rule) {
        let access = u32::from(rule.access.0);
        match (rule.pattern.minor, rule.verdict) {
            (Some(minor), _) if decides(rule) => self.put_jump(JEQ_IMM, MINOR, minor, Verdict::Allow),
            (minor, Verdict::Allow) => self.only_if(MINOR, minor, |code| {
                code.put(insn(AND64_IMM, REMAINING, 0, 0, u32::from(Access::ALL.0) & !access));
                code.put_jump(JEQ_IMM, REMAINING, 0, Verdict::Allow);
            }),
            (minor, Verdict::Deny) => {
                self.only_if(MINOR, minor, |code| code.put_jump(JSET_IMM, REMAINING, access, Verdict::Deny));
            }
        }
    }

    /// The ends, and the way of every jump to its own. One that nobody comes to is left out.
    fn finish(mut self) -> Vec<Word> {
        let other = if self.otherwise == Verdict::Allow { Verdict::Deny } else { Verdict::Allow };
        let end = self.words.len();
        self.words.extend(answer(self.otherwise));
        if self.jumps.iter().any(|jump| jump.to == other) {
            self.words.extend(answer(other));
        }
        for jump in &self.jumps {
            let end = if jump.to == other { end + 2 } else { end };
            if let Some(word) = self.words.get_mut(jump.at) {
                *word = with_offset(*word, u16::try_from(end - jump.at - 1).unwrap_or(u16::MAX));
            }
        }
        self.words
    }
}

fn answer(verdict: Verdict) -> [Word; 2] {
    [insn(MOV64_IMM, R0, 0, 0, u32::from(verdict == Verdict::Allow)), insn(EXIT, 0, 0, 0, 0)]
}

/// Whether it is about every kind of access to every device.
fn is_about_all(rule: &Rule) -> bool {
    rule.pattern == (Pattern { kind: None, major: None, minor: None }) && rule.access == Access::ALL
}

/// Whether a request that the rule fits is allowed, whatever it asks for.
fn decides(rule: &Rule) -> bool {
    rule.verdict == Verdict::Allow && rule.access == Access::ALL
}

fn with_offset(word: Word, offset: u16) -> Word {
    let [code, registers, _, _, i0, i1, i2, i3] = word.to_ne_bytes();
    let [o0, o1] = offset.to_ne_bytes();
    Word::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

fn insn(code: u8, dst: u8, src: u8, offset: u16, immediate: u32) -> Word {
    let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    Word::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: a model of the instructions used here.
    fn run(words: &[Word], kind: Kind, access: Access, major: u32, minor: u32) -> bool {
        let context = [u32::from(access.0) << 16 | kind_number(kind), major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let [code, regs, o0, o1, i0, i1, i2, i3] = words[at].to_ne_bytes();
            let (dst, src) = (usize::from(regs & 15), usize::from(regs >> 4));
            let offset = usize::from(u16::from_ne_bytes([o0, o1]));
            let imm = u64::from(u32::from_ne_bytes([i0, i1, i2, i3]));
            at += 1;
            match code {
                LDX_MEM_W => registers[dst] = context[offset / 4].into(),
                MOV64_IMM => registers[dst] = imm,
                MOV64_REG => registers[dst] = registers[src],
                AND64_IMM => registers[dst] &= imm,
                RSH64_IMM => registers[dst] >>= imm,
                JNE_IMM if registers[dst] != imm => at += offset,
                JEQ_IMM if registers[dst] == imm => at += offset,
                JSET_IMM if registers[dst] & imm != 0 => at += offset,
                EXIT => return registers[0] != 0,
                JNE_IMM | JEQ_IMM | JSET_IMM => {}
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// Instructions that no way leads to: the kernel refuses a program that has one.
    fn unreached(words: &[Word]) -> Vec<usize> {
        let mut reached = vec![false; words.len()];
        reached[0] = true;
        for at in 0..words.len() {
            let [code, _, o0, o1, ..] = words[at].to_ne_bytes();
            if reached[at] && code != EXIT {
                reached[at + 1] = true;
                if [JNE_IMM, JEQ_IMM, JSET_IMM].contains(&code) {
                    reached[at + 1 + usize::from(u16::from_ne_bytes([o0, o1]))] = true;
                }
            }
        }
        (0..words.len()).filter(|at| !reached[*at]).collect()
    }

    /// The rules, read plainly: for each kind of access the last rule that matches decides.
    fn plainly(rules: &[Rule], kind: Kind, access: Access, major: u32, minor: u32) -> bool {
        let fits = |r: &Rule| {
            r.pattern.kind.is_none_or(|k| k == kind)
                && r.pattern.major.is_none_or(|m| m == major)
                && r.pattern.minor.is_none_or(|m| m == minor)
        };
        [1, 2, 4].into_iter().filter(|bit| access.0 & bit != 0).all(|bit| {
            let last = rules.iter().rev().find(|r| r.access.0 & bit != 0 && fits(r));
            last.is_some_and(|r| r.verdict == Verdict::Allow)
        })
    }

    #[test]
    fn every_request_is_answered_as_the_rules_say() {
        let mut seed = 7u32;
        let mut random = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % n
        };
        for _ in 0..300 {
            let rules: Vec<Rule> = (0..random(6))
                .map(|_| Rule {
                    pattern: Pattern {
                        kind: [None, Some(Kind::Char), Some(Kind::Block)][random(3) as usize],
                        major: [None, Some(1), Some(2)][random(3) as usize],
                        minor: [None, Some(3), Some(4)][random(3) as usize],
                    },
                    access: Access(1 + u8::try_from(random(7)).unwrap()),
                    verdict: [Verdict::Allow, Verdict::Deny][random(2) as usize],
                    pointer: String::new(),
                })
                .collect();
            let words = assemble(&rules);
            assert_eq!(unreached(&words), Vec::<usize>::new(), "{rules:?}");
            for (kind, access) in
                [Kind::Char, Kind::Block].into_iter().flat_map(|k| (1..8).map(move |a| (k, a)))
            {
                for (major, minor) in [(1, 3), (1, 4), (2, 3), (9, 9)] {
                    let access = Access(access);
                    assert_eq!(
                        run(&words, kind, access, major, minor),
                        plainly(&rules, kind, access, major, minor),
                        "{rules:?} {kind:?} {access:?} {major}:{minor}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_default_rules_are_a_short_program() {
        let rule = |kind, major, minor, access, verdict| Rule {
            pattern: Pattern { kind, major, minor },
            access,
            verdict,
            pointer: String::new(),
        };
        let mut rules = vec![rule(None, None, None, Access::ALL, Verdict::Deny)];
        rules.extend(
            super::super::devices::DEFAULTS.map(|(major, minor)| {
                rule(Some(Kind::Char), Some(major), minor, Access::ALL, Verdict::Allow)
            }),
        );
        // Seven to begin with, four for two ends; a device each, and one for each major number of several.
        assert_eq!(assemble(&rules).len(), 7 + 4 + 8 + 2);
    }

    #[test]
    fn great_numbers_are_compared_as_they_are() {
        let pattern = Pattern { kind: Some(Kind::Char), major: Some(u32::MAX), minor: Some(1 << 31) };
        let rule = Rule { pattern, access: Access::ALL, verdict: Verdict::Allow, pointer: String::new() };
        let words = assemble(&[rule]);
        assert!(run(&words, Kind::Char, Access::READ, u32::MAX, 1 << 31));
        assert!(!run(&words, Kind::Char, Access::READ, u32::MAX, 1 << 30));
    }
}
