//! The compiled program against a plain reading of the rules.

use super::arch::Arch;
use super::rules::{self, Rules, Test};
use super::*;
use oci_spec::runtime::LinuxSeccompAction;
use serde_json::{Value, json};

const DEFAULT_PROFILE: &str = include_str!("../../tests/profiles/default.json");
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

fn errno(n: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | n.cast_unsigned()
}

/// A system call as a filter sees it.
#[derive(Clone, Copy, Debug)]
struct Call {
    audit: u32,
    number: u32,
    args: [u64; 6],
}

/// A model of the kernel's interpreter: only what seccomp accepts.
fn run(program: &[Instruction], call: Call) -> u32 {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&call.number.to_ne_bytes());
    data[4..8].copy_from_slice(&call.audit.to_ne_bytes());
    for (i, arg) in call.args.iter().enumerate() {
        data[16 + 8 * i..24 + 8 * i].copy_from_slice(&arg.to_ne_bytes());
    }
    let (mut a, mut at) = (0u32, 0usize);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let offset = |is: bool| usize::from(if is { jt } else { jf });
        at += 1;
        match code {
            assemble::LD_ABS => {
                let from = usize::try_from(k).unwrap();
                assert!(k.is_multiple_of(4) && from + 4 <= data.len());
                a = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            assemble::JA => at += usize::try_from(k).unwrap(),
            assemble::JEQ => at += offset(a == k),
            assemble::JGT => at += offset(a > k),
            assemble::JGE => at += offset(a >= k),
            assemble::AND => a &= k,
            assemble::RET => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn holds(test: Test, arg: u64) -> bool {
    match test {
        Test::Equal(v) => arg == v,
        Test::Unequal(v) => arg != v,
        Test::Less(v) => arg < v,
        Test::LessOrEqual(v) => arg <= v,
        Test::Greater(v) => arg > v,
        Test::GreaterOrEqual(v) => arg >= v,
        Test::MaskedEqual { mask, value } => arg & mask == value,
    }
}

/// The rules of one architecture that is listed, read plainly.
struct Plain<'a> {
    rules: &'a Rules,
    numbered: Vec<(u32, &'a rules::Rule)>,
    newest: Option<u32>,
}

impl<'a> Plain<'a> {
    fn new(rules: &'a Rules, arch: Arch) -> Self {
        let numbered = rules.list.iter().filter_map(|r| Some((arch.number(r.call)?, r))).collect();
        let newest = rules.named.iter().filter_map(|call| arch.number(*call)).max();
        Self { rules, numbered, newest }
    }

    fn answer(&self, call: Call) -> u32 {
        let of_call = || self.numbered.iter().filter(|(n, _)| *n == call.number).map(|(_, rule)| rule);
        let conditions = |r: &rules::Rule| r.conditions.of(&self.rules.conditions);
        let meets = |r: &&&rules::Rule| {
            conditions(r).iter().all(|c| holds(c.test, call.args[usize::from(c.argument)]))
        };
        let refuses = ![LinuxSeccompAction::ScmpActAllow, LinuxSeccompAction::ScmpActLog]
            .contains(&self.rules.default_action);
        let says_nothing = |c: &rules::Condition| matches!(c.test, Test::MaskedEqual { mask: 0, .. });
        let always = of_call().find(|r| conditions(r).iter().all(says_nothing));
        match always.or_else(|| of_call().find(meets)) {
            Some(rule) => rule.answer,
            None if refuses && self.newest.is_some_and(|n| call.number > n) => errno(libc::ENOSYS),
            None => self.rules.default,
        }
    }
}

fn number(arch: Arch, name: &str) -> u32 {
    calls::find(name).and_then(|call| arch.number(call)).unwrap()
}

fn parse(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

fn compiled(value: Value) -> Vec<Instruction> {
    compile(&parse(value), &mut Vec::new()).unwrap().program
}

fn refused(value: Value) -> Vec<String> {
    compile(&parse(value), &mut Vec::new()).unwrap_err().into_iter().map(|p| p.pointer).collect()
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Values around which comparisons turn.
const EDGES: [u64; 10] =
    [0, 1, 7, 40, 0x7e02_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 7, u64::MAX - 1, u64::MAX];

fn random_profile(random: &mut Random) -> Value {
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_LOG",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL",
        "SCMP_ACT_ERRNO",
    ];
    let ops = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
    let syscalls: Vec<Value> = (0..random.below(60))
        .map(|_| {
            let names: Vec<&str> = (0..1 + random.below(8))
                .map(|_| tables::ROWS[usize::try_from(random.below(tables::ROWS.len() as u64)).unwrap()].0)
                .filter(|n| !["socketcall", "ipc"].contains(n))
                .collect();
            let first = random.below(6);
            let args: Vec<Value> = (0..random.below(3))
                .map(|i| {
                    let (op, value) = (format!("SCMP_CMP_{}", random.pick(&ops)), random.pick(&EDGES));
                    json!({"index": (first + i) % 6, "value": value, "valueTwo": value & random.pick(&EDGES), "op": op})
                })
                .collect();
            json!({"names": names, "action": random.pick(&actions), "args": args})
        })
        .collect();
    json!({"defaultAction": random.pick(&actions), "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], "syscalls": syscalls})
}

#[test]
#[cfg(target_arch = "x86_64")]
fn programs_answer_as_the_rules_say() {
    let mut random = Random(42);
    for _ in 0..150 {
        let value = random_profile(&mut random);
        let spec = parse(value.clone());
        let program = compile(&spec, &mut Vec::new()).unwrap().program;
        let (rules, _) = rules::check(&spec, Arch::X86_64, &mut Vec::new()).unwrap();
        for (arch, bit) in [(Arch::X86_64, 0), (Arch::X32, arch::X32_BIT)] {
            let plain = Plain::new(&rules, arch);
            for number in (0..600).chain([0x3fff_ffff]) {
                let args = std::array::from_fn(|_| random.pick(&EDGES));
                let call = Call { audit: arch.audit(), number: number | bit, args };
                assert_eq!(run(&program, call), plain.answer(call), "{call:?} {value}");
            }
        }
    }
}

#[test]
fn long_programs_jump_far() {
    let names: Vec<&str> = tables::ROWS.iter().map(|(n, _)| *n).filter(|n| *n != "socketcall").collect();
    let rule = |(i, name): (usize, &&str)| {
        json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": i % 6, "value": (i as u64) << 20, "op": "SCMP_CMP_GT"}]})
    };
    let syscalls: Vec<Value> = names.iter().enumerate().map(rule).collect();
    let spec = parse(json!({"defaultAction": "SCMP_ACT_TRAP", "syscalls": syscalls}));
    let program = compile(&spec, &mut Vec::new()).unwrap().program;
    assert!(program.len() > 1000, "{}", program.len());
    let native = Arch::native().unwrap();
    let (rules, _) = rules::check(&spec, native, &mut Vec::new()).unwrap();
    let plain = Plain::new(&rules, native);
    for number in 0..500 {
        for arg in [0, 1 << 21, u64::MAX] {
            let call = Call { audit: native.audit(), number, args: [arg; 6] };
            assert_eq!(run(&program, call), plain.answer(call), "{call:?}");
        }
    }
}

#[test]
fn too_long_a_program_is_refused() {
    let rules: Vec<Value> = (0..900)
        .map(|i| {
            json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 1, "value": i, "op": "SCMP_CMP_LE"}]})
        })
        .collect();
    assert_eq!(refused(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})), ["/linux/seccomp"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_profile_of_hundreds_of_names_stays_small() {
    let spec = parse(serde_json::from_str(DEFAULT_PROFILE).unwrap());
    let mut warnings = Vec::new();
    let program = compile(&spec, &mut warnings).unwrap().program;
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(spec.syscalls().iter().flatten().map(|c| c.names().len()).sum::<usize>() > 300);
    assert!(program.len() <= 250, "{}", program.len());
    let answer = |arch: Arch, name: &str, args: [u64; 6]| {
        run(&program, Call { audit: arch.audit(), number: number(arch, name), args })
    };
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        assert_eq!(answer(arch, "read", [0; 6]), ALLOW);
        assert_eq!(answer(arch, "mount", [0; 6]), errno(libc::EPERM));
        assert_eq!(answer(arch, "io_uring_setup", [0; 6]), errno(libc::EPERM));
        assert_eq!(answer(arch, "clone3", [0; 6]), errno(libc::ENOSYS));
        assert_eq!(answer(arch, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), errno(libc::EPERM), "CLONE_NEWUSER");
        assert_eq!(answer(arch, "clone", [17, 0, 0, 0, 0, 0]), ALLOW);
        let (_, last) = arch.range();
        assert_eq!(
            run(&program, Call { audit: arch.audit(), number: last, args: [0; 6] }),
            errno(libc::ENOSYS)
        );
    }
    assert_eq!(
        run(&program, Call { audit: Arch::Aarch64.audit(), number: 0, args: [0; 6] }),
        libc::SECCOMP_RET_KILL_PROCESS
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn x32_is_killed_when_it_is_not_listed() {
    let x32 = |number| Call { audit: Arch::X32.audit(), number, args: [0; 6] };
    for (default, action) in [("ERRNO", "ALLOW"), ("ALLOW", "ERRNO")] {
        let rule = json!([{"names": ["mount"], "action": format!("SCMP_ACT_{action}")}]);
        let program = compiled(json!({"defaultAction": format!("SCMP_ACT_{default}"), "syscalls": rule}));
        for number in [arch::X32_BIT, arch::X32_BIT | 165, u32::MAX - 1] {
            assert_eq!(run(&program, x32(number)), libc::SECCOMP_RET_KILL_PROCESS);
        }
        let skipped = if default == "ALLOW" { ALLOW } else { errno(libc::EPERM) };
        assert_eq!(run(&program, x32(u32::MAX)), skipped, "what a tracer skips is no call of x32");
    }
}

// proves: ENOSYS for newer calls
#[test]
fn a_newer_call_is_unknown_to_every_profile_that_refuses() {
    let native = Arch::native().unwrap();
    let answer = |default: &str| {
        let rule = json!([{"names": ["read", "mseal"], "action": "SCMP_ACT_LOG"}]);
        let program = compiled(json!({"defaultAction": default, "syscalls": rule}));
        let newer = number(native, "mseal") + 1;
        run(&program, Call { audit: native.audit(), number: newer, args: [0; 6] })
    };
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(answer(default), errno(libc::ENOSYS), "{default}");
    }
    assert_eq!(answer("SCMP_ACT_ALLOW"), ALLOW);
    assert_eq!(answer("SCMP_ACT_TRACE"), libc::SECCOMP_RET_TRACE | 1);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn multiplexers_cannot_go_round_a_rule() {
    let socketcall = |program: &[Instruction], call| {
        let number = number(Arch::X86, "socketcall");
        run(program, Call { audit: Arch::X86.audit(), number, args: [call, 0, 0, 0, 0, 0] })
    };
    let arches = ["SCMP_ARCH_X86"];
    let forbid = json!([{"names": ["connect"], "action": "SCMP_ACT_ERRNO"}]);
    let program =
        compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": arches, "syscalls": forbid}));
    assert_eq!([1, 3].map(|call| socketcall(&program, call)), [ALLOW, errno(libc::EPERM)]);
    let unix = json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                       "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]);
    let program =
        compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": arches, "syscalls": unix}));
    assert_eq!(socketcall(&program, 1), errno(libc::EPERM), "the domain cannot be seen there");
}

// proves: seccomp actions
#[test]
fn several_rules_for_one_call_mean_what_they_mean_to_libseccomp() {
    let native = Arch::native().unwrap();
    let answer = |rules: Value, arg: u64| {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_TRAP", "syscalls": rules}));
        let number = number(native, "socket");
        run(&program, Call { audit: native.audit(), number, args: [arg, 0, 0, 0, 0, 0] })
    };
    let always = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW"});
    let on_40 = |action: &str| json!({"names": ["socket"], "action": action, "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]});
    assert_eq!(answer(json!([on_40("SCMP_ACT_ERRNO"), always]), 40), ALLOW);
    assert_eq!(answer(json!([always, on_40("SCMP_ACT_ERRNO")]), 40), ALLOW);
    assert_eq!(answer(json!([on_40("SCMP_ACT_ERRNO"), on_40("SCMP_ACT_ALLOW")]), 40), errno(libc::EPERM));
    assert_eq!(answer(json!([on_40("SCMP_ACT_ALLOW")]), 41), libc::SECCOMP_RET_TRAP);
}

// proves: seccomp actions
#[test]
fn a_mask_is_applied_to_both_sides_and_one_of_zero_is_no_condition() {
    let native = Arch::native().unwrap();
    let answer = |rules: Value, arg: u64| {
        let program = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        let number = number(native, "socket");
        run(&program, Call { audit: native.audit(), number, args: [arg, 0, 0, 0, 0, 0] })
    };
    let masked = |action: &str, mask: u64, value: u64| {
        json!({"names": ["socket"], "action": action,
               "args": [{"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]})
    };
    assert_eq!(answer(json!([masked("SCMP_ACT_TRAP", 3, 7)]), 3), libc::SECCOMP_RET_TRAP);
    let always = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO"});
    assert_eq!(answer(json!([masked("SCMP_ACT_TRAP", 0, 7), always]), 9), libc::SECCOMP_RET_TRAP);
    assert_eq!(answer(json!([masked("SCMP_ACT_TRAP", 1, 1), always]), 9), errno(libc::EPERM));
}

#[test]
fn mistakes_have_their_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
    for (config, place) in [
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "defaultAction"),
        (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}), "defaultErrnoRet"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "defaultErrnoRet"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}), "listenerMetadata"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})), "listenerPath"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1})), "syscalls/0/errnoRet"),
        (
            rule(
                json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}),
            ),
            "syscalls/0/args/0/index",
        ),
    ] {
        assert_eq!(refused(config), [format!("/linux/seccomp/{place}")]);
    }
}

