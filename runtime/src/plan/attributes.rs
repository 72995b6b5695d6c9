//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`,
//! `linux.personality` and `linux.memoryPolicy` (config.md, "Linux Process";
//! config-linux.md, "Memory policy", "Personality"). The tables of names here
//! are also what `features` prints.

use super::problems::Problems;
use super::{Attributes, ExecAffinity, IoPriority, MemoryPolicy, NumberSet, Scheduler};
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType as Flag,
    MemoryPolicyModeType as Mode, Process, Scheduler as Spec,
};

/// All five.
pub(super) fn plan(process: &Process, linux: Option<&Linux>, problems: &mut Problems) -> Attributes {
    Attributes {
        scheduler: process.scheduler().as_ref().map(|s| scheduler(s, problems)),
        io_priority: process.io_priority().as_ref().map(|p| io_priority(p, problems)),
        exec_affinity: exec_affinity(process.exec_cpu_affinity().as_ref(), problems),
        personality: linux.and_then(|l| personality(l.personality().as_ref()?, problems)),
        memory_policy: linux.and_then(|l| memory_policy(l.memory_policy().as_ref()?, problems)),
    }
}

fn scheduler(spec: &Spec, problems: &mut Problems) -> Scheduler {
    const POINTER: &str = "/process/scheduler";
    let (mut name, mut policy) = policy(*spec.policy());
    if policy == SCHED_ISO {
        problems.warn(format!("{POINTER}/policy"), "no kernel implements SCHED_ISO: it is SCHED_OTHER");
        (name, policy) = ("SCHED_OTHER", SCHED_OTHER);
    }
    let nice = spec.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        problems.refuse(format!("{POINTER}/nice"), format!("{nice} is not between -20 and 19"));
    }
    if nice != 0 && !matches!(policy, SCHED_OTHER | SCHED_BATCH) {
        problems.warn(format!("{POINTER}/nice"), format!("no effect with {name}"));
    }
    let priority = spec.priority().unwrap_or(0);
    let takes = if matches!(policy, SCHED_FIFO | SCHED_RR) { 1..=99 } else { 0..=0 };
    if !takes.contains(&priority) {
        let (first, last) = (takes.start(), takes.end());
        problems.refuse(
            format!("{POINTER}/priority"),
            format!("{name} takes a priority between {first} and {last}, not {priority}"),
        );
    }
    let scheduler = Scheduler {
        name,
        policy,
        nice,
        priority: u32::try_from(priority).unwrap_or(0),
        flags: spec
            .flags()
            .iter()
            .flatten()
            .map(|flag| scheduler_flag(*flag))
            .fold(0, |all, flag| all | flag),
        runtime: spec.runtime().unwrap_or(0),
        deadline: spec.deadline().unwrap_or(0),
        period: spec.period().unwrap_or(0),
    };
    check_deadline(&scheduler, POINTER, problems);
    scheduler
}

/// sched(7): 1024 ns <= runtime <= deadline <= period; the kernel takes a period of 0 for the deadline.
fn check_deadline(scheduler: &Scheduler, pointer: &str, problems: &mut Problems) {
    let Scheduler { name, runtime, deadline, period, .. } = *scheduler;
    if scheduler.policy != SCHED_DEADLINE {
        for (value, field) in [(runtime, "runtime"), (deadline, "deadline"), (period, "period")] {
            if value != 0 {
                problems.refuse(
                    format!("{pointer}/{field}"),
                    format!("{name} has no {field}, only SCHED_DEADLINE"),
                );
            }
        }
        return;
    }
    if runtime < 1024 {
        problems.refuse(format!("{pointer}/runtime"), format!("{runtime} ns is less than the least, 1024"));
    }
    if deadline < runtime {
        problems.refuse(
            format!("{pointer}/deadline"),
            format!("the deadline of {deadline} ns is before the runtime of {runtime} ns has passed"),
        );
    }
    if period != 0 && period < deadline {
        problems.refuse(
            format!("{pointer}/period"),
            format!("the period of {period} ns ends before the deadline of {deadline} ns"),
        );
    }
}

// linux/sched.h
const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_ISO: u32 = 4;
const SCHED_IDLE: u32 = 5;
const SCHED_DEADLINE: u32 = 6;

fn policy(policy: LinuxSchedulerPolicy) -> (&'static str, u32) {
    match policy {
        LinuxSchedulerPolicy::SchedOther => ("SCHED_OTHER", SCHED_OTHER),
        LinuxSchedulerPolicy::SchedFifo => ("SCHED_FIFO", SCHED_FIFO),
        LinuxSchedulerPolicy::SchedRr => ("SCHED_RR", SCHED_RR),
        LinuxSchedulerPolicy::SchedBatch => ("SCHED_BATCH", SCHED_BATCH),
        LinuxSchedulerPolicy::SchedIso => ("SCHED_ISO", SCHED_ISO),
        LinuxSchedulerPolicy::SchedIdle => ("SCHED_IDLE", SCHED_IDLE),
        LinuxSchedulerPolicy::SchedDeadline => ("SCHED_DEADLINE", SCHED_DEADLINE),
    }
}

fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(spec: &LinuxIOPriority, problems: &mut Problems) -> IoPriority {
    let (name, class) = match spec.class() {
        IOPriorityClass::IoprioClassRt => ("IOPRIO_CLASS_RT", 1),
        IOPriorityClass::IoprioClassBe => ("IOPRIO_CLASS_BE", 2),
        IOPriorityClass::IoprioClassIdle => ("IOPRIO_CLASS_IDLE", 3),
    };
    let level = u32::try_from(spec.priority()).ok().filter(|level| *level <= 7);
    if level.is_none() {
        problems.refuse(
            "/process/ioPriority/priority",
            format!("{} is not between 0 (highest) and 7", spec.priority()),
        );
    }
    IoPriority { name, class, level: level.unwrap_or(0) }
}

