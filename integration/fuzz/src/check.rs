//! What holds for every refusal and every accepted plan, whatever the config.

use crate::{bpf, ebpf};
use oci_spec::runtime::Process as Spec;
use serde_json::Value;
use sextant_runtime::cgroup::plan::{CgroupPlan, Setting};
use sextant_runtime::cgroup::{device_program, devices::Devices};
use sextant_runtime::plan::{IdMapping, MountKind, Namespace, Plan, Problem, Process};
use std::ffi::OsStr;
use std::path::{Component, Path};

/// Every problem has a place and a text.
pub fn problems(problems: &[Problem], config: &Value) {
    for problem in problems {
        assert!(!problem.message.is_empty(), "{problem:?}");
        pointer(&problem.pointer, config);
    }
}

/// The place is a JSON pointer, and as far as it exists in the config it goes
/// through objects and lists only, never behind the end of a list.
pub fn pointer(pointer: &str, config: &Value) {
    assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?} is no JSON pointer");
    let mut at = Some(config);
    for token in pointer.split('/').skip(1) {
        let escapes = token.replace("~0", "").replace("~1", "");
        assert!(!escapes.contains('~'), "{pointer:?} has a bad escape");
        let token = token.replace("~1", "/").replace("~0", "~");
        at = match at {
            Some(Value::Array(list)) => {
                let index = token.parse::<usize>().unwrap_or_else(|e| panic!("{pointer:?}: {token:?}: {e}"));
                assert!(index < list.len(), "{pointer:?} leads behind the end of a list of {}", list.len());
                list.get(index)
            }
            Some(Value::Object(map)) => map.get(&token),
            _ => None,
        };
    }
}

/// An absolute path inside the root: nothing in it leads anywhere else.
fn is_inside(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && components.all(|c| matches!(c, Component::Normal(_)))
        && is_clean(path.as_os_str())
        && path.as_os_str().as_encoded_bytes() == rebuilt(path).as_os_str().as_encoded_bytes()
}

/// The path of its components: without double slashes and dots.
fn rebuilt(path: &Path) -> std::path::PathBuf {
    path.components().collect()
}

fn is_clean(text: &OsStr) -> bool {
    !text.as_encoded_bytes().contains(&0)
}

/// What `create` relies on.
pub fn plan(plan: &Plan) {
    assert!(plan.bundle.is_absolute() && plan.rootfs.path.is_absolute());
    assert_ne!(plan.namespaces.mount, Namespace::Host);
    for mount in &plan.mounts {
        mount_place(&mount.destination, &mount.kind);
        assert_eq!(mount.attrs.set & !ATTRS, 0, "{mount:?}");
        assert_eq!(mount.recursive_attrs.set & !ATTRS, 0, "{mount:?}");
        // mount_setattr(2): a time mode is set only when the whole field is cleared.
        for attrs in [mount.attrs, mount.recursive_attrs] {
            assert!(attrs.set & 0x70 == 0 || attrs.clear & 0x70 == 0x70, "{mount:?}");
        }
    }
    for path in plan.masked.iter().chain(&plan.readonly).map(|p| &p.path) {
        assert!(is_inside(path), "{path:?}");
    }
    for device in &plan.devices {
        assert!(is_inside(&device.path) && device.path != Path::new("/dev/ptmx"), "{device:?}");
        assert!(device.mode <= 0o7777 && device.major < 1 << 12 && device.minor < 1 << 20, "{device:?}");
    }
    for sysctl in &plan.sysctls {
        let mut components = sysctl.path.components();
        assert!(components.all(|c| matches!(c, Component::Normal(_))) && is_clean(sysctl.path.as_os_str()));
        assert!(!sysctl.value.contains(['\n', '\0']), "{sysctl:?}");
        assert!(["net", "kernel", "fs"].iter().any(|top| sysctl.path.starts_with(top)), "{sysctl:?}");
    }
    for name in plan.hostname.iter().chain(&plan.domainname) {
        assert!(name.len() <= 64 && !name.contains(['\n', '\0']) && plan.namespaces.uts != Namespace::Host);
    }
    let namespaces = &plan.namespaces;
    for mappings in [&namespaces.uid_mappings, &namespaces.gid_mappings] {
        id_map(mappings);
        assert!(mappings.is_empty() || namespaces.user != Namespace::Host);
        assert!(!mappings.is_empty() || namespaces.user != Namespace::Create);
    }
    if namespaces.user == Namespace::Create {
        assert!(is_mapped(&namespaces.uid_mappings, plan.process.uid));
        assert!(is_mapped(&namespaces.gid_mappings, plan.process.gid));
    }
    process(&plan.process);
    cgroup(&plan.cgroup);
}

/// All `MOUNT_ATTR_*` that options can set: those of linux/mount.h but idmap.
const ATTRS: u64 = 0x0020_00bf;

