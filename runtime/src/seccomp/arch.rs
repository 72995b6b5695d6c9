//! The architectures that filters can be compiled for.

use super::tables;
use oci_spec::runtime::Arch as SpecArch;

/// One architecture, in the order of [`tables::TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    S390x,
    Ppc64le,
    Loongarch64,
}

/// Bit that marks a system call of x32 (asm/unistd.h, `__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// From here on, numbers of arm are its private calls (`__ARM_NR_BASE`).
const ARM_PRIVATE: u32 = 0x000f_0000;

impl Arch {
    /// All of them, in the order of the table.
    pub(super) const ALL: [Self; tables::ARCHES] = [
        Self::X86_64,
        Self::X86,
        Self::X32,
        Self::Aarch64,
        Self::Arm,
        Self::Riscv64,
        Self::S390x,
        Self::Ppc64le,
        Self::Loongarch64,
    ];

    /// The one that this program is built for.
    pub(super) fn native() -> Option<Self> {
        let supported = [
            (cfg!(target_arch = "x86_64"), Self::X86_64),
            (cfg!(target_arch = "x86"), Self::X86),
            (cfg!(target_arch = "aarch64"), Self::Aarch64),
            (cfg!(target_arch = "arm"), Self::Arm),
            (cfg!(target_arch = "riscv64"), Self::Riscv64),
            (cfg!(target_arch = "s390x"), Self::S390x),
            (cfg!(all(target_arch = "powerpc64", target_endian = "little")), Self::Ppc64le),
            (cfg!(target_arch = "loongarch64"), Self::Loongarch64),
        ];
        supported.into_iter().find_map(|(is, arch)| is.then_some(arch))
    }

    /// The config's, given what `SCMP_ARCH_NATIVE` is; `None` for one that is not supported.
    pub(super) fn from_spec(arch: SpecArch, native: Self) -> Option<Self> {
        Some(match arch {
            SpecArch::ScmpArchNative => native,
            SpecArch::ScmpArchX86_64 => Self::X86_64,
            SpecArch::ScmpArchX86 => Self::X86,
            SpecArch::ScmpArchX32 => Self::X32,
            SpecArch::ScmpArchAarch64 => Self::Aarch64,
            SpecArch::ScmpArchArm => Self::Arm,
            SpecArch::ScmpArchRiscv64 => Self::Riscv64,
            SpecArch::ScmpArchS390x => Self::S390x,
            SpecArch::ScmpArchPpc64le => Self::Ppc64le,
            SpecArch::ScmpArchLoongarch64 => Self::Loongarch64,
            _ => return None,
        })
    }

    /// `AUDIT_ARCH_*` (linux/audit.h), as `struct seccomp_data` has it.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
            Self::S390x => 0x8000_0016,
            Self::Ppc64le => 0xc000_0015,
            Self::Loongarch64 => 0xc000_0102,
        }
    }

    /// Whether a kernel of `native` runs programs of this architecture.
    pub(super) fn runs_on(self, native: Self) -> bool {
        self == native
            || matches!((native, self), (Self::X86_64, Self::X86 | Self::X32) | (Self::Aarch64, Self::Arm))
    }

    /// Whether arguments have 32 bits; the kernel fills them up with zeros.
    pub(super) fn has_narrow_arguments(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// The number of a system call, where the architecture has it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        self.number_in(tables::numbers(name)?)
    }

    /// Likewise of a row of the table.
    pub(super) fn number_in(self, row: &tables::Row) -> Option<u32> {
        let index = Self::ALL.iter().position(|a| *a == self)?;
        u32::try_from(*row.get(index)?).ok()
    }

    /// Whether `number` is in the sequence to which new calls are added.
    pub(super) fn is_sequential(self, number: u32) -> bool {
        self != Self::Arm || number < ARM_PRIVATE
    }

    /// First and last number that belong to it among those of its audit value.
    pub(super) fn range(self) -> (u32, u32) {
        match self {
            Self::X86_64 => (0, X32_BIT - 1),
            Self::X32 => (X32_BIT, u32::MAX),
            Self::Arm => (0, ARM_PRIVATE - 1),
            _ => (0, u32::MAX),
        }
    }

    /// The multiplexer through which `name` can be called as well, and its
    /// first argument there.
    pub(super) fn multiplexed(self, name: &str) -> Option<(&'static str, u64)> {
        if !matches!(self, Self::X86 | Self::S390x | Self::Ppc64le) {
            return None;
        }
        multiplexer(name)
    }
}

/// What a multiplexer does by number (linux/net.h, linux/ipc.h).
fn multiplexer(name: &str) -> Option<(&'static str, u64)> {
    Some(match name {
        "socket" => ("socketcall", 1),
        "bind" => ("socketcall", 2),
        "connect" => ("socketcall", 3),
        "listen" => ("socketcall", 4),
        "accept" => ("socketcall", 5),
        "getsockname" => ("socketcall", 6),
        "getpeername" => ("socketcall", 7),
        "socketpair" => ("socketcall", 8),
        "send" => ("socketcall", 9),
        "recv" => ("socketcall", 10),
        "sendto" => ("socketcall", 11),
        "recvfrom" => ("socketcall", 12),
        "shutdown" => ("socketcall", 13),
        "setsockopt" => ("socketcall", 14),
        "getsockopt" => ("socketcall", 15),
        "sendmsg" => ("socketcall", 16),
        "recvmsg" => ("socketcall", 17),
        "accept4" => ("socketcall", 18),
        "recvmmsg" => ("socketcall", 19),
        "sendmmsg" => ("socketcall", 20),
        "semop" => ("ipc", 1),
        "semget" => ("ipc", 2),
        "semctl" => ("ipc", 3),
        "semtimedop" => ("ipc", 4),
        "msgsnd" => ("ipc", 11),
        "msgrcv" => ("ipc", 12),
        "msgget" => ("ipc", 13),
        "msgctl" => ("ipc", 14),
        "shmat" => ("ipc", 21),
        "shmdt" => ("ipc", 22),
        "shmget" => ("ipc", 23),
        "shmctl" => ("ipc", 24),
        _ => return None,
    })
}
