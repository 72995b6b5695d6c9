//! Bundles: reading what a container will be from one, and making one from a
//! root directory and a command, with namespaces of its own or of others
//! ([`Entries`]). Both end in the same check, the runtime's own
//! planner, so that a mistake is found before there is a shim.

use crate::engine::error::{Error, Violation};
use crate::model::{Access, BindMount, IdRange, Limits, RootfsSource};
use crate::placement::{Entries, Entry, KINDS};
use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxCpu, LinuxMemory, LinuxNamespaceType, LinuxPids,
    LinuxResources, Mount, Process, Root, Spec,
};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::contract::report::Failure;
use sextant_runtime::plan::{self, NamespaceKind, Problem, default::isolated_spec, host::Host};
use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the manager shows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The root directory.
    pub rootfs: PathBuf,
    /// argv.
    pub command: Vec<String>,
    /// Host name inside; empty where it has none of its own.
    pub hostname: String,
    /// Whether its process has a terminal.
    pub terminal: bool,
}

/// Where a program without a slash is looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The shortest period that gives quotas of whole thousandths, in microseconds.
const PERIOD: u64 = 100_000;

/// The cgroup, in every hierarchy, below which each container of a made bundle has its own.
const CGROUP: &str = "/sextant";

/// Removes that cgroup where it is empty, so that nothing stays when the last
/// container has gone. A cgroup with something in it is `EBUSY`, and stays; a
/// creation that meets the removal makes it anew.
pub fn remove_empty_cgroup() {
    let root = Path::new("/sys/fs/cgroup");
    let name = CGROUP.trim_start_matches('/');
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        // In use, or never made in this hierarchy: either way there is nothing to do.
        std::fs::remove_dir(hierarchy.join(name)).ok();
    }
}

/// What a container's root may do in its own user namespace: what package
/// managers and servers take for granted, without mknod(2) and raw sockets.
const CAPABILITIES: [Capability; 12] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Reads a bundle and plans it as the runtime will.
///
/// # Errors
/// [`Error::Refused`] with all mistakes; the fields are JSON pointers.
pub fn check(bundle: &Path, id: &str) -> Result<Facts, Error> {
    let refused = |violations| Error::Refused { attempted: format!("create container {id:?}"), violations };
    let bundle = Bundle::load(bundle).map_err(|failure| refused(vec![unreadable(&failure)]))?;
    let plan = plan::plan(&bundle, id, &Host::probe())
        .map_err(|problems| refused(problems.into_iter().map(violation).collect()))?;
    Ok(Facts {
        bundle: plan.bundle,
        rootfs: plan.rootfs.path,
        command: plan.process.args.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        terminal: plan.process.terminal,
        hostname: plan.hostname.unwrap_or_default(),
    })
}

fn violation(problem: Problem) -> Violation {
    Violation { field: problem.pointer, message: problem.message, hint: problem.hint }
}

fn unreadable(failure: &Failure) -> Violation {
    let field = if failure.pointer.is_empty() { "bundle" } else { &failure.pointer };
    let without_place = Failure { pointer: String::new(), hint: String::new(), ..failure.clone() };
    Violation { field: field.into(), message: without_place.to_string(), hint: failure.hint.clone() }
}

