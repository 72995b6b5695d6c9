//! A profile, read plainly: what the rules say about one system call, by going
//! through all of them. No sorting, no ranges; written from config-linux.md
//! ("Seccomp") and from what docs/fuzzing.md says of several rules for one call.

use super::{FAMILIES, Machine, X32_BIT, machine};
use crate::bpf::Call;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op,
    LinuxSyscall,
};
use sextant_runtime::seccomp::known;
use std::collections::BTreeMap;

/// A profile on one kernel.
#[derive(Debug)]
pub struct Model<'a> {
    spec: &'a LinuxSeccomp,
    /// The kernel's own architecture, and the others that are listed and run there.
    pub machines: Vec<&'static Machine>,
    /// For each of them and each number the entries that are about it, in order,
    /// with the name by which they are.
    entries: BTreeMap<(&'static str, u32), Vec<(&'a LinuxSyscall, &'a str)>>,
    /// The highest number that the profile names, for each of the machines.
    newest: Vec<Option<u32>>,
}

/// Who says what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The architecture is not listed.
    Architecture,
    /// A rule, or the default action where none applies.
    Rules,
    /// The call is newer than all that the profile names.
    Newer,
}

const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;

impl<'a> Model<'a> {
    /// The profile on a kernel of this architecture.
    pub fn new(native: Arch, spec: &'a LinuxSeccomp) -> Self {
        let family = FAMILIES.iter().find(|f| f[0] == native).expect("the kernel's own architecture");
        let listed = spec.architectures().clone().unwrap_or_default();
        let runs = |arch: &&Arch| **arch == native || listed.contains(arch);
        let machines: Vec<_> = family.iter().filter(runs).map(|arch| machine(*arch)).collect();
        let mut entries: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for machine in &machines {
            for entry in spec.syscalls().iter().flatten() {
                for name in entry.names() {
                    let numbers = [
                        known::number(machine.arch, name),
                        multiplexer(machine, name).map(|(number, _)| number),
                    ];
                    for number in numbers.into_iter().flatten() {
                        entries.entry((machine.name, number)).or_default().push((entry, name.as_str()));
                    }
                }
            }
        }
        let newest = machines.iter().map(|machine| newest(spec, machine)).collect();
        Self { spec, machines, entries, newest }
    }

    /// The entries about a number of an architecture, in the config's order,
    /// each with its name for the call.
    pub fn about(&self, machine: &Machine, number: u32) -> &[(&'a LinuxSyscall, &'a str)] {
        self.entries.get(&(machine.name, number)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The architecture that a call belongs to, if it is listed.
    pub fn machine_of(&self, call: &Call) -> Option<&'static Machine> {
        let is_x32 = call.audit == 0xc000_003e && call.number >= X32_BIT;
        // -1 is what a tracer skips a call with.
        let x32 = is_x32 && (call.number != u32::MAX || self.has(Arch::ScmpArchX32));
        self.machines.iter().find(|m| m.audit == call.audit && (m.arch == Arch::ScmpArchX32) == x32).copied()
    }

    fn has(&self, arch: Arch) -> bool {
        self.machines.iter().any(|m| m.arch == arch)
    }

    /// What happens with a system call, and why.
    pub fn answer(&self, call: &Call) -> (u32, Because) {
        match self.machine_of(call) {
            Some(machine) => self.answer_on(machine, call),
            None => (KILL_PROCESS, Because::Architecture),
        }
    }

    /// What happens with a system call of `machine`, and why.
    pub fn answer_on(&self, machine: &Machine, call: &Call) -> (u32, Because) {
        if let Some(answer) = self.ruled(machine, call) {
            return (answer, Because::Rules);
        }
        let refuses = !matches!(
            self.spec.default_action(),
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace | Action::ScmpActNotify
        );
        let is_minus_one_of_nobody = machine.arch == Arch::ScmpArchX86_64 && call.number == u32::MAX;
        // Beyond arm's private calls there is no sequence that grows.
        let grows = machine.arch != Arch::ScmpArchArm || call.number < 0xf_0000;
        if refuses
            && grows
            && !is_minus_one_of_nobody
            && self.newest_of(machine).is_some_and(|n| call.number > n)
        {
            return (libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, Because::Newer);
        }
        (self.default(), Because::Rules)
    }

    /// The default action.
    pub fn default(&self) -> u32 {
        action(self.spec.default_action(), self.spec.default_errno_ret())
    }

    fn newest_of(&self, machine: &Machine) -> Option<u32> {
        self.newest[self.machines.iter().position(|m| m.arch == machine.arch)?]
    }

    fn ruled(&self, machine: &Machine, call: &Call) -> Option<u32> {
        let rules = self.applying(machine, call);
        let strongest = rules.iter().find(|(_, condition)| *condition == Condition::None);
        strongest.or(rules.first()).map(|(answer, _)| *answer)
    }

    /// What all rules that apply to a call say, in the config's order. What says
    /// nothing that would not happen anyway is no rule.
    pub fn applying(&self, machine: &Machine, call: &Call) -> Vec<(u32, Condition)> {
        let mut found = Vec::new();
        for (entry, name) in self.about(machine, call.number) {
            let answer = action(entry.action(), entry.errno_ret());
            let args = entry.args().as_deref().unwrap_or_default();
            let is_itself = known::number(machine.arch, name) == Some(call.number);
            if answer == self.default() {
                continue;
            } else if is_itself && is_always(args, machine) {
                found.push((answer, Condition::None));
            } else if is_itself && hold(args, machine, call) || stands_for(machine, name, call, args, answer)
            {
                found.push((answer, Condition::Holds));
            }
        }
        found
    }
}

/// Whether a rule that applies has a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has none.
    None,
    /// It has, and it holds.
    Holds,
}

