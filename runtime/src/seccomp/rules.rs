//! The config's rules, checked: one [`Rule`] for each name and alternative.

use super::Filter;
use super::arch::Arch;
use super::tables;
use crate::plan::Problem;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};

const BASE: &str = "/linux/seccomp";

/// What the kernel is answered: `SECCOMP_RET_*` with its data (linux/seccomp.h).
pub(super) type Answer = u32;

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) test: Test,
}

/// What an argument is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Equal(u64),
    Unequal(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

/// One rule: all conditions must hold; none always holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) name: &'a str,
    /// Its numbers.
    pub(super) row: &'static tables::Row,
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: Answer,
}

/// All of `/linux/seccomp`, checked.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) arches: Vec<Arch>,
    pub(super) default: Answer,
    pub(super) default_action: LinuxSeccompAction,
    pub(super) list: Vec<Rule<'a>>,
    /// Numbers of every name of the profile, those of the default action included.
    pub(super) named: Vec<&'static tables::Row>,
}

/// Collects mistakes and warnings.
struct Judge<'a> {
    problems: Vec<Problem>,
    warnings: &'a mut Vec<Problem>,
}

impl Judge<'_> {
    fn refuse(&mut self, pointer: String, message: impl Into<String>) {
        self.problems.push(Problem { pointer, message: message.into(), hint: String::new() });
    }

    fn warn(&mut self, pointer: String, message: impl Into<String>) {
        self.warnings.push(Problem { pointer, message: message.into(), hint: String::new() });
    }
}

/// Checks everything; gives the rules, and a [`Filter`] that lacks only its program.
pub(super) fn check<'a>(
    spec: &'a LinuxSeccomp,
    native: Arch,
    warnings: &mut Vec<Problem>,
) -> Result<(Rules<'a>, Filter), Vec<Problem>> {
    let mut judge = Judge { problems: Vec::new(), warnings };
    let default_action = spec.default_action();
    let default = answer(default_action, spec.default_errno_ret(), "default", BASE, &mut judge);
    if default_action == LinuxSeccompAction::ScmpActNotify {
        judge.refuse(format!("{BASE}/defaultAction"), "SCMP_ACT_NOTIFY would stop the runtime itself");
    }
    let arches = arches(spec, native, &mut judge);
    let (mut list, mut named) = (Vec::new(), Vec::new());
    let mut notifies = false;
    for (index, call) in spec.syscalls().iter().flatten().enumerate() {
        notifies |= call.action() == LinuxSeccompAction::ScmpActNotify;
        let pointer = format!("{BASE}/syscalls/{index}");
        list.extend(one(call, &pointer, default, &mut named, &mut judge));
    }
    let mut filter = Filter { flags: flags(spec), ..Filter::default() };
    filter.listener = listener(spec, notifies, &mut judge);
    if filter.listener.is_some() && filter.flags & TSYNC != 0 {
        filter.flags |= TSYNC_ESRCH;
    }
    if filter.listener.is_none() && filter.flags & WAIT_KILLABLE_RECV != 0 {
        judge.warn(format!("{BASE}/flags"), "WAIT_KILLABLE_RECV has no effect without a rule that notifies");
        filter.flags &= !WAIT_KILLABLE_RECV;
    }
    if !judge.problems.is_empty() {
        return Err(judge.problems);
    }
    Ok((Rules { arches, default, default_action, list, named }, filter))
}

const TSYNC: u32 = 1;
const WAIT_KILLABLE_RECV: u32 = 32;
/// Lets TSYNC fail with an error, because a listener's descriptor is returned already.
const TSYNC_ESRCH: u32 = 16;

fn flags(spec: &LinuxSeccomp) -> u32 {
    spec.flags().iter().flatten().fold(0, |sum, flag| {
        sum | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 2,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 4,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
        }
    })
}

fn listener(spec: &LinuxSeccomp, notifies: bool, judge: &mut Judge<'_>) -> Option<super::Listener> {
    let metadata = spec.listener_metadata().clone().unwrap_or_default();
    match spec.listener_path().as_ref().filter(|p| !p.as_os_str().is_empty()) {
        Some(path) if notifies => return Some(super::Listener { path: path.clone(), metadata }),
        Some(_) => judge.warn(format!("{BASE}/listenerPath"), "has no effect without a rule that notifies"),
        None if notifies => {
            judge.refuse(format!("{BASE}/listenerPath"), "is needed by a rule with SCMP_ACT_NOTIFY");
        }
        None if !metadata.is_empty() => {
            judge.refuse(format!("{BASE}/listenerMetadata"), "is set, but listenerPath is not");
        }
        None => {}
    }
    None
}

