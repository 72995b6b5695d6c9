//! A plan for people: its steps in the order of the work, each with the name
//! of its stage in a report ([`crate::contract::report`]), then the warnings.

use super::{Attributes, Hook, IdMapping, Mount, MountKind, Namespace, NamespaceKind, Plan, capabilities};
use crate::contract::report::{Stage, StageKind};
use serde_json::{Value, json};
use std::fmt::Write;

/// One step.
struct Step {
    stage: Stage,
    does: String,
    pointer: String,
}

/// The plan as JSON: `{"id", "bundle", "steps": [{"stage", "does", "pointer"}], "warnings": [...]}`.
pub fn explain(plan: &Plan) -> Value {
    let step = |s: &Step| json!({ "stage": s.stage, "does": s.does, "pointer": s.pointer });
    let warning = |w: &super::Problem| json!({ "pointer": w.pointer, "message": w.message, "hint": w.hint });
    json!({
        "ociVersion": plan.oci_version,
        "id": plan.id,
        "bundle": plan.bundle,
        "steps": steps(plan).iter().map(step).collect::<Vec<_>>(),
        "warnings": plan.warnings.iter().map(warning).collect::<Vec<_>>(),
    })
}

/// The plan as lines: stage and what it does; then the warnings.
pub fn text(plan: &Plan) -> String {
    let steps = steps(plan);
    let width = steps.iter().map(|s| s.stage.to_string().len()).max().unwrap_or_default();
    let mut text = String::new();
    for step in &steps {
        append(&mut text, format_args!("{:width$}  {}\n", step.stage.to_string(), step.does));
    }
    for warning in &plan.warnings {
        append(&mut text, format_args!("warning: {warning}\n"));
    }
    text
}

/// Writing to a string cannot fail; if it did, the rest is still worth having.
fn append(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).unwrap_or_default();
}

/// The steps under construction.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn add(&mut self, stage: impl Into<Stage>, does: impl Into<String>, pointer: impl Into<String>) {
        self.0.push(Step { stage: stage.into(), does: does.into(), pointer: pointer.into() });
    }

    fn hooks(&mut self, kind: StageKind, hooks: &[Hook]) {
        for (index, hook) in hooks.iter().enumerate() {
            let limit = hook.timeout.map(|s| format!(", for {s} s at most")).unwrap_or_default();
            self.add(Stage::nth(kind, index), format!("run {}{limit}", hook.path.display()), &hook.pointer);
        }
    }
}

fn steps(plan: &Plan) -> Vec<Step> {
    let mut steps = Steps::default();
    join_and_clone(plan, &mut steps);
    set_up_namespaces(plan, &mut steps);
    if !matches!(plan.namespaces.mount, Namespace::Join { .. }) {
        set_up_root(plan, &mut steps);
    }
    set_up_process(plan, &mut steps);
    steps.0
}

fn join_and_clone(plan: &Plan, steps: &mut Steps) {
    for kind in NamespaceKind::ALL {
        if let Namespace::Join { path, pointer } = plan.namespaces.get(kind) {
            let does = format!("open {} as {} namespace to join", path.display(), kind.name());
            steps.add(StageKind::NamespaceOpen, does, pointer);
        }
    }
    if let Some(unit) = &plan.cgroup.unit {
        let does = format!("start the systemd unit {} in {}", unit.unit.name, unit.slice);
        steps.add(StageKind::Cgroup, does, "/linux/cgroupsPath");
    }
    for directory in &plan.cgroup.directories {
        let path = directory.mount.join(&directory.path);
        steps.add(StageKind::Cgroup, format!("make {}", path.display()), "/linux/cgroupsPath");
    }
    for setting in &plan.cgroup.settings {
        let does = format!("set {} ({})", setting.what, setting.file);
        steps.add(StageKind::Cgroup, does, &setting.pointer);
    }
    if let Some(rdt) = &plan.intel_rdt {
        steps.add(StageKind::IntelRdt, format!("use the group {} of resctrl", rdt.group), "/linux/intelRdt");
    }
    let created: Vec<&str> = NamespaceKind::ALL
        .iter()
        .filter(|kind| *plan.namespaces.get(**kind) == Namespace::Create)
        .map(|kind| kind.name())
        .collect();
    steps.add(StageKind::Clone, format!("clone into new namespaces: {}", created.join(" ")), NAMESPACES);
    if plan.namespaces.user == Namespace::Create {
        let (uid, gid) = (map(&plan.namespaces.uid_mappings), map(&plan.namespaces.gid_mappings));
        steps.add(StageKind::IdMap, format!("map user ids {uid}"), "/linux/uidMappings");
        steps.add(StageKind::IdMap, format!("map group ids {gid}"), "/linux/gidMappings");
    }
    if let Some(score) = plan.process.oom_score_adj {
        steps.add(StageKind::OomScore, format!("set oom_score_adj to {score}"), "/process/oomScoreAdj");
    }
    for limit in &plan.process.rlimits {
        let does = format!("limit {} to {}, hard {}", limit.name, bound(limit.soft), bound(limit.hard));
        let pointer = format!("/process/rlimits/{}", limit.index);
        steps.add(Stage::nth(StageKind::Rlimit, limit.index), does, pointer);
    }
}