fn newest(spec: &LinuxSeccomp, machine: &Machine) -> Option<u32> {
    let names = spec.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let numbers = names.filter_map(|name| known::number(machine.arch, name));
    numbers.filter(|n| machine.arch != Arch::ScmpArchArm || *n < 0xf_0000).max()
}

/// `SECCOMP_RET_*` of an action with its errno, which is EPERM where none is given.
pub fn action(action: Action, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        Action::ScmpActErrno => libc::SECCOMP_RET_ERRNO | errno,
        Action::ScmpActTrace => libc::SECCOMP_RET_TRACE | errno,
        Action::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        Action::ScmpActLog => libc::SECCOMP_RET_LOG,
        Action::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    }
}

/// Whether no condition says anything about an argument: a mask of zero does not.
fn is_always(args: &[LinuxSeccompArg], machine: &Machine) -> bool {
    let bits = if machine.bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let none = |arg: &LinuxSeccompArg| arg.op() == Op::ScmpCmpMaskedEq && arg.value() & bits == 0;
    if is_repeated(args) { args.iter().any(none) } else { args.iter().all(none) }
}

fn is_repeated(args: &[LinuxSeccompArg]) -> bool {
    args.iter().enumerate().any(|(i, a)| args[..i].iter().any(|b| a.index() == b.index()))
}

/// All conditions; where an argument has several, any of them is enough.
fn hold(args: &[LinuxSeccompArg], machine: &Machine, call: &Call) -> bool {
    let holds = |arg: &LinuxSeccompArg| holds(arg, machine, call);
    if is_repeated(args) { args.iter().any(holds) } else { args.iter().all(holds) }
}

fn holds(arg: &LinuxSeccompArg, machine: &Machine, call: &Call) -> bool {
    let bits = if machine.bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let (given, value) = (call.args[arg.index()] & bits, arg.value() & bits);
    match arg.op() {
        Op::ScmpCmpNe => given != value,
        Op::ScmpCmpLt => given < value,
        Op::ScmpCmpLe => given <= value,
        Op::ScmpCmpEq => given == value,
        Op::ScmpCmpGe => given >= value,
        Op::ScmpCmpGt => given > value,
        Op::ScmpCmpMaskedEq => given & value == arg.value_two().unwrap_or(0) & value,
    }
}

/// The multiplexer through which a call can be made as well: its number, and the
/// first argument that stands for the call.
pub fn multiplexer(machine: &Machine, name: &str) -> Option<(u32, u64)> {
    let (multiplexer, argument) = match SOCKETS.iter().position(|n| *n == name) {
        Some(index) => ("socketcall", index as u64 + 1),
        None => IPC.iter().find(|(_, n)| *n == name).map(|(argument, _)| ("ipc", *argument))?,
    };
    known::number(machine.arch, multiplexer).filter(|_| machine.multiplexes).map(|number| (number, argument))
}

/// Whether the call is a multiplexer's that stands for `name`. Behind it
/// conditions cannot be seen: what permits under one does not permit there,
/// what forbids under one forbids always.
fn stands_for(machine: &Machine, name: &str, call: &Call, args: &[LinuxSeccompArg], answer: u32) -> bool {
    let permits = [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&answer);
    let bits = if machine.bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    multiplexer(machine, name) == Some((call.number, call.args[0] & bits)) && (args.is_empty() || !permits)
}

/// What socketcall(2) does, by its first argument from 1 on (linux/net.h).
pub const SOCKETS: [&str; 20] = [
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

/// What ipc(2) does, by its first argument (linux/ipc.h).
pub const IPC: [(u64, &str); 12] = [
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