/// A destination is inside, and fakes neither /proc nor /sys.
fn mount_place(destination: &Path, kind: &MountKind) {
    assert!(is_inside(destination) && destination != Path::new("/"), "{destination:?}");
    let is = |fs: &str, from: &str| match kind {
        MountKind::Fs { fstype, .. } => fstype == fs,
        MountKind::Bind { source, .. } => source == Path::new(from),
        // It changes what an earlier entry has put there.
        MountKind::Remount { .. } => true,
        MountKind::Cgroup => false,
    };
    if destination.starts_with("/proc") {
        let whole = destination == Path::new("/proc") && is("proc", "/proc");
        let file = destination != Path::new("/proc")
            && matches!(kind, MountKind::Bind { .. } | MountKind::Remount { .. });
        assert!(whole || file, "{destination:?} {kind:?}");
    }
    for sensitive in
        ["/proc/self", "/proc/1", "/proc/thread-self", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern"]
    {
        assert!(!destination.starts_with(sensitive), "{destination:?}");
    }
    assert!(destination != Path::new("/sys") || is("sysfs", "/sys"), "{kind:?}");
    match kind {
        MountKind::Bind { source, .. } => assert!(source.is_absolute() && is_clean(source.as_os_str())),
        MountKind::Fs { fstype, source, options } => {
            assert!(!fstype.is_empty() && !fstype.contains('\0') && !source.contains('\0'));
            mount_data(options);
        }
        MountKind::Remount { options } => mount_data(options),
        MountKind::Cgroup => {}
    }
}

/// What a file system is configured with goes over as C strings.
fn mount_data(options: &[(String, Option<String>)]) {
    for (key, value) in options {
        assert!(!key.is_empty() && !key.contains('\0'), "{options:?}");
        assert!(value.as_ref().is_none_or(|v| !v.contains('\0')), "{options:?}");
    }
}

/// Lines that the kernel takes: not too many, none empty, none over another.
pub fn id_map(mappings: &[IdMapping]) {
    assert!(mappings.len() <= 340);
    let range = |first: u32, size: u32| u64::from(first)..u64::from(first) + u64::from(size);
    for (index, line) in mappings.iter().enumerate() {
        assert!(line.size > 0);
        for first in [line.container_id, line.host_id] {
            assert!(range(first, line.size).end <= u64::from(u32::MAX), "{line:?}");
        }
        for other in &mappings[..index] {
            for (a, b) in [(line.container_id, other.container_id), (line.host_id, other.host_id)] {
                let (a, b) = (range(a, line.size), range(b, other.size));
                assert!(a.end <= b.start || b.end <= a.start, "{line:?} {other:?}");
            }
        }
    }
}

fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|m| (m.container_id..m.container_id + m.size).contains(&id))
}

/// A process that can be executed, with sets of capabilities that the kernel takes.
pub fn process(process: &Process) {
    assert!(process.args.first().is_some_and(|program| !program.is_empty()));
    assert!(process.cwd.is_absolute() && is_clean(process.cwd.as_os_str()));
    let mut keys = Vec::new();
    for entry in &process.env {
        let end = entry.as_bytes().iter().position(|b| *b == b'=').expect("KEY=VALUE");
        assert!(end > 0 && !keys.contains(&&entry.as_bytes()[..end]), "{:?}", process.env);
        keys.push(&entry.as_bytes()[..end]);
    }
    for id in [process.uid, process.gid].iter().chain(&process.additional_gids) {
        assert_ne!(*id, u32::MAX);
    }
    let sets = process.capabilities;
    assert_eq!(sets.effective & !sets.permitted, 0, "{sets:?}");
    assert_eq!(sets.inheritable & !sets.bounding, 0, "{sets:?}");
    assert_eq!(sets.ambient & !(sets.permitted & sets.inheritable), 0, "{sets:?}");
    for limit in &process.rlimits {
        assert!(limit.soft <= limit.hard, "{limit:?}");
    }
    if let Some(score) = process.oom_score_adj {
        assert!((-1000..=1000).contains(&score));
    }
    if let Some(filter) = &process.seccomp {
        bpf::check(&filter.program).unwrap();
    }
}

/// A process of a config that was accepted keeps what was asked for.
pub fn same_process(spec: &Spec, process: &Process) {
    assert_eq!(spec.args().as_ref().map(Vec::len), Some(process.args.len()));
    assert_eq!((spec.user().uid(), spec.user().gid()), (process.uid, process.gid));
    assert_eq!(spec.no_new_privileges().unwrap_or(false), process.no_new_privileges);
}

/// Directories stay below their mounts, values go into files of them.
pub fn cgroup(plan: &CgroupPlan) {
    for directory in &plan.directories {
        let mut components = directory.path.components();
        assert!(directory.path.as_os_str() != "" && is_clean(directory.path.as_os_str()), "{directory:?}");
        assert!(components.all(|c| matches!(c, Component::Normal(_))), "{directory:?}");
    }
    settings(&plan.settings, plan.directories.len());
    match &plan.devices {
        Devices::Unenforced => {}
        Devices::Controller(list) => settings(list, plan.directories.len()),
        Devices::Program { directory, rules } => {
            assert!(*directory < plan.directories.len());
            let words = device_program::assemble(rules);
            assert!(words.len() <= 6 + 2 + 8 * rules.len(), "{} for {} rules", words.len(), rules.len());
            ebpf::check(&words).unwrap();
        }
    }
}

/// Each is one write of one line into a file of its directory, which none of the
/// files is that say who is in a cgroup.
pub fn settings(settings: &[Setting], directories: usize) {
    for setting in settings {
        let (file, value) = (&setting.file, &setting.value);
        assert!(setting.directory < directories, "{setting:?}");
        assert!(
            !file.contains(['/', '\0', '\n']) && !file.starts_with('.') && file.contains('.'),
            "{setting:?}"
        );
        assert!(!["cgroup.procs", "tasks", "cgroup.threads", "cgroup.kill"].contains(&file.as_str()));
        assert!(!value.is_empty() && !value.trim_end_matches('\n').contains('\n'), "{setting:?}");
        assert!(setting.pointer.starts_with("/linux/resources"), "{setting:?}");
    }
}