const NAMESPACES: &str = "/linux/namespaces";

fn set_up_namespaces(plan: &Plan, steps: &mut Steps) {
    if plan.namespaces.user == Namespace::Create {
        steps.add(StageKind::NamespaceUser, "become root of the user namespace", NAMESPACES);
    }
    if plan.namespaces.network == Namespace::Create {
        steps.add(StageKind::NamespaceNetwork, "set lo up", NAMESPACES);
    }
    for (index, device) in plan.net_devices.iter().enumerate() {
        let does = format!("move the interface {} into the container as {}", device.host, device.name);
        steps.add(Stage::nth(StageKind::NetDevice, index), does, &device.pointer);
    }
    for (name, what, pointer) in
        [(&plan.hostname, "host", "/hostname"), (&plan.domainname, "domain", "/domainname")]
    {
        if let Some(name) = name {
            steps.add(StageKind::NamespaceUts, format!("set the {what} name to {name}"), pointer);
        }
    }
    for (clock, seconds, nanoseconds) in &plan.namespaces.time_offsets {
        let does = format!("shift {clock} by {seconds} s and {nanoseconds} ns");
        steps.add(StageKind::NamespaceTime, does, format!("/linux/timeOffsets/{clock}"));
    }
}

fn set_up_root(plan: &Plan, steps: &mut Steps) {
    let root = &plan.rootfs;
    let propagation = root.propagation.map_or_else(
        || "take mounts of the host in, let none out".to_owned(),
        |(kind, depth)| format!("propagation of the root: {kind:?}, {depth:?}"),
    );
    steps.add(StageKind::NamespaceMount, propagation, "/linux/rootfsPropagation");
    let idmapped = if root.idmapped { ", id-mapped" } else { "" };
    steps.add(StageKind::Rootfs, format!("take {}{idmapped} as root", root.path.display()), "/root/path");
    for mount in &plan.mounts {
        let pointer = format!("/mounts/{}", mount.index);
        steps.add(Stage::nth(StageKind::Mount, mount.index), describe(mount), pointer);
    }
    for (index, device) in plan.devices.iter().enumerate() {
        let does = format!(
            "make {} ({:?} {}:{}, mode {:04o}, owner {}:{})",
            device.path.display(),
            device.kind,
            device.major,
            device.minor,
            device.mode,
            device.uid,
            device.gid
        );
        let pointer = device.index.map(|i| format!("/linux/devices/{i}")).unwrap_or_default();
        steps.add(Stage::nth(StageKind::Device, index), does, pointer);
    }
    steps.add(StageKind::DevLinks, "make the links in /dev and /dev/ptmx", "");
    if plan.process.terminal {
        steps.add(StageKind::Console, "make a terminal", "/process/terminal");
    }
    steps_before_pivot(plan, steps);
    steps.add(StageKind::Pivot, "make the root /, detach the host's", "");
    if root.readonly {
        steps.add(StageKind::ReadonlyRootfs, "make the root read-only", "/root/readonly");
    }
}

fn steps_before_pivot(plan: &Plan, steps: &mut Steps) {
    for (index, sysctl) in plan.sysctls.iter().enumerate() {
        let pointer = format!("/linux/sysctl/{}", crate::bundle::escape(&sysctl.key));
        steps.add(
            Stage::nth(StageKind::Sysctl, index),
            format!("set {} to {:?}", sysctl.key, sysctl.value),
            pointer,
        );
    }
    steps.hooks(StageKind::HookPrestart, &plan.hooks.prestart);
    steps.hooks(StageKind::HookCreateRuntime, &plan.hooks.create_runtime);
    steps.hooks(StageKind::HookCreateContainer, &plan.hooks.create_container);
    for path in &plan.readonly {
        let pointer = format!("/linux/readonlyPaths/{}", path.index);
        let does = format!("make {} read-only", path.path.display());
        steps.add(Stage::nth(StageKind::ReadonlyPath, path.index), does, pointer);
    }
    for path in &plan.masked {
        let pointer = format!("/linux/maskedPaths/{}", path.index);
        let does = format!("hide {}", path.path.display());
        steps.add(Stage::nth(StageKind::MaskedPath, path.index), does, pointer);
    }
}

