//! Device rules as a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`, which
//! the kernel asks at every open(2) and mknod(2) of a device in the cgroup
//! (Documentation/admin-guide/cgroup-v2.rst, "Device controller"). Pure;
//! [`crate::sys::bpf`] loads it.
//!
//! The rules are walked from the last to the first. r7 holds the kinds of
//! access that no rule has decided yet: a rule that allows takes its kinds
//! away, one that forbids ends the walk when it meets any of them. What is
//! left at the end is forbidden.

use super::devices::{Access, Kind, Pattern, Rule, Verdict};

/// One instruction in the kernel's encoding (`struct bpf_insn`, linux/bpf.h).
pub type Word = u64;

// Classes, sizes and operations of linux/bpf_common.h and linux/bpf.h.
const LDX_MEM_W: u8 = 0x61;
const MOV64_IMM: u8 = 0xb7;
const MOV64_REG: u8 = 0xbf;
const AND64_IMM: u8 = 0x57;
const RSH64_IMM: u8 = 0x77;
const JNE_IMM: u8 = 0x55;
const JSET_IMM: u8 = 0x45;
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
    let mut words = vec![
        // struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor
        insn(LDX_MEM_W, TYPE, R1, 0, 0),
        insn(LDX_MEM_W, MAJOR, R1, 4, 0),
        insn(LDX_MEM_W, MINOR, R1, 8, 0),
        insn(MOV64_REG, REMAINING, TYPE, 0, 0),
        insn(RSH64_IMM, REMAINING, 0, 0, 16),
        insn(AND64_IMM, TYPE, 0, 0, 0xffff),
    ];
    for rule in rules.iter().rev() {
        words.extend(one(rule));
        // Nothing before a rule about everything can matter.
        if rule.pattern == (Pattern { kind: None, major: None, minor: None }) && rule.access == Access::ALL {
            break;
        }
    }
    words.extend(answer(Verdict::Deny));
    words
}

/// The comparisons of a rule jump behind its end when they fail.
fn one(rule: &Rule) -> Vec<Word> {
    let access = u32::from(rule.access.0);
    let body = match rule.verdict {
        Verdict::Deny => {
            let [set, exit] = answer(Verdict::Deny);
            vec![insn(JSET_IMM, REMAINING, 0, 1, access), insn(JA, 0, 0, 2, 0), set, exit]
        }
        Verdict::Allow => {
            let [set, exit] = answer(Verdict::Allow);
            let rest = u32::from(Access::ALL.0) & !access;
            vec![insn(AND64_IMM, REMAINING, 0, 0, rest), insn(JNE_IMM, REMAINING, 0, 2, 0), set, exit]
        }
    };
    let comparisons: Vec<(u8, u32)> = [
        (TYPE, rule.pattern.kind.map(kind_number)),
        (MAJOR, rule.pattern.major),
        (MINOR, rule.pattern.minor),
    ]
    .into_iter()
    .filter_map(|(register, wanted)| wanted.map(|w| (register, w)))
    .collect();
    let count = comparisons.len();
    let jumps = comparisons.into_iter().enumerate().map(|(index, (register, wanted))| {
        let skip = count - index - 1 + body.len();
        insn(JNE_IMM, register, 0, u16::try_from(skip).unwrap_or(0), wanted)
    });
    jumps.chain(body.iter().copied()).collect()
}

const JA: u8 = 0x05;

fn answer(verdict: Verdict) -> [Word; 2] {
    let value = match verdict {
        Verdict::Allow => 1,
        Verdict::Deny => 0,
    };
    [insn(MOV64_IMM, R0, 0, 0, value), insn(EXIT, 0, 0, 0, 0)]
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
                JSET_IMM if registers[dst] & imm != 0 => at += offset,
                JA => at += offset,
                EXIT => return registers[0] != 0,
                JNE_IMM | JSET_IMM => {}
                other => panic!("instruction {other:#x}"),
            }
        }
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
}