/// The native one always; others that are listed and can run here.
fn arches(spec: &LinuxSeccomp, native: Arch, judge: &mut Judge<'_>) -> Vec<Arch> {
    let mut arches = vec![native];
    for (index, listed) in spec.architectures().iter().flatten().enumerate() {
        match Arch::from_spec(*listed, native) {
            None => judge.warn(
                format!("{BASE}/architectures/{index}"),
                format!("{listed} is not supported: its programs are killed at their first system call"),
            ),
            Some(arch) if arch.runs_on(native) && !arches.contains(&arch) => arches.push(arch),
            Some(_) => {}
        }
    }
    arches
}

/// `kind` is `default` or empty: it begins the names of the fields.
fn answer(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    kind: &str,
    pointer: &str,
    judge: &mut Judge<'_>,
) -> Answer {
    use LinuxSeccompAction as A;
    let field = if kind.is_empty() { "errnoRet" } else { "defaultErrnoRet" };
    let base = match action {
        A::ScmpActKill | A::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        A::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        A::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        A::ScmpActErrno => libc::SECCOMP_RET_ERRNO,
        A::ScmpActTrace => libc::SECCOMP_RET_TRACE,
        A::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        A::ScmpActLog => libc::SECCOMP_RET_LOG,
        A::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    };
    // The kernel caps an errno at 4095; a tracer gets 16 bits.
    let most = match action {
        A::ScmpActErrno => 4095,
        A::ScmpActTrace => 0xffff,
        _ if errno.is_some() => {
            judge.refuse(format!("{pointer}/{field}"), format!("{action} returns no errno"));
            return base;
        }
        _ => return base,
    };
    const EPERM: u32 = 1;
    let data = errno.unwrap_or(EPERM);
    if data > most {
        judge.refuse(format!("{pointer}/{field}"), format!("{data} is more than {most}"));
    }
    base | (data & most)
}

/// The rules of one entry. One that says what happens anyway is left out, as
/// by runc. Where an argument has several conditions, each of the entry's
/// conditions is an alternative, as with runc; else all must hold.
fn one<'a>(
    call: &'a LinuxSyscall,
    pointer: &str,
    default: Answer,
    named: &mut Vec<&'static tables::Row>,
    judge: &mut Judge<'_>,
) -> Vec<Rule<'a>> {
    let answer = answer(call.action(), call.errno_ret(), "", pointer, judge);
    let conditions: Vec<Condition> = call
        .args()
        .iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, arg)| condition(arg, &format!("{pointer}/args/{index}"), judge))
        .collect();
    let mut arguments: Vec<u8> = conditions.iter().map(|c| c.argument).collect();
    arguments.sort_unstable();
    let repeated = !arguments.is_sorted_by(|a, b| a < b);
    let alternatives: Vec<Vec<Condition>> = if repeated {
        judge.warn(format!("{pointer}/args"), "one argument has several conditions: any of them is enough");
        conditions.into_iter().map(|c| vec![c]).collect()
    } else {
        vec![conditions]
    };
    let mut rules = Vec::new();
    for (index, name) in call.names().iter().enumerate() {
        let pointer = || format!("{pointer}/names/{index}");
        let Some(row) = tables::numbers(name) else {
            judge.warn(pointer(), format!("no system call is named {name:?}: ignored"));
            continue;
        };
        named.push(row);
        if call.action() == LinuxSeccompAction::ScmpActNotify && name == "write" {
            judge.refuse(pointer(), "SCMP_ACT_NOTIFY for write would stop the runtime itself");
        }
        if answer != default {
            let rule = |c: &Vec<Condition>| Rule { name, row, conditions: c.clone(), answer };
            rules.extend(alternatives.iter().map(rule));
        }
    }
    rules
}

fn condition(arg: &LinuxSeccompArg, pointer: &str, judge: &mut Judge<'_>) -> Option<Condition> {
    use LinuxSeccompOperator as Op;
    let argument = u8::try_from(arg.index()).ok().filter(|i| *i < 6);
    if argument.is_none() {
        judge.refuse(
            format!("{pointer}/index"),
            format!("{}: a system call has the arguments 0 to 5", arg.index()),
        );
    }
    let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
    let test = match arg.op() {
        Op::ScmpCmpNe => Test::Unequal(value),
        Op::ScmpCmpLt => Test::Less(value),
        Op::ScmpCmpLe => Test::LessOrEqual(value),
        Op::ScmpCmpEq => Test::Equal(value),
        Op::ScmpCmpGe => Test::GreaterOrEqual(value),
        Op::ScmpCmpGt => Test::Greater(value),
        Op::ScmpCmpMaskedEq => Test::MaskedEqual { mask: value, value: second },
    };
    if matches!(test, Test::MaskedEqual { mask, value } if value & !mask != 0) {
        judge.warn(format!("{pointer}/valueTwo"), "has bits outside of the mask: the condition never holds");
    }
    Some(Condition { argument: argument?, test })
}