fn set_up_process(plan: &Plan, steps: &mut Steps) {
    let process = &plan.process;
    attributes(&process.attributes, steps);
    for (label, pointer) in [
        (&process.apparmor_profile, "/process/apparmorProfile"),
        (&process.selinux_label, "/process/selinuxLabel"),
    ] {
        if !label.is_empty() {
            steps.add(StageKind::Lsm, format!("set the label {label}"), pointer);
        }
    }
    steps.add(StageKind::Cwd, format!("enter {}", process.cwd.display()), "/process/cwd");
    let who = format!("become user {}, group {}", process.uid, process.gid);
    steps.add(StageKind::User, format!("{who}, with groups {:?}", process.additional_gids), "/process/user");
    if process.no_new_privileges {
        steps.add(StageKind::NoNewPrivs, "give up gaining privileges", "/process/noNewPrivileges");
    }
    let sets = &process.capabilities;
    for (set, mask) in [
        ("bounding", sets.bounding),
        ("effective", sets.effective),
        ("permitted", sets.permitted),
        ("inheritable", sets.inheritable),
        ("ambient", sets.ambient),
    ] {
        let does = format!("{set}: {}", capabilities::describe(mask));
        steps.add(StageKind::Capabilities, does, format!("/process/capabilities/{set}"));
    }
    steps.add(StageKind::Ready, "wait for start", "");
    steps.hooks(StageKind::HookStartContainer, &plan.hooks.start_container);
    if let Some(filter) = &process.seccomp {
        let does = format!("load a filter of {} instructions", filter.program.len());
        steps.add(StageKind::Seccomp, does, "/linux/seccomp");
    }
    let args: Vec<_> = process.args.iter().map(|arg| arg.to_string_lossy()).collect();
    steps.add(StageKind::Exec, format!("execute {}", args.join(" ")), "/process/args");
    steps.hooks(StageKind::HookPoststart, &plan.hooks.poststart);
    steps.hooks(StageKind::HookPoststop, &plan.hooks.poststop);
}

fn attributes(attributes: &Attributes, steps: &mut Steps) {
    let mut add = |does: String, pointer: &str| steps.add(StageKind::Scheduling, does, pointer);
    if let Some(persona) = attributes.personality {
        add(format!("set the execution domain {persona:#x}"), "/linux/personality");
    }
    if let Some(policy) = &attributes.memory_policy {
        let nodes =
            if policy.nodes.is_empty() { String::new() } else { format!(" with nodes {}", policy.nodes) };
        add(format!("set the memory policy {}{nodes}", policy.name), "/linux/memoryPolicy");
    }
    if let Some(scheduler) = &attributes.scheduler {
        add(format!("set the scheduler {}", scheduler.name), "/process/scheduler");
    }
    if let Some(priority) = &attributes.io_priority {
        add(format!("set the I/O priority {}, {}", priority.name, priority.level), "/process/ioPriority");
    }
}

fn describe(mount: &Mount) -> String {
    let destination = mount.destination.display();
    let what = match &mount.kind {
        MountKind::Bind { source, depth } => format!("bind {} ({depth:?})", source.display()),
        MountKind::Cgroup => "mount the cgroup".to_owned(),
        MountKind::Remount { options } => format!("change what is mounted [{}]", listed(options)),
        MountKind::Fs { fstype, options, .. } => {
            format!("mount {fstype} [{}]", listed(options))
        }
    };
    let mut text = format!("{what} at {destination}");
    for (attrs, which) in [(mount.attrs, "attributes"), (mount.recursive_attrs, "attributes of all below")] {
        if attrs != super::Attrs::default() {
            append(&mut text, format_args!(", {which} +{:#x} -{:#x}", attrs.set, attrs.clear));
        }
    }
    if mount.idmap.is_some() {
        text.push_str(", id-mapped");
    }
    if mount.copy_up {
        text.push_str(", with a copy of what lies there");
    }
    text
}

fn listed(options: &[(String, Option<String>)]) -> String {
    let one = |(key, value): &(String, Option<String>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    options.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn map(mappings: &[IdMapping]) -> String {
    let line = |m: &IdMapping| format!("{}+{} from {}", m.container_id, m.size, m.host_id);
    mappings.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn bound(limit: u64) -> String {
    if limit == u64::MAX { "infinity".into() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;
    use crate::plan::{Host, default_spec, isolated_spec, plan};

    fn planned(spec: &oci_spec::runtime::Spec) -> Plan {
        let bundle = Bundle::parse("/b".as_ref(), &serde_json::to_vec(spec).unwrap()).unwrap();
        plan(&bundle, "x", &Host::sample()).unwrap()
    }

    #[test]
    fn steps_come_in_the_order_of_the_work() {
        let value = explain(&planned(&isolated_spec(100_000, 10)));
        let stages: Vec<&str> =
            value["steps"].as_array().unwrap().iter().map(|s| s["stage"].as_str().unwrap()).collect();
        let order = [
            "clone",
            "id-map",
            "namespace-user",
            "rootfs",
            "mount/0",
            "mount/6",
            "device/0",
            "pivot",
            "ready",
            "exec",
        ];
        let places: Vec<usize> = order
            .iter()
            .map(|o| stages.iter().position(|s| s == o).unwrap_or_else(|| panic!("{o}")))
            .collect();
        assert!(places.is_sorted(), "{stages:?}");
    }

    #[test]
    fn the_text_has_a_line_for_each_step_and_warning() {
        let mut plan = planned(&default_spec());
        plan.warnings.push(crate::plan::Problem {
            pointer: "/x".into(),
            message: "odd".into(),
            hint: String::new(),
        });
        let text = text(&plan);
        assert_eq!(text.lines().count(), steps(&plan).len() + 1);
        assert!(text.contains("\nmount/0 "), "{text}");
        assert!(text.ends_with("warning: /x: odd\n"));
    }
}
