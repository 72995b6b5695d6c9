//! `process`: what is executed, and as whom (config.md, "Process").

use super::capabilities::{self, Grant};
use super::host::Host;
use super::ids::{self, IdKind};
use super::problems::Problems;
use super::{Namespace, Namespaces, Process, Rlimit, paths};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process as Spec, User};
use std::ffi::CString;
use std::path::PathBuf;

/// The process; without one in the config an empty one, beside the mistake.
pub(super) fn plan(
    spec: Option<&Spec>,
    linux: Option<&oci_spec::runtime::Linux>,
    namespaces: &Namespaces,
    host: &Host,
    problems: &mut Problems,
) -> Process {
    let Some(spec) = spec else {
        problems.refuse("/process", "process is required");
        return empty();
    };
    let grant = if namespaces.user == Namespace::Host { Grant::OfCaller } else { Grant::All };
    check_user(spec.user(), namespaces, problems);
    let terminal = spec.terminal().unwrap_or(false);
    Process {
        args: args(spec, problems),
        env: environment(spec.env().as_deref().unwrap_or_default(), "/process/env", problems),
        cwd: cwd(spec, problems),
        terminal,
        console_size: console_size(spec, terminal, problems),
        uid: spec.user().uid(),
        gid: spec.user().gid(),
        additional_gids: spec.user().additional_gids().clone().unwrap_or_default(),
        umask: spec.user().umask(),
        capabilities: capabilities::plan(spec.capabilities().as_ref(), grant, host, problems),
        rlimits: rlimits(spec.rlimits().as_deref().unwrap_or_default(), problems),
        no_new_privileges: spec.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(spec, problems),
        apparmor_profile: apparmor(spec, host, problems),
        selinux_label: selinux(spec, host, problems),
        attributes: super::attributes::plan(spec, linux, problems),
        seccomp: None,
    }
}

/// `KEY=VALUE` strings. Of a key that is set twice the last value counts, as in runc.
pub(super) fn environment(env: &[String], pointer: &str, problems: &mut Problems) -> Vec<CString> {
    for (index, entry) in env.iter().enumerate() {
        match entry.split_once('=') {
            None => problems.refuse(format!("{pointer}/{index}"), format!("{entry:?} is not KEY=VALUE")),
            Some(("", _)) => {
                problems.refuse(format!("{pointer}/{index}"), format!("{entry:?} has an empty key"));
            }
            Some(_) => {}
        }
    }
    let key = |text: &CString| text.as_bytes().split(|b| *b == b'=').next().map(<[u8]>::to_vec);
    let mut unique: Vec<CString> = Vec::with_capacity(env.len());
    for entry in paths::c_strings(env, pointer, problems) {
        match unique.iter_mut().find(|earlier| key(earlier) == key(&entry)) {
            Some(earlier) => *earlier = entry,
            None => unique.push(entry),
        }
    }
    unique
}

fn empty() -> Process {
    Process {
        args: Vec::new(),
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        terminal: false,
        console_size: None,
        uid: 0,
        gid: 0,
        additional_gids: Vec::new(),
        umask: None,
        capabilities: super::Capabilities::default(),
        rlimits: Vec::new(),
        no_new_privileges: false,
        oom_score_adj: None,
        apparmor_profile: String::new(),
        selinux_label: String::new(),
        attributes: super::Attributes::default(),
        seccomp: None,
    }
}

fn args(spec: &Spec, problems: &mut Problems) -> Vec<CString> {
    const POINTER: &str = "/process/args";
    let args = spec.args().as_deref().unwrap_or_default();
    match args.first() {
        None => problems.refuse(POINTER, "args is required: there is nothing to execute"),
        Some(program) if program.is_empty() => {
            problems.refuse(format!("{POINTER}/0"), "the name of the program is empty");
        }
        Some(_) => {}
    }
    paths::c_strings(args, POINTER, problems)
}

fn cwd(spec: &Spec, problems: &mut Problems) -> PathBuf {
    const POINTER: &str = "/process/cwd";
    let cwd = spec.cwd();
    if let Err(why) = paths::check(cwd) {
        problems.refuse(POINTER, why);
    } else if !cwd.is_absolute() {
        problems.refuse(POINTER, format!("the working directory {} is not absolute", cwd.display()));
    }
    cwd.clone()
}

fn console_size(spec: &Spec, terminal: bool, problems: &mut Problems) -> Option<(u16, u16)> {
    const POINTER: &str = "/process/consoleSize";
    let size = spec.console_size()?;
    if !terminal {
        problems.warn(POINTER, "no effect without /process/terminal");
    }
    let mut side = |name: &str, value: u64| {
        let side = u16::try_from(value).ok();
        if side.is_none() {
            problems.refuse(format!("{POINTER}/{name}"), format!("{value} is more than 65535"));
        }
        side
    };
    let (height, width) = (side("height", size.height()), side("width", size.width()));
    Some((height?, width?)).filter(|(height, width)| terminal && (*height, *width) != (0, 0))
}

