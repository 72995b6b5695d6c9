//! The init of a shared pid namespace: a program of some thirty instructions,
//! which the manager carries with it and writes as a file where it is needed.
//!
//! It ignores SIGCHLD, and so the kernel reaps every child, also those that were
//! orphaned by others (wait(2), "NOTES"); it waits for SIGTERM or SIGINT, and exits
//! with 0. It has no stack frame, no heap and no library: its memory is one page
//! of text and the stack that execve(2) gives it. It is assembled with the manager,
//! into read-only data that is never executed here.

use std::arch::global_asm;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .rodata.sextant_pause, \"a\", @progbits",
    ".balign 8",
    ".globl sextant_pause_begin",
    ".hidden sextant_pause_begin",
    "sextant_pause_begin:",
    "mov eax, 13", // rt_sigaction(SIGCHLD, &ignore, 0, 8)
    "mov edi, 17",
    "lea rsi, [rip + 2f]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "mov eax, 14", // rt_sigprocmask(SIG_BLOCK, &ends, 0, 8)
    "xor edi, edi",
    "lea rsi, [rip + 3f]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "4:",
    "mov eax, 128", // rt_sigtimedwait(&ends, 0, 0, 8): again after EINTR
    "lea rdi, [rip + 3f]",
    "xor esi, esi",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "test eax, eax",
    "jle 4b",
    "mov eax, 231", // exit_group(0)
    "xor edi, edi",
    "syscall",
    ".balign 8",
    "2:",
    ".quad 1, 0, 0, 0", // struct sigaction of the kernel: SIG_IGN
    "3:",
    ".quad 0x4002", // SIGINT (2) and SIGTERM (15), bit n - 1 each
    ".globl sextant_pause_end",
    ".hidden sextant_pause_end",
    "sextant_pause_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .rodata.sextant_pause, \"a\", @progbits",
    ".balign 8",
    ".globl sextant_pause_begin",
    ".hidden sextant_pause_begin",
    "sextant_pause_begin:",
    "mov x8, #134", // rt_sigaction(SIGCHLD, &ignore, 0, 8)
    "mov x0, #17",
    "adr x1, 2f",
    "mov x2, #0",
    "mov x3, #8",
    "svc #0",
    "mov x8, #135", // rt_sigprocmask(SIG_BLOCK, &ends, 0, 8)
    "mov x0, #0",
    "adr x1, 3f",
    "mov x2, #0",
    "mov x3, #8",
    "svc #0",
    "4:",
    "mov x8, #137", // rt_sigtimedwait(&ends, 0, 0, 8): again after EINTR
    "adr x0, 3f",
    "mov x1, #0",
    "mov x2, #0",
    "mov x3, #8",
    "svc #0",
    "cmp w0, #0",
    "b.le 4b",
    "mov x8, #94", // exit_group(0)
    "mov x0, #0",
    "svc #0",
    ".balign 8",
    "2:",
    ".quad 1, 0, 0, 0", // struct sigaction of the kernel: SIG_IGN
    "3:",
    ".quad 0x4002", // SIGINT (2) and SIGTERM (15), bit n - 1 each
    ".globl sextant_pause_end",
    ".hidden sextant_pause_end",
    "sextant_pause_end:",
    ".popsection",
);

/// `e_machine` of elf(5).
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

unsafe extern "C" {
    static sextant_pause_begin: u8;
    static sextant_pause_end: u8;
}

/// Where the file is mapped to; no other address means anything to the program.
const BASE: u64 = 0x40_0000;
/// Sizes of the headers of a 64-bit elf(5) file.
const HEADER: u16 = 64;
const SEGMENT: u16 = 56;
/// The program itself, and the one that says that its stack is not executed.
const SEGMENTS: u16 = 2;

/// The instructions and data of the program.
fn text() -> &'static [u8] {
    let (begin, end) = (&raw const sextant_pause_begin, &raw const sextant_pause_end);
    // SAFETY: the assembler has put both labels into one section, the second behind the first, and
    // what is between them is initialised and never written to.
    unsafe { std::slice::from_raw_parts(begin, usize::try_from(end.offset_from(begin)).unwrap_or(0)) }
}

/// The program as a static executable of elf(5).
pub(crate) fn program() -> Vec<u8> {
    let text = text();
    let headers = u64::from(HEADER) + u64::from(SEGMENTS) * u64::from(SEGMENT);
    let size = headers + text.len() as u64;
    let mut file = Vec::new();
    // 64 bits, little-endian, version 1, System V.
    file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = |file: &mut Vec<u8>, all: &[u16]| all.iter().for_each(|n| file.extend(n.to_le_bytes()));
    let words = |file: &mut Vec<u8>, all: &[u32]| all.iter().for_each(|n| file.extend(n.to_le_bytes()));
    let longs = |file: &mut Vec<u8>, all: &[u64]| all.iter().for_each(|n| file.extend(n.to_le_bytes()));
    halves(&mut file, &[2, MACHINE]); // ET_EXEC
    words(&mut file, &[1]);
    longs(&mut file, &[BASE + headers, u64::from(HEADER), 0]); // entry, program headers, no sections
    words(&mut file, &[0]);
    halves(&mut file, &[HEADER, SEGMENT, SEGMENTS, 0, 0, 0]);
    words(&mut file, &[1, 5]); // PT_LOAD, readable and executable
    longs(&mut file, &[0, BASE, BASE, size, size, 0x1000]);
    words(&mut file, &[0x6474_e551, 6]); // PT_GNU_STACK, readable and writable
    longs(&mut file, &[0, 0, 0, 0, 0, 16]);
    file.extend(text);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn it_lives_on_a_page_until_it_is_told_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        std::fs::write(&path, program()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 512);
        for (signal, code, ended_by) in [
            (Signal::SIGTERM, Some(0), None),
            (Signal::SIGINT, Some(0), None),
            (Signal::SIGKILL, None, Some(9)),
        ] {
            let mut child = Command::new(&path).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let of = |status: &str, key: &str| {
                let line = status.lines().find(|l| l.starts_with(key)).unwrap();
                line.split_whitespace().nth(1).unwrap().to_owned()
            };
            // It waits nowhere but for its signals; before that, they would end it by themselves.
            let waits = |status: &str| {
                let ignores = of(status, "SigIgn:").chars().nth(11).is_some_and(|digit| digit == '1');
                of(status, "State:") == "S" && ignores
            };
            let patience = (0..10_000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
                waits(&status())
            });
            assert!(patience, "{}", status());
            let rss: u64 = of(&status(), "VmRSS:").parse().unwrap();
            assert!(rss <= 64, "{rss} KiB");
            kill(Pid::from_raw(pid), signal).unwrap();
            let ended = child.wait().unwrap();
            assert_eq!((ended.code(), ended.signal()), (code, ended_by), "{signal}");
        }
    }
}