fn exec_affinity(spec: Option<&ExecCPUAffinity>, problems: &mut Problems) -> ExecAffinity {
    let mut set = |text: Option<&str>, field: &str| {
        let text = text.filter(|text| !text.is_empty())?;
        let pointer = format!("/process/execCPUAffinity/{field}");
        match text.parse() {
            Ok(set) => Some(set),
            Err(why) => {
                problems.refuse_hint(pointer, why, "such as 0-3,7");
                None
            }
        }
    };
    let Some(spec) = spec else { return ExecAffinity::default() };
    ExecAffinity {
        initial: set(spec.initial().as_deref(), "initial"),
        last: set(spec.cpu_affinity_final().as_deref(), "final"),
    }
}

/// The flags of personality(2).
const PERSONALITY_FLAGS: [(&str, u32); 11] = [
    ("UNAME26", 0x0002_0000),
    ("ADDR_NO_RANDOMIZE", 0x0004_0000),
    ("FDPIC_FUNCPTRS", 0x0008_0000),
    ("MMAP_PAGE_ZERO", 0x0010_0000),
    ("ADDR_COMPAT_LAYOUT", 0x0020_0000),
    ("READ_IMPLIES_EXEC", 0x0040_0000),
    ("ADDR_LIMIT_32BIT", 0x0080_0000),
    ("SHORT_INODE", 0x0100_0000),
    ("WHOLE_SECONDS", 0x0200_0000),
    ("STICKY_TIMEOUTS", 0x0400_0000),
    ("ADDR_LIMIT_3GB", 0x0800_0000),
];

fn personality(spec: &LinuxPersonality, problems: &mut Problems) -> Option<u32> {
    let domain = match spec.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    };
    let mut persona = domain;
    for (index, name) in spec.flags().iter().flatten().enumerate() {
        match PERSONALITY_FLAGS.iter().find(|(known, _)| known == name) {
            Some((_, flag)) => persona |= flag,
            None => problems.refuse_hint(
                format!("/linux/personality/flags/{index}"),
                format!("unknown flag {name:?}"),
                PERSONALITY_FLAGS.map(|(known, _)| known).join(", "),
            ),
        }
    }
    // The domain LINUX without flags is what every process has.
    Some(persona).filter(|persona| *persona != 0)
}

/// The modes of set_mempolicy(2), in the order of their numbers.
pub(super) const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// Its flags, from the lowest bit up.
pub(super) const MEMORY_FLAGS: [&str; 3] =
    ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

fn memory_policy(spec: &LinuxMemoryPolicy, problems: &mut Problems) -> Option<MemoryPolicy> {
    const POINTER: &str = "/linux/memoryPolicy";
    let number = mode_number(spec.mode());
    let name = usize::try_from(number).ok().and_then(|n| MEMORY_MODES.get(n).copied())?;
    let flags: Vec<u32> = spec.flags().iter().flatten().map(|flag| flag_number(*flag)).collect();
    check_flags(name, &flags, &format!("{POINTER}/flags"), problems);
    let text = spec.nodes().as_deref().unwrap_or_default().trim();
    let pointer = format!("{POINTER}/nodes");
    let nodes = match (text.is_empty(), matches!(name, "MPOL_DEFAULT" | "MPOL_LOCAL")) {
        (true, true) => NumberSet::default(),
        (false, true) => {
            problems.refuse(pointer, format!("{name} has no nodes"));
            NumberSet::default()
        }
        // set_mempolicy(2): a preferred policy without nodes means the local one.
        (true, false) if name == "MPOL_PREFERRED" && flags.is_empty() => NumberSet::default(),
        (true, false) => {
            problems.refuse_hint(pointer, format!("{name} needs nodes"), "such as 0-3,7");
            NumberSet::default()
        }
        (false, false) => text.parse().unwrap_or_else(|why: String| {
            problems.refuse_hint(pointer, why, "such as 0-3,7");
            NumberSet::default()
        }),
    };
    Some(MemoryPolicy { name, mode: flags.iter().fold(number, |mode, flag| mode | flag), nodes })
}

fn check_flags(mode: &str, flags: &[u32], pointer: &str, problems: &mut Problems) {
    let has = |flag: Flag| flags.contains(&flag_number(flag));
    if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
        problems.refuse(pointer, "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other");
    }
    if has(Flag::MpolFNumaBalancing) && !matches!(mode, "MPOL_BIND" | "MPOL_PREFERRED_MANY") {
        problems.refuse(pointer, "MPOL_F_NUMA_BALANCING needs MPOL_BIND or MPOL_PREFERRED_MANY");
    }
    if !flags.is_empty() && matches!(mode, "MPOL_DEFAULT" | "MPOL_LOCAL") {
        problems.refuse(pointer, format!("{mode} takes no flags"));
    }
}

fn mode_number(mode: Mode) -> u32 {
    match mode {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    }
}

fn flag_number(flag: Flag) -> u32 {
    match flag {
        Flag::MpolFNumaBalancing => 1 << 13,
        Flag::MpolFRelativeNodes => 1 << 14,
        Flag::MpolFStaticNodes => 1 << 15,
    }
}
