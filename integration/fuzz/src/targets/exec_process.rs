//! What `exec` executes: a process file merged with the container's own process,
//! or flags put into it. What is accepted can be executed, and has no capability
//! that neither the file nor the flags nor the container's process asked for.

use crate::choices::Choices;
use crate::{check, edits};
use serde_json::{Value, json};
use sextant_runtime::exec::process::{Changes, Source, plan};
use sextant_runtime::plan::{Capabilities, Host, Plan, default_spec};
use std::path::PathBuf;
use std::sync::OnceLock;

pub(super) fn target(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    if first & 1 == 0 || *first == b'{' { from_file(input) } else { from_flags(&mut Choices::of(rest)) }
}

/// The container's reduced config, and the plan of its own process.
fn container() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let mut spec = serde_json::to_value(default_spec()).expect("a spec is JSON");
        spec["process"]["noNewPrivileges"] = json!(true);
        let bundle = sextant_runtime::bundle::Bundle::parse("/bundle".as_ref(), spec.to_string().as_bytes());
        sextant_runtime::plan::plan(&bundle.expect("sound"), "fuzz", &Host::sample()).expect("sound")
    })
}

fn from_file(input: &[u8]) {
    let text = edits::config(input, |_| container().exec["process"].clone());
    let file = file();
    std::fs::write(&file, &text).expect("a private file");
    let raw: Value = serde_json::from_slice(&text).unwrap_or_default();
    match plan(container().exec.clone(), &Source::File(&file), "fuzz") {
        Ok(exec) => {
            check::process(&exec.process);
            let named = raw.get("capabilities").is_some_and(|c| !c.is_null());
            if !named {
                // As the container's own process has them.
                let own = container().process.capabilities;
                assert!(within(exec.process.capabilities, own), "{:?}", exec.process.capabilities);
            }
        }
        Err(failure) => {
            assert!(!failure.attempted.is_empty() && !failure.because.is_empty(), "{failure:?}");
            let known = raw.is_object();
            // A mistake may be in what the container's process gives to the file's.
            assert!(!known || failure.pointer.is_empty() || failure.pointer.starts_with('/'), "{failure:?}");
        }
    }
}

fn within(some: Capabilities, all: Capabilities) -> bool {
    let pairs = [
        (some.bounding, all.bounding),
        (some.effective, all.effective),
        (some.inheritable, all.inheritable),
        (some.permitted, all.permitted),
        (some.ambient, all.ambient),
    ];
    pairs.iter().all(|(some, all)| some & !all == 0)
}

/// One file a process, in memory where the system has such a place.
fn file() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let dirs = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let dir = dirs.into_iter().find(|dir| dir.is_dir()).expect("a place for files");
        dir.join(format!("sextant-fuzz-{}-{:?}.json", std::process::id(), std::thread::current().id()))
    };
    FILE.get_or_init(make).clone()
}

fn from_flags(choices: &mut Choices<'_>) {
    let texts = |choices: &mut Choices<'_>| (0..choices.below(4)).map(|_| choices.text()).collect::<Vec<_>>();
    let some = |choices: &mut Choices<'_>| choices.once_in(3).then(|| choices.text());
    let changes = Changes {
        args: texts(choices),
        cwd: some(choices),
        env: texts(choices),
        terminal: choices.once_in(2),
        user: choices.once_in(2).then(|| (choices.number() as u32, choices.once_in(2).then_some(7))),
        groups: (0..choices.below(3)).map(|_| choices.number() as u32).collect(),
        label: some(choices),
        apparmor: some(choices),
        no_new_privileges: choices.once_in(2),
        capabilities: (0..choices.below(3))
            .map(|_| choices.pick(&["CAP_SYS_ADMIN", "CAP_X", "CAP_BPF"]).into())
            .collect(),
        console_size: choices.once_in(4).then_some((24, 80)),
    };
    let own = &container().process;
    match plan(container().exec.clone(), &Source::Flags(&changes), "fuzz") {
        Ok(exec) => {
            let process = &exec.process;
            check::process(process);
            assert_eq!(process.args.len(), changes.args.len());
            assert!(process.no_new_privileges, "the container's own process must not gain any");
            assert_eq!(process.uid, changes.user.map_or(own.uid, |(uid, _)| uid));
            assert_eq!(process.capabilities.inheritable & !own.capabilities.inheritable, 0);
            assert_eq!(process.capabilities.ambient & !own.capabilities.ambient, 0);
            let bpf = 1 << 39;
            let asked = changes.capabilities.iter().any(|c| c == "CAP_BPF");
            assert_eq!(
                process.capabilities.effective & bpf != 0,
                asked || own.capabilities.effective & bpf != 0
            );
        }
        Err(failure) => assert!(!failure.because.is_empty(), "{failure:?}"),
    }
}
