//! System calls by name: what is searched at run time, made of
//! [`super::tables`] while this crate is compiled.
//!
//! There is one narrow column for each architecture and a hash table of the
//! names, so that a filter touches three columns of one KiB and not the whole
//! table: the first touch of a page costs more than a search.
//!
//! Constant functions cannot call `From`; the few `as` here only widen.

use super::tables::{ARCHES, CALLS, ROWS};

/// A system call of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call(u16);

/// The system call of this name.
pub(super) fn find(name: &str) -> Option<Call> {
    let mut slot = hash(name.as_bytes());
    loop {
        // An empty slot, which ends the search, has no name.
        let call = *INDEX.get(slot)?;
        if *NAMES.get(usize::from(call))? == name {
            return Some(Call(call));
        }
        slot = (slot + 1) % SLOTS;
    }
}

impl Call {
    /// Its number where the architecture at `column` has it, without x32's bit.
    pub(super) fn number(self, column: usize) -> Option<u32> {
        let number = u32::try_from(*COLUMNS.get(column)?.get(usize::from(self.0))?).ok()?;
        Some(if number < PRIVATE_MARK { number } else { number - PRIVATE_MARK + ARM_PRIVATE })
    }

    /// The multiplexer through which it can be called as well, and its first
    /// argument there (linux/net.h, linux/ipc.h).
    pub(super) fn multiplexed(self) -> Option<(Self, u32)> {
        match *MULTIPLEXED.get(usize::from(self.0))? {
            0 => None,
            call if call < IPC_MARK => Some((SOCKETCALL, u32::from(call))),
            call => Some((IPC, u32::from(call - IPC_MARK))),
        }
    }

    /// Its name.
    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// All of them, in the order of their names.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..u16::try_from(CALLS).unwrap()).map(Self)
    }
}

/// From here on, numbers of arm are its private calls (`__ARM_NR_BASE`).
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

/// Stands for [`ARM_PRIVATE`] in the table.
const PRIVATE_MARK: u32 = 0x7000;

static NAMES: [&str; CALLS] = names();
static COLUMNS: [[i16; CALLS]; ARCHES] = columns();
static INDEX: [u16; SLOTS] = index();
static MULTIPLEXED: [u8; CALLS] = multiplexed();
const SOCKETCALL: Call = Call(place("socketcall"));
const IPC: Call = Call(place("ipc"));

/// Slots of the hash table, a power of two; half of them are empty.
const SLOTS: usize = 1024;

/// No system call.
const EMPTY: u16 = u16::MAX;

/// FNV-1a, folded to a slot.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        hash = (hash ^ *first as u32).wrapping_mul(0x0100_0193);
        rest = behind;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// Open addressing, the next slot after one that is taken.
const fn index() -> [u16; SLOTS] {
    let mut index = [EMPTY; SLOTS];
    let mut call = 0_u16;
    while (call as usize) < CALLS {
        let mut slot = hash(ROWS[call as usize].0.as_bytes());
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = call;
        call += 1;
    }
    index
}

const fn names() -> [&'static str; CALLS] {
    let mut names = [""; CALLS];
    let mut at = 0;
    while at < CALLS {
        names[at] = ROWS[at].0;
        at += 1;
    }
    names
}

const fn columns() -> [[i16; CALLS]; ARCHES] {
    let mut columns = [[-1; CALLS]; ARCHES];
    let mut at = 0;
    while at < CALLS {
        let mut arch = 0;
        while arch < ARCHES {
            columns[arch][at] = ROWS[at].1[arch];
            arch += 1;
        }
        at += 1;
    }
    columns
}

/// Where `name` stands in the table; one that is missing is an error of compilation.
const fn place(name: &str) -> u16 {
    let mut call = 0_u16;
    while !same(ROWS[call as usize].0.as_bytes(), name.as_bytes()) {
        call += 1;
    }
    call
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// What socketcall(2) does by number, beginning with 1 (linux/net.h).
const SOCKET_CALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// What ipc(2) does by number (linux/ipc.h).
const IPC_CALLS: [(u8, &str); 12] = [
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

/// Added to the calls of ipc(2) in [`MULTIPLEXED`].
const IPC_MARK: u8 = 0x80;

/// For each system call the call of socketcall(2), that of ipc(2) and the mark, or zero.
const fn multiplexed() -> [u8; CALLS] {
    let mut by_call = [0; CALLS];
    let mut number = 1_u8;
    while number as usize <= SOCKET_CALLS.len() {
        by_call[place(SOCKET_CALLS[number as usize - 1]) as usize] = number;
        number += 1;
    }
    let mut at = 0;
    while at < IPC_CALLS.len() {
        by_call[place(IPC_CALLS[at].1) as usize] = IPC_MARK + IPC_CALLS[at].0;
        at += 1;
    }
    by_call
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::arch::Arch;

    #[test]
    fn every_name_is_found_and_no_other() {
        for call in Call::all() {
            assert_eq!(find(call.name()), Some(call), "{}", call.name());
        }
        for name in ["", "reads", "rea", "READ", "no_such_call"] {
            assert_eq!(find(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_has_no_number_twice() {
        assert!(ROWS.is_sorted_by(|a, b| a.0 < b.0));
        for arch in Arch::ALL {
            let mut numbers: Vec<_> = Call::all().filter_map(|call| arch.number(call)).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            // arm has two names for 341: arm_sync_file_range and sync_file_range2.
            let aliases = usize::from(arch == Arch::Arm);
            assert_eq!(numbers.len() + aliases, count, "{arch:?}");
        }
    }

    #[test]
    fn numbers_that_are_known() {
        let native = Arch::native().unwrap();
        for (name, number) in [
            ("read", libc::SYS_read),
            ("openat", libc::SYS_openat),
            ("seccomp", libc::SYS_seccomp),
            ("clone3", libc::SYS_clone3),
            ("fchmodat2", libc::SYS_fchmodat2),
            ("mseal", libc::SYS_mseal),
        ] {
            let found = find(name).and_then(|call| native.number(call));
            assert_eq!(found.map(i64::from), Some(number), "{name}");
        }
        assert_eq!(Arch::X32.number(find("execve").unwrap()), Some(0x4000_0208));
        assert_eq!(Arch::Arm.number(find("set_tls").unwrap()), Some(0x000f_0005));
    }

    #[test]
    fn multiplexers() {
        let of = |name: &str| {
            find(name).unwrap().multiplexed().map(|(multiplexer, call)| (multiplexer.name(), call))
        };
        assert_eq!(of("socket"), Some(("socketcall", 1)));
        assert_eq!(of("sendmmsg"), Some(("socketcall", 20)));
        assert_eq!(of("semop"), Some(("ipc", 1)));
        assert_eq!(of("shmctl"), Some(("ipc", 24)));
        assert_eq!(of("read"), None);
    }
}