#[test]
fn unknown_names_are_skipped_with_a_warning() {
    let spec = parse(
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]}),
    );
    let mut warnings = Vec::new();
    compile(&spec, &mut warnings).unwrap();
    let places: Vec<_> = warnings.iter().map(|w| w.pointer.as_str()).collect();
    assert_eq!(places, ["/linux/seccomp/syscalls/0/names/1"]);
}

// proves: seccomp actions
#[test]
fn flags_and_listener() {
    let spec = parse(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x", "listenerMetadata": "m",
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}));
    let filter = compile(&spec, &mut Vec::new()).unwrap();
    assert_eq!(filter.flags, 1 | 2 | 32 | 16);
    assert_eq!(filter.listener, Some(Listener { path: "/run/x".into(), metadata: "m".into() }));
}

/// The kernel takes the program, and does what it says.
#[test]
fn the_kernel_agrees() {
    let spec = parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
         "args": [{"index": 1, "value": 12345, "op": "SCMP_CMP_EQ"}]}]}));
    let filter = compile(&spec, &mut Vec::new()).unwrap();
    // A thread of its own: the filter stays for its life.
    let errno = std::thread::spawn(move || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        assert!(crate::sys::seccomp::load(&filter).unwrap().is_none());
        crate::sys::seccomp::tests::getpriority(12345)
    })
    .join()
    .unwrap();
    assert_eq!(errno, 77);
}