fn check_user(user: &User, namespaces: &Namespaces, problems: &mut Problems) {
    ids::check_id(IdKind::User, user.uid(), "/process/user/uid", namespaces, problems);
    ids::check_id(IdKind::Group, user.gid(), "/process/user/gid", namespaces, problems);
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        let pointer = format!("/process/user/additionalGids/{index}");
        ids::check_id(IdKind::Group, *gid, &pointer, namespaces, problems);
    }
    if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
        problems.refuse_hint(
            "/process/user/umask",
            format!("{umask} (octal {umask:o}) is not a umask, which has nine bits"),
            "JSON has no octal numbers: 022 is written 18",
        );
    }
    if user.username().as_ref().is_some_and(|name| !name.is_empty()) {
        problems.warn("/process/user/username", "no effect on Linux: uid and gid say who it is");
    }
}

fn rlimits(list: &[PosixRlimit], problems: &mut Problems) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let pointer = format!("/process/rlimits/{index}");
        let (name, resource) = resource(entry.typ());
        if let Some(first) = limits.iter().find(|l| l.resource == resource) {
            let first = first.index;
            problems.refuse(
                format!("{pointer}/type"),
                format!("{name} is set at /process/rlimits/{first} already"),
            );
        }
        let (soft, hard) = (entry.soft(), entry.hard());
        if soft > hard {
            problems.refuse(
                format!("{pointer}/soft"),
                format!("the soft limit {soft} is above the hard limit {hard}"),
            );
        }
        limits.push(Rlimit { resource, name, soft, hard, index });
    }
    limits
}

/// Name and number (asm-generic/resource.h, the same on x86, ARM, RISC-V, POWER and s390).
fn resource(typ: PosixRlimitType) -> (&'static str, u32) {
    match typ {
        PosixRlimitType::RlimitCpu => ("RLIMIT_CPU", 0),
        PosixRlimitType::RlimitFsize => ("RLIMIT_FSIZE", 1),
        PosixRlimitType::RlimitData => ("RLIMIT_DATA", 2),
        PosixRlimitType::RlimitStack => ("RLIMIT_STACK", 3),
        PosixRlimitType::RlimitCore => ("RLIMIT_CORE", 4),
        PosixRlimitType::RlimitRss => ("RLIMIT_RSS", 5),
        PosixRlimitType::RlimitNproc => ("RLIMIT_NPROC", 6),
        PosixRlimitType::RlimitNofile => ("RLIMIT_NOFILE", 7),
        PosixRlimitType::RlimitMemlock => ("RLIMIT_MEMLOCK", 8),
        PosixRlimitType::RlimitAs => ("RLIMIT_AS", 9),
        PosixRlimitType::RlimitLocks => ("RLIMIT_LOCKS", 10),
        PosixRlimitType::RlimitSigpending => ("RLIMIT_SIGPENDING", 11),
        PosixRlimitType::RlimitMsgqueue => ("RLIMIT_MSGQUEUE", 12),
        PosixRlimitType::RlimitNice => ("RLIMIT_NICE", 13),
        PosixRlimitType::RlimitRtprio => ("RLIMIT_RTPRIO", 14),
        PosixRlimitType::RlimitRttime => ("RLIMIT_RTTIME", 15),
    }
}

fn oom_score_adj(spec: &Spec, problems: &mut Problems) -> Option<i32> {
    let score = spec.oom_score_adj()?;
    if !(-1000..=1000).contains(&score) {
        problems.refuse("/process/oomScoreAdj", format!("{score} is not between -1000 and 1000"));
    }
    Some(score)
}

fn apparmor(spec: &Spec, host: &Host, problems: &mut Problems) -> String {
    let profile = spec.apparmor_profile().clone().unwrap_or_default();
    if !host.apparmor && !profile.is_empty() && profile != "unconfined" {
        problems.refuse_hint(
            "/process/apparmorProfile",
            format!("the profile {profile:?} cannot be applied: AppArmor is not in force on this host"),
            "remove it, or boot with apparmor=1 security=apparmor",
        );
    }
    // Nothing to do where nothing confines.
    if host.apparmor { profile } else { String::new() }
}

fn selinux(spec: &Spec, host: &Host, problems: &mut Problems) -> String {
    let label = spec.selinux_label().clone().unwrap_or_default();
    if !host.selinux && !label.is_empty() {
        problems.refuse_hint(
            "/process/selinuxLabel",
            format!("the label {label:?} cannot be applied: SELinux is not in force on this host"),
            "remove it, or enable SELinux",
        );
    }
    label
}
