//! A model of eBPF, as far as device programs use it: written from the kernel's
//! Documentation/bpf/standardization/instruction-set.rst. The verifier's rules
//! that matter to such programs are in [`check`]: jumps go forward and stay
//! inside, registers are written before they are read, every way ends in `exit`.

/// What a device program is asked: `struct bpf_cgroup_dev_ctx` (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// 1 for a block device, 2 for a character device.
    pub kind: u32,
    /// 1 for mknod, 2 for reading, 4 for writing, or a sum of them.
    pub access: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One instruction, taken apart.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    dst: usize,
    src: usize,
    offset: i16,
    imm: i32,
}

fn decode(word: u64) -> Instruction {
    let [code, registers, o0, o1, i0, i1, i2, i3] = word.to_ne_bytes();
    let (low, high) = (usize::from(registers & 15), usize::from(registers >> 4));
    let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
    let (offset, imm) = (i16::from_ne_bytes([o0, o1]), i32::from_ne_bytes([i0, i1, i2, i3]));
    Instruction { code, dst, src, offset, imm }
}

/// Whether the verifier would take the program.
///
/// # Errors
/// What is wrong with it.
pub fn check(words: &[u64]) -> Result<(), String> {
    // For each instruction the registers that are written on every way to it; r1 is the context.
    let mut written: Vec<Option<u16>> = vec![None; words.len()];
    if let Some(first) = written.first_mut() {
        *first = Some(1 << 1 | 1 << 10);
    }
    for (at, word) in words.iter().enumerate() {
        let i = decode(*word);
        let wrong = |what: &str| Err(format!("instruction {at}, {i:?}: {what}"));
        let Some(known) = written[at] else { return wrong("is not reached") };
        let (reads, writes, jumps, goes_on) = match i.code {
            0x61 if i.src == 1 && [0, 4, 8].contains(&i.offset) => (1 << 1, 1 << i.dst, false, true),
            0xb7 => (0, 1 << i.dst, false, true),
            0xbf => (1 << i.src, 1 << i.dst, false, true),
            0x57 | 0x77 => (1 << i.dst, 1 << i.dst, false, true),
            0x56 | 0x46 | 0x16 => (1_u16 << i.dst, 0, true, true),
            0x95 => (1, 0, false, false),
            _ => return wrong("is not used by device programs"),
        };
        if reads & !known != 0 {
            return wrong("reads a register that was not written");
        }
        if i.code == 0x77 && !(0..64).contains(&i.imm) {
            return wrong("shifts too far");
        }
        let mut lead = |to: usize| match written.get_mut(to) {
            Some(place) => {
                *place = Some(place.unwrap_or(u16::MAX) & (known | writes));
                Ok(())
            }
            None => Err(format!("instruction {at}, {i:?}: leads out")),
        };
        if jumps {
            let offset = usize::try_from(i.offset).map_err(|_| format!("instruction {at}: jumps back"))?;
            lead(at + 1 + offset)?;
        }
        if goes_on {
            lead(at + 1)?;
        }
    }
    if words.is_empty() { Err("no instruction".into()) } else { Ok(()) }
}

/// Whether the program allows an access; only for one that [`check`] has passed.
pub fn allows(words: &[u64], asked: Access) -> bool {
    let context = [asked.access << 16 | asked.kind, asked.major, asked.minor];
    let (mut registers, mut at) = ([0_u64; 11], 0_usize);
    loop {
        let i = decode(words[at]);
        // Immediates of 64-bit operations are filled up with their sign.
        let imm = i64::from(i.imm) as u64;
        let jump = i.offset as usize;
        at += 1;
        match i.code {
            0x61 => registers[i.dst] = context[i.offset as usize / 4].into(),
            0xb7 => registers[i.dst] = imm,
            0xbf => registers[i.dst] = registers[i.src],
            0x57 => registers[i.dst] &= imm,
            0x77 => registers[i.dst] >>= imm,
            // Jumps of this class look at the lower 32 bits.
            0x56 if registers[i.dst] as u32 != imm as u32 => at += jump,
            0x46 if registers[i.dst] as u32 & imm as u32 != 0 => at += jump,
            0x16 if registers[i.dst] as u32 == imm as u32 => at += jump,
            0x56 | 0x46 | 0x16 => {}
            0x95 => return registers[0] as u32 == 1,
            other => panic!("instruction {other:#x}"),
        }
    }
}
