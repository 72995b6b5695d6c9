//! Our seccomp compiler against libseccomp: for profiles in use and for
//! generated ones, every system call number of every architecture, with the
//! arguments around which the rules' conditions turn, gets the same verdict from
//! both programs. Where they differ on purpose, [`expected`] derives the verdict
//! from the rules; nothing is left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test"
)]

use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::json;
use sextant_fuzz::bpf::{self, Call, Order};
use sextant_fuzz::choices::{Choices, Random};
use sextant_fuzz::seccomp::model::{self, Because, Condition, Model};
use sextant_fuzz::seccomp::profile::{self, Overlap};
use sextant_fuzz::seccomp::{FAMILIES, MACHINES, Machine, X32_BIT, calls};
use sextant_runtime::seccomp::{Instruction, compile_for, known};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program around libseccomp, built once a test run.
struct Reference {
    program: PathBuf,
    /// Numbers as libseccomp knows them, by architecture and name. Negative are
    /// calls that only a multiplexer has (from -100 down), and those that the
    /// architecture has not (below -1000).
    numbers: BTreeMap<(&'static str, &'static str), i32>,
}

impl Reference {
    /// `None`, with the reason said, where it cannot be built.
    fn build(test: &str) -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/libseccomp.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libseccomp-{test}"));
        let built =
            Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).arg("-lseccomp").output();
        match built {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let error = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("").to_owned();
                println!("skipped: needs cc and libseccomp-dev: {error}");
                return None;
            }
            Err(error) => {
                println!("skipped: needs cc: {error}");
                return None;
            }
        }
        let mut reference = Self { program, numbers: BTreeMap::new() };
        reference.numbers = reference.resolve();
        Some(reference)
    }

    fn run(&self, input: &str) -> (Vec<u8>, String) {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It answers only after all is said, and stderr gets at most a line for each of it.
        let mut stdin = child.stdin.take().unwrap();
        let text = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}\n{input}");
        (output.stdout, stderr)
    }

    fn resolve(&self) -> BTreeMap<(&'static str, &'static str), i32> {
        let asked: Vec<(&str, &str)> =
            machines().flat_map(|m| known::calls().map(|call| (m.name, call))).collect();
        let input: String = asked.iter().map(|(m, call)| format!("resolve {m} {call}\n")).collect();
        let (stdout, _) = self.run(&input);
        let text = String::from_utf8(stdout).unwrap();
        assert_eq!(text.lines().count(), asked.len());
        asked.into_iter().zip(text.lines()).map(|(k, line)| (k, line.parse().unwrap())).collect()
    }

    /// Its program for a profile on the kernel of `model`.
    fn compile(&self, spec: &LinuxSeccomp, model: &Model<'_>) -> Theirs {
        let mut input = format!("default {}\n", model.default());
        if model.machines[0].arch != Arch::ScmpArchX86_64 {
            // Of another order of bytes than this machine: no filter has both.
            writeln!(input, "only").unwrap();
        }
        for machine in &model.machines {
            writeln!(input, "arch {}", machine.name).unwrap();
        }
        let rules = rules(spec, model);
        for line in &rules {
            writeln!(input, "{line}").unwrap();
        }
        let (bytes, stderr) = self.run(&input);
        let program = bpf::from_bytes(&bytes, model.machines[0].order);
        bpf::check(&program).unwrap();
        let refused = stderr.lines().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let rule = &rules[words[1].parse::<usize>().unwrap()];
            let exists = words[2] == libc::EEXIST.to_string();
            exists.then(|| rule.split(' ').nth(2).unwrap().to_owned())
        });
        Theirs { program, refused: refused.collect() }
    }
}

/// The architectures that both know: libseccomp 2.5 has no loongarch64.
fn machines() -> impl Iterator<Item = &'static Machine> {
    MACHINES.iter().filter(|m| m.arch != Arch::ScmpArchLoongarch64)
}

/// A program of libseccomp's.
struct Theirs {
    program: Vec<Instruction>,
    /// Calls whose rules it has not taken all: they are in nobody's order.
    refused: HashSet<String>,
}

/// The rules as runc gives them to libseccomp: a name after the other; where an
/// argument has several conditions, each is a rule of its own.
fn rules(spec: &LinuxSeccomp, model: &Model<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in spec.syscalls().iter().flatten() {
        let action = model::action(entry.action(), entry.errno_ret());
        if action == model.default() {
            continue;
        }
        let args: Vec<String> = entry
            .args()
            .iter()
            .flatten()
            .map(|arg| {
                format!(
                    " {} {} {} {}",
                    arg.index(),
                    arg.op() as u32,
                    arg.value(),
                    arg.value_two().unwrap_or(0)
                )
            })
            .collect();
        let indices: HashSet<usize> = entry.args().iter().flatten().map(|a| a.index()).collect();
        for name in entry.names() {
            if indices.len() < args.len() {
                lines.extend(args.iter().map(|arg| format!("rule {action} {name}{arg}")));
            } else {
                lines.push(format!("rule {action} {name}{}", args.concat()));
            }
        }
    }
    lines
}

