//! The config's rules, checked: one [`Rule`] for each name and alternative.
//! Conditions lie in one list, of which a rule has a [`Span`]: hundreds of
//! names have none or the same.

use super::Filter;
use super::arch::Arch;
use super::calls::{self, Call};
use super::options;
use crate::plan::Problem;
use oci_spec::runtime::{
    Arch as SpecArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

pub(super) const BASE: &str = "/linux/seccomp";

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

/// A part of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Span {
    /// The part of `list`.
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        list.get(self.first..self.first.saturating_add(self.count)).unwrap_or_default()
    }
}

/// One rule: all conditions must hold; none always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) call: Call,
    /// Of [`Rules::conditions`].
    pub(super) conditions: Span,
    pub(super) answer: Answer,
}

/// All of `/linux/seccomp`, checked.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) arches: Vec<Arch>,
    pub(super) default: Answer,
    pub(super) default_action: LinuxSeccompAction,
    pub(super) list: Vec<Rule>,
    pub(super) conditions: Vec<Condition>,
    /// Every name of the profile, those of the default action included.
    pub(super) named: Vec<Call>,
}

/// More rules than this are refused: no program could hold them, and a name
/// list times an argument list grows beyond any memory.
const MAX_RULES: usize = 1 << 16;

/// Collects mistakes and warnings.
pub(super) struct Judge<'a> {
    problems: Vec<Problem>,
    warnings: &'a mut Vec<Problem>,
}

impl Judge<'_> {
    pub(super) fn refuse(&mut self, pointer: String, message: impl Into<String>) {
        self.problems.push(Problem { pointer, message: message.into(), hint: String::new() });
    }

    pub(super) fn warn(&mut self, pointer: String, message: impl Into<String>) {
        self.warnings.push(Problem { pointer, message: message.into(), hint: String::new() });
    }
}

/// Checks everything; gives the rules, and a [`Filter`] that lacks only its program.
pub(super) fn check(
    spec: &LinuxSeccomp,
    native: Arch,
    warnings: &mut Vec<Problem>,
) -> Result<(Rules, Filter), Vec<Problem>> {
    let mut judge = Judge { problems: Vec::new(), warnings };
    let default_action = spec.default_action();
    let default = answer(default_action, spec.default_errno_ret(), "default", BASE, &mut judge);
    if default_action == LinuxSeccompAction::ScmpActNotify {
        judge.refuse(format!("{BASE}/defaultAction"), "SCMP_ACT_NOTIFY would stop the runtime itself");
    }
    let names = spec.syscalls().iter().flatten().map(|entry| entry.names().len()).sum();
    let mut rules = Rules {
        arches: arches(spec, native, &mut judge),
        default,
        default_action,
        list: Vec::with_capacity(names),
        conditions: Vec::new(),
        named: Vec::with_capacity(names),
    };
    let mut notifies = false;
    for (index, entry) in spec.syscalls().iter().flatten().enumerate() {
        notifies |= entry.action() == LinuxSeccompAction::ScmpActNotify;
        rules.add(entry, &format!("{BASE}/syscalls/{index}"), &mut judge);
        if rules.list.len() > MAX_RULES {
            let message = format!("the profile has more than {MAX_RULES} rules, no filter can hold them");
            judge.refuse(format!("{BASE}/syscalls"), message);
            break;
        }
    }
    let filter = options::check(spec, notifies, &mut judge);
    if !judge.problems.is_empty() {
        return Err(judge.problems);
    }
    Ok((rules, filter))
}

/// The native one always; others that are listed and can run here.
fn arches(spec: &LinuxSeccomp, native: Arch, judge: &mut Judge<'_>) -> Vec<Arch> {
    let mut arches = vec![native];
    for (index, listed) in spec.architectures().iter().flatten().enumerate() {
        match Arch::from_spec(*listed, native) {
            Some(arch) if arch.runs_on(native) && !arches.contains(&arch) => arches.push(arch),
            Some(_) => {}
            None if is_half_of(*listed, native) => judge.warn(
                format!("{BASE}/architectures/{index}"),
                format!("{listed} is not supported: its programs are killed at their first system call"),
            ),
            // Its programs cannot run here.
            None => {}
        }
    }
    arches
}

/// Whether it is the 32-bit side of `native`, and has no table here.
fn is_half_of(listed: SpecArch, native: Arch) -> bool {
    matches!((listed, native), (SpecArch::ScmpArchS390, Arch::S390x) | (SpecArch::ScmpArchPpc, Arch::Ppc64le))
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

impl Rules {
    /// Adds the rules of one entry. One that says what happens anyway is left
    /// out, as by runc.
    fn add(&mut self, entry: &LinuxSyscall, pointer: &str, judge: &mut Judge<'_>) {
        let answer = answer(entry.action(), entry.errno_ret(), "", pointer, judge);
        let alternatives = self.alternatives(entry, pointer, judge);
        for (index, name) in entry.names().iter().enumerate() {
            let pointer = || format!("{pointer}/names/{index}");
            let Some(call) = calls::find(name) else {
                judge.warn(pointer(), format!("no system call is named {name:?}: ignored"));
                continue;
            };
            self.named.push(call);
            if self.list.len() > MAX_RULES {
                return;
            }
            if answer != self.default {
                let rule = |at| Rule { call, conditions: alternatives.nth(at), answer };
                self.list.extend((0..alternatives.count).map(rule));
            }
        }
    }

    /// The conditions of one entry. Where an argument has several, each of the
    /// entry's conditions is an alternative, as with runc; else all must hold.
    fn alternatives(&mut self, entry: &LinuxSyscall, pointer: &str, judge: &mut Judge<'_>) -> Alternatives {
        let first = self.conditions.len();
        let (mut seen, mut repeated) = (0_u8, false);
        for (index, arg) in entry.args().iter().flatten().enumerate() {
            if let Some(condition) = condition(arg, &format!("{pointer}/args/{index}"), judge) {
                let bit = 1 << condition.argument;
                repeated |= seen & bit != 0;
                seen |= bit;
                self.conditions.push(condition);
            }
        }
        let each = self.conditions.len() - first;
        if !repeated {
            return Alternatives { first, each, count: 1 };
        }
        judge.warn(format!("{pointer}/args"), "one argument has several conditions: any of them is enough");
        Alternatives { first, each: 1, count: each }
    }
}

/// Alternatives that lie behind each other and have `each` conditions.
#[derive(Clone, Copy)]
struct Alternatives {
    first: usize,
    each: usize,
    count: usize,
}

impl Alternatives {
    fn nth(self, at: usize) -> Span {
        Span { first: self.first + at * self.each, count: self.each }
    }
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
        // As with libseccomp the mask is applied to both.
        Op::ScmpCmpMaskedEq => Test::MaskedEqual { mask: value, value: second & value },
    };
    if arg.op() == Op::ScmpCmpMaskedEq && second & !value != 0 {
        judge.warn(format!("{pointer}/valueTwo"), "has bits outside of the mask: they are ignored");
    }
    Some(Condition { argument: argument?, test })
}
