//! The configs that the runtime offers to begin with. [`default_spec`] equals
//! runc's apart from three things: a cgroup namespace of its own, no ambient
//! capabilities (they were never in force, since none is inheritable), and the
//! powercap files masked.

use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, LinuxResources, Mount, PosixRlimitBuilder,
    PosixRlimitType, Process, Root, Spec, User,
};

const NAMESPACES: [LinuxNamespaceType; 6] = [
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Mount,
    LinuxNamespaceType::Cgroup,
];

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The group of terminals in Debian and most others.
const TTY_GID: u32 = 5;

/// `spec`: pid, network, ipc, uts, mount and cgroup namespaces, a read-only
/// root and a shell on a terminal.
pub fn default_spec() -> Spec {
    let mut spec = Spec::default();
    spec.set_version(crate::contract::OCI_VERSION.to_owned());
    let mut root = Root::default();
    root.set_path("rootfs".into());
    root.set_readonly(Some(true));
    spec.set_root(Some(root));
    spec.set_hostname(Some("sextant".to_owned()));
    spec.set_annotations(None);
    spec.set_process(Some(shell()));
    spec.set_mounts(Some(mounts()));
    let mut linux = Linux::default();
    linux.set_resources(Some(no_devices()));
    linux.set_namespaces(Some(NAMESPACES.map(namespace).into()));
    linux.set_masked_paths(Some(owned(&MASKED_PATHS)));
    linux.set_readonly_paths(Some(owned(&READONLY_PATHS)));
    spec.set_linux(Some(linux));
    spec
}

/// `spec --rootless`: for a caller with these ids and no privileges. Root
/// inside is the caller, and the network is the host's.
pub fn rootless_spec(uid: u32, gid: u32) -> Spec {
    let mut spec = default_spec();
    let rootless = |mut mount: Mount| match mount.destination().to_str() {
        Some("/dev/pts") => without_tty_group(mount),
        Some("/sys") => {
            mount.set_typ(Some("none".to_owned()));
            mount.set_source(Some("/sys".into()));
            mount.set_options(Some(owned(&["rbind", "nosuid", "noexec", "nodev", "ro"])));
            mount
        }
        _ => mount,
    };
    spec.set_mounts(Some(mounts().into_iter().map(rootless).collect()));
    let kinds = NAMESPACES.into_iter().filter(|kind| *kind != LinuxNamespaceType::Network);
    let namespaces = kinds.chain([LinuxNamespaceType::User]).map(namespace).collect();
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(None);
        linux.set_namespaces(Some(namespaces));
        linux.set_uid_mappings(Some(vec![mapping(uid, 1)]));
        linux.set_gid_mappings(Some(vec![mapping(gid, 1)]));
    }
    spec
}

/// [`default_spec`] without a terminal and with a user namespace: ids from 0
/// up to `size` inside are those from `uid_base` on outside, for users and groups.
pub fn isolated_spec(uid_base: u32, size: u32) -> Spec {
    let mut spec = default_spec();
    let namespaces = [LinuxNamespaceType::User].into_iter().chain(NAMESPACES).map(namespace).collect();
    if let Some(linux) = spec.linux_mut() {
        linux.set_namespaces(Some(namespaces));
        linux.set_uid_mappings(Some(vec![mapping(uid_base, size)]));
        linux.set_gid_mappings(Some(vec![mapping(uid_base, size)]));
    }
    if let Some(process) = spec.process_mut() {
        process.set_terminal(Some(false));
    }
    if size <= TTY_GID {
        spec.set_mounts(Some(mounts().into_iter().map(without_tty_group).collect()));
    }
    spec
}

fn shell() -> Process {
    let names: Capabilities =
        [Capability::AuditWrite, Capability::Kill, Capability::NetBindService].into_iter().collect();
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(names.clone()))
        .set_effective(Some(names.clone()))
        .set_permitted(Some(names))
        .set_inheritable(None)
        .set_ambient(None);
    let files = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitNofile).soft(1024u64).hard(1024u64);
    let mut process = Process::default();
    process
        .set_terminal(Some(true))
        .set_user(User::default())
        .set_args(Some(owned(&["sh"])))
        .set_env(Some(owned(&[
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ])))
        .set_cwd("/".into())
        .set_capabilities(Some(capabilities))
        .set_rlimits(files.build().ok().map(|files| vec![files]))
        .set_no_new_privileges(Some(true))
        .set_apparmor_profile(None)
        .set_selinux_label(None);
    process
}

fn mounts() -> Vec<Mount> {
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn mount(destination: &str, typ: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(destination.into());
    mount.set_typ(Some(typ.to_owned()));
    mount.set_source(Some(source.into()));
    mount.set_options(if options.is_empty() { None } else { Some(owned(options)) });
    mount
}

/// Where that group is not mapped, devpts cannot be told of it.
fn without_tty_group(mut mount: Mount) -> Mount {
    let options = mount.options().clone();
    mount.set_options(options.map(|list| list.into_iter().filter(|o| !o.starts_with("gid=")).collect()));
    mount
}

fn no_devices() -> LinuxResources {
    let mut all = LinuxDeviceCgroup::default();
    all.set_allow(false);
    all.set_typ(None);
    all.set_access(Some("rwm".to_owned()));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![all]));
    resources
}

fn namespace(kind: LinuxNamespaceType) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind);
    namespace
}

fn mapping(host_id: u32, size: u32) -> LinuxIdMapping {
    // Every field has a default, so this cannot fail; a mapping of size 0 would be refused.
    LinuxIdMappingBuilder::default().host_id(host_id).size(size).build().unwrap_or_default()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;
    use crate::plan::{Host, Namespace, NamespaceKind, plan};

    fn planned(spec: &Spec, host: &Host) -> crate::plan::Plan {
        let bundle = Bundle::parse("/b".as_ref(), &serde_json::to_vec(spec).unwrap()).unwrap();
        let plan = plan(&bundle, "x", host).unwrap();
        assert_eq!(plan.warnings, [], "a spec of our own gives no warning");
        plan
    }

    #[test]
    fn the_default_has_six_namespaces_and_no_user_namespace() {
        let plan = planned(&default_spec(), &Host::sample());
        let created = NamespaceKind::ALL.iter().filter(|k| *plan.namespaces.get(**k) == Namespace::Create);
        assert_eq!(created.count(), 6);
        assert_eq!(plan.namespaces.user, Namespace::Host);
        assert_eq!(plan.process.capabilities.ambient | plan.process.capabilities.inheritable, 0);
    }

    #[test]
    fn the_isolated_one_maps_its_range() {
        let plan = planned(&isolated_spec(100_000, 65_536), &Host::sample());
        assert_eq!(plan.namespaces.user, Namespace::Create);
        assert_eq!(plan.namespaces.uid_mappings[0].host_id, 100_000);
        assert_eq!(plan.namespaces.gid_mappings[0].size, 65_536);
        assert!(!plan.process.terminal);
        planned(&isolated_spec(7, 1), &Host::sample());
    }

    #[test]
    fn the_rootless_one_needs_no_privileges() {
        let host = Host { euid: 1000, egid: 1000, permitted: 0, ..Host::sample() };
        let plan = planned(&rootless_spec(1000, 1000), &host);
        assert_eq!(plan.namespaces.network, Namespace::Host);
    }
}