/// How often each reason decided.
type Count = BTreeMap<&'static str, usize>;

/// The verdict that ours has to give: libseccomp's, but where the rules of this
/// project say something else.
fn expected(
    reference: &Reference,
    refused: &HashSet<String>,
    model: &Model<'_>,
    call: &Call,
    theirs: u32,
) -> (u32, &'static str) {
    let is_refused = |machine| model.about(machine, call.number).iter().any(|(_, n)| refused.contains(*n));
    let (plain, because) = model.answer(call);
    match because {
        // Killed by both: the process by ours, the thread by theirs.
        Because::Architecture => {
            assert_eq!(theirs, libc::SECCOMP_RET_KILL_THREAD, "{call:x?}");
            (plain, "another architecture")
        }
        // Theirs knows no newer call.
        Because::Newer => {
            assert_eq!(theirs, model.default(), "{call:x?}");
            (plain, "newer")
        }
        Because::Rules => match model.machine_of(call) {
            Some(machine) if is_unknown_to_theirs(reference, model, machine, call) => {
                (plain, "unknown to libseccomp")
            }
            Some(machine) if is_refused(machine) => (plain, "a rule that libseccomp refuses"),
            Some(machine) if is_blind_multiplexer(model, machine, call) => {
                (plain, "multiplexer with conditions")
            }
            // Theirs looks at the low halves of x32's arguments; the kernel passes all of them.
            Some(machine) if machine.arch == Arch::ScmpArchX32 => {
                let narrow = Machine { bits: 32, ..*machine };
                (plain, same_or_why_not(model, &narrow, call, theirs).unwrap_or("x32"))
            }
            Some(machine) => match same_or_why_not(model, machine, call, theirs) {
                Some(why) => (plain, why),
                None => (theirs, "the same"),
            },
            None => (theirs, "the same"),
        },
    }
}

