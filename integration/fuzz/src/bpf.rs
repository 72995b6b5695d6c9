//! A model of the kernel's interpreter of seccomp filters: classic BPF over
//! `struct seccomp_data`, with the checks that the kernel makes of a program
//! before it runs (net/core/filter.c, `bpf_check_classic`; kernel/seccomp.c,
//! `seccomp_check_filter`). Compared with the kernel itself in `tests/kernel.rs`.

use sextant_runtime::seccomp::Instruction;

/// A system call as a filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    /// Its number.
    pub number: u32,
    /// Its arguments, filled up to 64 bits.
    pub args: [u64; 6],
}

/// Order of the bytes of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The low half first.
    Little,
    /// The high half first.
    Big,
}

/// The longest program that the kernel takes.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Instructions of a program as libseccomp exports it for machines of this order.
pub fn from_bytes(bytes: &[u8], order: Order) -> Vec<Instruction> {
    let one = |b: &[u8]| {
        let (code, k) = ([b[0], b[1]], [b[4], b[5], b[6], b[7]]);
        let (code, k) = match order {
            Order::Little => (u16::from_le_bytes(code), u32::from_le_bytes(k)),
            Order::Big => (u16::from_be_bytes(code), u32::from_be_bytes(k)),
        };
        // For another order than this machine's it forgets to turn some of the answers.
        let k = if code == 0x06 && !is_answer(k) { k.swap_bytes() } else { k };
        Instruction { code, jt: b[2], jf: b[3], k }
    };
    bytes.chunks_exact(8).map(one).collect()
}

/// Whether it is `SECCOMP_RET_*`, with data where that has some.
fn is_answer(k: u32) -> bool {
    let with_data = [libc::SECCOMP_RET_ERRNO, libc::SECCOMP_RET_TRACE];
    let without = [
        libc::SECCOMP_RET_KILL_PROCESS,
        libc::SECCOMP_RET_KILL_THREAD,
        libc::SECCOMP_RET_TRAP,
        libc::SECCOMP_RET_USER_NOTIF,
        libc::SECCOMP_RET_LOG,
        libc::SECCOMP_RET_ALLOW,
    ];
    with_data.contains(&(k & 0xffff_0000)) || without.contains(&k)
}

/// Whether the kernel would take the program.
///
/// # Errors
/// What is wrong with it.
pub fn check(program: &[Instruction]) -> Result<(), String> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(format!("{} instructions", program.len()));
    }
    for (at, i) in program.iter().enumerate() {
        let within = |offset: u64| (at as u64 + 1 + offset) < program.len() as u64;
        let sound = match i.code {
            0x20 => i.k < 64 && i.k.is_multiple_of(4),
            0x05 => within(i.k.into()),
            0x15 | 0x25 | 0x35 | 0x45 => within(i.jt.into()) && within(i.jf.into()),
            0x54 | 0x06 => true,
            _ => false,
        };
        if !sound {
            return Err(format!("instruction {at}: {i:?}"));
        }
    }
    match program.last() {
        Some(Instruction { code: 0x06, .. }) => Ok(()),
        other => Err(format!("the last instruction is {other:?}")),
    }
}

/// What the program answers; only for one that [`check`] has passed.
pub fn run(program: &[Instruction], call: &Call, order: Order) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.audit,
        // The address of the instruction, which no rule can be about.
        8 | 12 => 0,
        _ => {
            let half = offset / 4 % 2;
            let is_high = half == u32::from(order == Order::Little);
            let arg = call.args[(offset as usize - 16) / 8];
            if is_high { (arg >> 32) as u32 } else { arg as u32 }
        }
    };
    let (mut a, mut at) = (0_u32, 0_usize);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let offset = |is: bool| usize::from(if is { jt } else { jf });
        at += 1;
        match code {
            0x20 => a = word(k),
            0x05 => at += k as usize,
            0x15 => at += offset(a == k),
            0x25 => at += offset(a > k),
            0x35 => at += offset(a >= k),
            0x45 => at += offset(a & k != 0),
            0x54 => a &= k,
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