/// Makes a bundle with a cgroup and namespaces of its own, but for those that `entries` name
/// otherwise; `ids` are those of its user namespace, if it is not the host's.
///
/// # Errors
/// [`Error::Io`].
pub fn make(
    bundle: &Path,
    id: &str,
    source: &RootfsSource,
    ids: Option<IdRange>,
    entries: &Entries,
    terminal: bool,
) -> Result<(), Error> {
    let path = bundle.join("config.json");
    let attempted = || Error::io(format!("write {}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(bundle).map_err(attempted())?;
    let mut spec = spec(id, source, ids, entries);
    if let Some(process) = spec.process_mut() {
        process.set_terminal(Some(terminal));
    }
    let bytes = serde_json::to_vec_pretty(&spec).map_err(|e| attempted()(e.into()))?;
    std::fs::write(&path, bytes).map_err(attempted())
}

fn spec(id: &str, source: &RootfsSource, ids: Option<IdRange>, entries: &Entries) -> Spec {
    // Without a user namespace there is no mapping, and every id is there.
    let ids = ids.unwrap_or(IdRange { host_id: 0, size: u32::MAX });
    let mut spec = isolated_spec(ids.host_id, ids.size);
    let mut root = Root::default();
    root.set_path(source.rootfs.clone()).set_readonly(Some(source.access == Access::ReadOnly));
    let hostname = if source.hostname.is_empty() { id } else { &source.hostname };
    let named = entries.get(NamespaceKind::Uts) == Entry::New;
    spec.set_root(Some(root)).set_hostname(named.then(|| hostname.to_owned()));
    if entries.get(NamespaceKind::User) != Entry::Host {
        // Many containers may share the directory: its files keep their owners inside.
        spec.set_annotations(Some(HashMap::from([("dev.sextant.rootfs.idmap".into(), "true".into())])));
    }
    if let Some(process) = spec.process_mut() {
        fill(process, source);
    }
    let mut mounts = shown(spec.mounts().clone().unwrap_or_default(), entries);
    mounts.extend(source.mounts.iter().map(bind));
    spec.set_mounts(Some(mounts));
    if let Some(linux) = spec.linux_mut() {
        let resources = linux.resources().clone().unwrap_or_default();
        linux.set_resources(Some(limited(resources, &source.limits)));
        linux.set_cgroups_path(Some(Path::new(CGROUP).join(id)));
        enter(linux, entries);
    }
    spec
}

/// Names whose namespaces it is in.
fn enter(linux: &mut Linux, entries: &Entries) {
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    for kind in KINDS {
        let typ = match kind {
            NamespaceKind::User => LinuxNamespaceType::User,
            NamespaceKind::Pid => LinuxNamespaceType::Pid,
            NamespaceKind::Network => LinuxNamespaceType::Network,
            NamespaceKind::Uts => LinuxNamespaceType::Uts,
            NamespaceKind::Ipc => LinuxNamespaceType::Ipc,
            NamespaceKind::Mount | NamespaceKind::Cgroup | NamespaceKind::Time => continue,
        };
        match entries.get(kind) {
            Entry::New => {}
            Entry::Host => namespaces.retain(|ns| ns.typ() != typ),
            Entry::Join(path) => {
                for ns in namespaces.iter_mut().filter(|ns| ns.typ() == typ) {
                    ns.set_path(Some(path.clone()));
                }
            }
        }
    }
    linux.set_namespaces(Some(namespaces));
    if entries.get(NamespaceKind::User) != Entry::New {
        // The one that is joined has its own mappings, the host needs none.
        linux.set_uid_mappings(None).set_gid_mappings(None);
    }
}

/// The file systems that show a namespace: each can be mounted by who has rights over it only.
fn shown(mut mounts: Vec<Mount>, entries: &Entries) -> Vec<Mount> {
    let bound = |mount: &mut Mount, source: &Path, options: &[&str]| {
        mount
            .set_typ(Some("bind".into()))
            .set_source(Some(source.into()))
            .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    };
    if entries.no_mqueue {
        mounts.retain(|mount| mount.typ().as_deref() != Some("mqueue"));
    }
    for mount in &mut mounts {
        match mount.destination().to_str() {
            // Without what is mounted below it on the host.
            Some("/sys") if entries.host_sysfs => {
                bound(mount, Path::new("/sys"), &["bind", "ro", "nosuid", "noexec", "nodev"]);
            }
            Some("/dev/shm") => {
                if let Some(shm) = &entries.shm {
                    bound(mount, shm, &["bind", "rw", "nosuid", "noexec", "nodev"]);
                }
            }
            _ => {}
        }
    }
    mounts
}

fn fill(process: &mut Process, source: &RootfsSource) {
    let mut env = source.env.clone();
    if !env.iter().any(|pair| pair.starts_with("PATH=")) {
        env.insert(0, PATH.into());
    }
    let cwd = if source.cwd.is_empty() { "/" } else { &source.cwd };
    let names: Capabilities = CAPABILITIES.into_iter().collect();
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(names.clone()))
        .set_effective(Some(names.clone()))
        .set_permitted(Some(names))
        .set_inheritable(None)
        .set_ambient(None);
    process
        .set_args(Some(source.command.clone()))
        .set_env(Some(env))
        .set_cwd(cwd.into())
        .set_capabilities(Some(capabilities));
}

fn bind(from: &BindMount) -> Mount {
    let access = if from.access == Access::ReadOnly { "ro" } else { "rw" };
    let mut mount = Mount::default();
    mount
        .set_destination(from.destination.clone())
        .set_typ(Some("bind".into()))
        .set_source(Some(from.source.clone()))
        .set_options(Some(["rbind", "rprivate", access].map(str::to_owned).into()));
    mount
}

fn limited(mut resources: LinuxResources, limits: &Limits) -> LinuxResources {
    if let Some(bytes) = limits.memory_bytes {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(bytes));
        resources.set_memory(Some(memory));
    }
    if let Some(millis) = limits.cpu_millis {
        let mut cpu = LinuxCpu::default();
        // PERIOD / 1000 microseconds for each thousandth.
        cpu.set_period(Some(PERIOD)).set_quota(Some(millis.saturating_mul(100)));
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = limits.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn source(rootfs: &Path) -> RootfsSource {
        RootfsSource {
            rootfs: rootfs.into(),
            command: vec!["/bin/true".into(), "x".into()],
            env: vec!["A=b".into()],
            cwd: String::new(),
            hostname: String::new(),
            limits: Limits { memory_bytes: Some(1 << 20), cpu_millis: Some(500), pids: Some(7) },
            access: Access::ReadOnly,
            mounts: vec![BindMount {
                source: "/usr".into(),
                destination: "/mnt".into(),
                access: Access::ReadOnly,
            }],
        }
    }

    #[test]
    fn a_made_bundle_says_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let ids = IdRange { host_id: 0x7000_0000, size: 65536 };
        make(&dir.path().join("bundle"), "c1", &source(dir.path()), Some(ids), &Entries::default(), true)
            .unwrap();
        let config: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("bundle/config.json")).unwrap()).unwrap();
        let mut kinds: Vec<_> =
            config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        kinds.sort_by_key(|k| k.to_string());
        assert_eq!(kinds, ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]);
        let mapping = json!([{ "containerID": 0, "hostID": 0x7000_0000, "size": 65536 }]);
        assert_eq!((&config["linux"]["uidMappings"], &config["linux"]["gidMappings"]), (&mapping, &mapping));
        assert_eq!(config["root"], json!({ "path": dir.path(), "readonly": true }));
        assert_eq!(config["process"]["env"], json!([PATH, "A=b"]));
        assert_eq!((&config["process"]["cwd"], &config["process"]["terminal"]), (&json!("/"), &json!(true)));
        assert_eq!(config["hostname"], "c1");
        assert_eq!(config["linux"]["cgroupsPath"], "/sextant/c1");
        let resources = &config["linux"]["resources"];
        assert_eq!(resources["memory"]["limit"], 1 << 20);
        assert_eq!(resources["cpu"], json!({ "quota": 50_000, "period": 100_000 }));
        assert_eq!(resources["pids"]["limit"], 7);
        assert_eq!(resources["devices"][0]["allow"], false);
        let last = config["mounts"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["destination"], &last["options"][2]), (&json!("/mnt"), &json!("ro")));
    }

    #[test]
    fn namespaces_of_others_are_joined_by_file_or_left_out() {
        let mut entries = Entries::default();
        (entries.shm, entries.no_mqueue, entries.host_sysfs) = (Some("/pins/shm".into()), true, true);
        entries.set(NamespaceKind::User, Entry::Join("/pins/user".into()));
        entries.set(NamespaceKind::Uts, Entry::Join("/pins/uts".into()));
        entries.set(NamespaceKind::Network, Entry::Host);
        let ids = IdRange { host_id: 0x7000_0000, size: 65536 };
        let config = serde_json::to_value(spec("c1", &source(Path::new("/r")), Some(ids), &entries)).unwrap();
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        let of = |kind: &str| namespaces.iter().find(|n| n["type"] == kind);
        assert_eq!(of("user").unwrap()["path"], "/pins/user");
        assert_eq!(of("uts").unwrap()["path"], "/pins/uts");
        assert!(of("network").is_none() && of("ipc").unwrap().get("path").is_none());
        assert!(config["linux"].get("uidMappings").is_none() && config.get("hostname").is_none());
        let mounts = config["mounts"].as_array().unwrap();
        let at = |place: &str| mounts.iter().find(|m| m["destination"] == place);
        assert!(at("/dev/mqueue").is_none());
        assert_eq!(at("/dev/shm").unwrap()["source"], "/pins/shm");
        assert_eq!(
            (&at("/sys").unwrap()["type"], &at("/sys").unwrap()["source"]),
            (&json!("bind"), &json!("/sys"))
        );
    }

    #[test]
    fn without_a_user_namespace_no_id_is_mapped() {
        let mut entries = Entries::default();
        entries.set(NamespaceKind::User, Entry::Host);
        let config = serde_json::to_value(spec("c1", &source(Path::new("/r")), None, &entries)).unwrap();
        assert!(config["linux"].get("uidMappings").is_none() && config["linux"].get("gidMappings").is_none());
        assert!(config["annotations"].get("dev.sextant.rootfs.idmap").is_none(), "{}", config["annotations"]);
    }

    #[test]
    fn a_bundle_is_refused_with_pointers() {
        let dir = tempfile::tempdir().unwrap();
        let fields = |bundle: &Path| match check(bundle, "c1") {
            Err(Error::Refused { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
            other => vec![format!("{other:?}")],
        };
        assert_eq!(fields(&dir.path().join("nowhere")), ["bundle"]);
        let ids = IdRange { host_id: 1 << 30, size: 10 };
        let mut spec = spec("c1", &source(dir.path()), Some(ids), &Entries::default());
        spec.process_mut().as_mut().unwrap().set_args(Some(vec![])).set_cwd("here".into());
        std::fs::write(dir.path().join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        let fields: Vec<String> = fields(dir.path());
        for pointer in ["/process/args", "/process/cwd"] {
            assert!(fields.contains(&pointer.to_owned()), "{pointer} is not in {fields:?}");
        }
    }
}