/// Why libseccomp's verdict is another one than the rules' on this architecture.
fn same_or_why_not(model: &Model<'_>, machine: &Machine, call: &Call, theirs: u32) -> Option<&'static str> {
    if theirs == model.answer_on(machine, call).0 {
        return None;
    }
    if overlap(model, machine, call).contains(&theirs) {
        return Some("several rules hold");
    }
    assert!(has_mixed_conditions(model, machine, call), "{call:x?}: {theirs:#x}");
    Some("compiled wrongly by libseccomp")
}

/// Whether rules for the call have conditions on different arguments. libseccomp
/// 2.5 compares some of them with the argument of another: it enters a
/// comparison from two places, of which one has not loaded its argument. So for
/// (arg0 > 7) and (arg5 == 9 and arg0 != 8) it tests arg5 > 7 where arg5 is not 9.
fn has_mixed_conditions(model: &Model<'_>, machine: &Machine, call: &Call) -> bool {
    let arguments = |(entry, _): &(&oci_spec::runtime::LinuxSyscall, &str)| -> BTreeSet<usize> {
        entry.args().iter().flatten().map(|arg| arg.index()).collect()
    };
    let sets: BTreeSet<_> = model.about(machine, call.number).iter().map(arguments).collect();
    sets.into_iter().filter(|set| !set.is_empty()).count() > 1
}

/// The answers of rules with conditions that hold at once. Ours takes the first of
/// the config, libseccomp the one that comes first in its tree of arguments.
fn overlap(model: &Model<'_>, machine: &Machine, call: &Call) -> HashSet<u32> {
    let rules = model.applying(machine, call);
    if rules.iter().any(|(_, condition)| *condition == Condition::None) {
        return HashSet::new();
    }
    rules.into_iter().map(|(answer, _)| answer).collect()
}

/// Whether a rule names the call by a name that libseccomp does not have there,
/// or that it takes for another one.
fn is_unknown_to_theirs(reference: &Reference, model: &Model<'_>, machine: &Machine, call: &Call) -> bool {
    let is_unknown = |name: &str| {
        let number = reference.numbers.get(&(machine.name, name));
        number.is_none_or(|number| *number == -1 || *number < -1000)
    };
    let mut about = model.about(machine, call.number).iter();
    let mut confused = CONFUSED.iter();
    about.any(|(_, name)| is_unknown(name))
        || confused.any(|name| known::number(machine.arch, name) == Some(call.number))
}

/// Both are -10191 to libseccomp 2.5 where the kernel has neither.
const CONFUSED: [&str; 2] = ["sys_debug_setcontext", "switch_endian"];

/// Whether the call is a multiplexer's that stands for one with conditions, which
/// libseccomp tests on the wrong arguments.
fn is_blind_multiplexer(model: &Model<'_>, machine: &Machine, call: &Call) -> bool {
    let mut about = model.about(machine, call.number).iter();
    about.any(|(entry, name)| {
        let conditional = entry.args().as_ref().is_some_and(|args| !args.is_empty());
        conditional && model::multiplexer(machine, name).is_some_and(|(number, _)| number == call.number)
    })
}

/// Compares both programs, and ours with the model. Gives the differences.
fn compare(reference: &Reference, native: Arch, spec: &LinuxSeccomp, count: &mut Count) -> Vec<String> {
    let model = Model::new(native, spec);
    let ours = compile_for(native, spec, &mut Vec::new()).unwrap().program;
    bpf::check(&ours).unwrap();
    let theirs = reference.compile(spec, &model);
    let mut differences = Vec::new();
    for machine in &MACHINES {
        for call in calls::calls(&model, machine) {
            if machine.arch == Arch::ScmpArchX32 && call.number < X32_BIT {
                continue;
            }
            // Ours are made for this machine's order, whatever they are for.
            let our = bpf::run(&ours, &call, Order::Little);
            let their = bpf::run(&theirs.program, &call, machine.order);
            let (expected, why) = expected(reference, &theirs.refused, &model, &call, their);
            *count.entry(why).or_default() += 1;
            let plain = model.answer(&call).0;
            if our != expected || our != plain {
                differences.push(format!(
                    "{} {call:x?}: ours {our:#x}, libseccomp {their:#x}, expected {expected:#x} ({why}), plainly {plain:#x}",
                    machine.name
                ));
            }
        }
    }
    differences
}

fn none(differences: &[String], profile: &serde_json::Value) {
    let shown: Vec<_> = differences.iter().take(10).cloned().collect();
    assert!(
        differences.is_empty(),
        "{} differences, such as:\n{}\n{profile}",
        differences.len(),
        shown.join("\n")
    );
}

/// A profile that engines ship, for the kernels that it is for.
fn shipped(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/tests/profiles").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The form of podman's default profile: what is unknown is ENOSYS, what is
/// forbidden is named as EPERM, and audit sockets are told by two arguments.
fn like_podmans() -> serde_json::Value {
    let mut profile = shipped("default.json");
    profile["defaultErrnoRet"] = json!(libc::ENOSYS);
    let syscalls = profile["syscalls"].as_array_mut().unwrap();
    for entry in &mut *syscalls {
        entry["names"].as_array_mut().unwrap().retain(|name| name != "socket");
    }
    let named: HashSet<String> = names(syscalls).collect();
    let forbidden: Vec<&str> =
        known::calls().filter(|call| !named.contains(*call) && *call != "socket").collect();
    let on = |index: u32, value: u64, op: &str| json!({"index": index, "value": value, "op": op});
    let (family, protocol) = (|op: &str| on(0, 16, op), |op: &str| on(2, 9, op));
    syscalls.extend([
        json!({"names": forbidden, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EINVAL,
               "args": [family("SCMP_CMP_EQ"), protocol("SCMP_CMP_EQ")]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [protocol("SCMP_CMP_NE")]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [family("SCMP_CMP_NE")]}),
    ]);
    profile
}

fn names(entries: &[serde_json::Value]) -> impl Iterator<Item = String> {
    let lists = entries.iter().map(|entry| entry["names"].as_array().unwrap());
    lists.flatten().map(|name| name.as_str().unwrap().to_owned())
}

// proves: seccomp actions
#[test]
fn profiles_in_use_get_the_same_verdicts() {
    let Some(reference) = Reference::build("shipped") else { return };
    let mut count = Count::new();
    for mut value in [shipped("default.json"), like_podmans()] {
        for family in FAMILIES.iter().filter(|f| f[0] != Arch::ScmpArchLoongarch64) {
            value["architectures"] = json!(family);
            none(&compare(&reference, family[0], &profile::parse(&value), &mut count), &value);
        }
    }
    println!("{count:?}");
}

// proves: seccomp actions
#[test]
fn every_number_is_the_one_of_libseccomp() {
    let Some(reference) = Reference::build("numbers") else { return };
    let (mut same, mut wrong) = (0, Vec::new());
    for ((arch, call), number) in &reference.numbers {
        let machine = MACHINES.iter().find(|m| m.name == *arch).unwrap();
        match known::number(machine.arch, call) {
            Some(ours) if i64::from(ours) == i64::from(*number) => same += 1,
            // Newer than theirs, or only by a multiplexer there.
            _ if *number < 0 => {}
            ours => wrong.push(format!("{call} on {arch}: {ours:?}, libseccomp has {number}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same > 2500, "only {same} numbers compared");
}

#[test]
fn generated_profiles_get_the_same_verdicts() {
    let Some(reference) = Reference::build("generated") else { return };
    let mut count = Count::new();
    for (index, family) in FAMILIES.iter().enumerate() {
        // libseccomp 2.5 does not know loongarch64.
        if family[0] == Arch::ScmpArchLoongarch64 {
            continue;
        }
        for seed in 0..if index == 0 { 60 } else { 12 } {
            let bytes = Random::new(1000 * index as u64 + seed).bytes(4000);
            let overlap = if seed % 3 == 0 { Overlap::Free } else { Overlap::None };
            let value = profile::profile(&mut Choices::of(&bytes), family, overlap);
            let spec = profile::parse(&value);
            none(&compare(&reference, family[0], &spec, &mut count), &value);
        }
    }
    println!("{count:?}");
    for why in ["the same", "newer", "x32", "several rules hold", "unknown to libseccomp"] {
        assert!(count.get(why).is_some_and(|n| *n > 100), "{why}: {count:?}");
    }
}
