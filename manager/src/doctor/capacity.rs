//! How many further containers fit, by what each costs ([`super::cost`]) and what is left of each resource:
//! the least of all quotients. Every bound is a check of its own as well.

use super::Facts;
use super::cgroups::Limit;
use super::check::{Check, Level, Subject, set_sysctl};
use super::cost;
use super::limits::Used;
use crate::cli::usage::bytes;

/// Fewer containers than this are worth a remedy.
pub const ENOUGH: u64 = 1000;

/// What is asked of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Containers that the daemon has already.
    pub containers: u64,
    /// Memory that the processes of a container take, in bytes; 0 for next to nothing.
    pub process_bytes: u64,
}

/// What happens to a container too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// It cannot be made: the bound counts.
    Refused,
    /// It is made, and something is slower or not there; or only some containers need it.
    Worse,
}

/// How many containers a resource is enough for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The resource: a sysctl, a limit, memory.
    pub name: String,
    /// Further containers.
    pub containers: u64,
    /// What is left of it, in its unit.
    pub left: u64,
    /// What a container takes of it.
    pub each: u64,
    /// `bytes`, or what is counted.
    pub unit: &'static str,
    /// Where the limit was read.
    pub source: String,
    /// What happens beyond.
    pub beyond: Beyond,
    /// In a sentence.
    pub follows: &'static str,
    /// What raises it.
    pub remedy: String,
    /// The manual page.
    pub basis: &'static str,
}

/// The estimate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Further containers that fit.
    pub containers: u64,
    /// The bounds: those that count first, the narrowest first.
    pub bounds: Vec<Bound>,
}

/// The estimate for a host.
pub fn estimate(facts: &Facts, ask: Ask) -> Capacity {
    let mut bounds = [
        memory(facts, ask),
        tasks(facts),
        files(facts),
        inotify(facts, ask),
        others(facts, ask),
        disk(facts),
    ]
    .concat();
    bounds.retain(|bound| bound.left < 1 << 60);
    bounds.sort_by_key(|bound| (bound.beyond == Beyond::Worse, bound.containers));
    let counting = bounds.iter().filter(|bound| bound.beyond == Beyond::Refused);
    Capacity { containers: counting.map(|bound| bound.containers).min().unwrap_or(u64::MAX), bounds }
}

fn bound(name: impl Into<String>, left: u64, each: u64, unit: &'static str) -> Bound {
    Bound {
        name: name.into(),
        containers: left / each.max(1),
        left,
        each,
        unit,
        source: String::new(),
        beyond: Beyond::Refused,
        follows: "",
        remedy: String::new(),
        basis: "",
    }
}

impl Bound {
    fn read(self, source: impl Into<String>, basis: &'static str) -> Self {
        Self { source: source.into(), basis, ..self }
    }

    fn then(self, beyond: Beyond, follows: &'static str) -> Self {
        Self { beyond, follows, ..self }
    }

    fn mend(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Read in a file below /proc/sys, and raised there to `value`.
    fn sysctl(self, value: u64, basis: &'static str) -> Self {
        let source = format!("/proc/sys/{}", self.name.replace('.', "/"));
        let remedy = set_sysctl(&self.name, value);
        self.read(source, basis).mend(remedy)
    }
}

const NO_MEMORY: &str = "The OOM killer ends processes, of containers first.";
const NO_FORK: &str =
    "fork(2) fails with EAGAIN: creations are refused, and programs in containers cannot fork.";

/// A limit of the daemon's cgroup, which `property` of a unit of systemd sets.
fn of_cgroup(what: &str, limit: &Limit, (each, unit): (u64, &'static str), property: &str) -> Bound {
    let file = limit.file.display().to_string();
    bound(format!("{what} of the cgroup"), limit.max.saturating_sub(limit.used), each, unit)
        .mend(format!(
            "echo max > {file}\n# a unit of systemd: systemctl set-property sextantd {property}=infinity"
        ))
        .read(file, "cgroups(7)")
}

fn memory(facts: &Facts, ask: Ask) -> Vec<Bound> {
    let process = ask.process_bytes.max(cost::PROCESS_BYTES);
    // A user has the runtime alone.
    let ours = if facts.who.privileged() { cost::SHIM_BYTES + cost::DAEMON_BYTES } else { 0 };
    let shim = ours + cost::KERNEL_BYTES;
    // A tenth is left to everything else.
    let left = facts.limits.available / 10 * 9;
    let all = bound("memory", left, shim + process, "bytes")
        .read("/proc/meminfo: nine tenths of MemAvailable", "proc_meminfo(5)")
        .then(Beyond::Refused, NO_MEMORY)
        .mend("free -m   # what takes it; swap or more memory raises it");
    // Shims are in the daemon's cgroup, containers of root beside it, those of a user below the same limits.
    let beside = if facts.who.privileged() { shim } else { shim + process };
    let group = facts.cgroups.memory.as_ref().map(|limit| {
        of_cgroup("memory", limit, (beside, "bytes"), "MemoryMax").then(Beyond::Refused, NO_MEMORY)
    });
    [Some(all), group].into_iter().flatten().collect()
}

fn tasks(facts: &Facts) -> Vec<Bound> {
    let limits = &facts.limits;
    let all = if facts.who.privileged() { cost::TASKS } else { cost::TASKS_OF_CONTAINER };
    let kernel = |name: &str, max: Option<u64>| {
        let left = max?.saturating_sub(limits.threads);
        Some(
            bound(name, left, all, "tasks")
                .sysctl(4_194_304, "proc_sys_kernel(5)")
                .then(Beyond::Refused, NO_FORK),
        )
    };
    let each = if facts.who.privileged() { cost::TASKS_BESIDE_DAEMON } else { cost::TASKS_OF_CONTAINER };
    let group =
        facts.cgroups.pids.as_ref().map(|limit| {
            of_cgroup("pids", limit, (each, "tasks"), "TasksMax").then(Beyond::Refused, NO_FORK)
        });
    // Root is not held to it (fork(2)).
    let user = (!facts.who.privileged()).then(|| {
        bound("RLIMIT_NPROC", limits.nproc.0, cost::TASKS_OF_CONTAINER, "tasks")
            .read("/proc/self/limits", "getrlimit(2)")
            .then(Beyond::Refused, NO_FORK)
            .mend(format!(
                "ulimit -u unlimited\necho '{} - nproc unlimited' >> /etc/security/limits.conf",
                facts.who.user()
            ))
    });
    [kernel("kernel.pid_max", limits.pid_max), kernel("kernel.threads-max", limits.threads_max), group, user]
        .into_iter()
        .flatten()
        .collect()
}

fn files(facts: &Facts) -> Vec<Bound> {
    let limits = &facts.limits;
    // The daemon raises its soft limit to the hard one.
    let used = facts.descriptors.max(cost::DAEMON_DESCRIPTORS_BASE);
    let most = limits.nr_open.unwrap_or(1 << 20);
    let own = bound("RLIMIT_NOFILE", limits.nofile.1.saturating_sub(used), cost::DAEMON_DESCRIPTORS, "descriptors of the daemon")
        .read("/proc/self/limits, the hard limit", "getrlimit(2)")
        .then(Beyond::Refused, "The daemon has no descriptors left: creations fail with EMFILE, and clients wait.")
        .mend(format!(
            "ulimit -n {most}   # before sextantd is started; under systemd:\nmkdir -p /etc/systemd/system/sextantd.service.d\nprintf '[Service]\\nLimitNOFILE={most}\\n' > /etc/systemd/system/sextantd.service.d/files.conf\nsystemctl daemon-reload && systemctl restart sextantd"
        ));
    let all = limits.file_max.map(|files| {
        bound("fs.file-max", files.left(), cost::FILES, "open files")
            .sysctl(9_223_372, "proc_sys_fs(5)")
            .then(
                if facts.who.privileged() { Beyond::Worse } else { Beyond::Refused },
                "Programs in containers fail with ENFILE.",
            )
    });
    [facts.who.privileged().then_some(own), all].into_iter().flatten().collect()
}

fn inotify(facts: &Facts, ask: Ask) -> Vec<Bound> {
    let used =
        |max: u64, each: u64, base: u64| max.saturating_sub(ask.containers.saturating_mul(each) + base);
    let instances = facts.limits.inotify_instances.map(|max| {
        // The owner of a user namespace is charged for what is made in it: all containers share these.
        bound("fs.inotify.max_user_instances", used(max, 0, cost::DAEMON_INOTIFY_INSTANCES), 1, "instances")
            .sysctl(8192, "inotify(7), proc_sys_fs(5)")
            .then(Beyond::Worse, "Programs that wait for files (tail -f, systemd, many servers) fail with EMFILE in the containers beyond: all containers of a user share these.")
    });
    let watches = facts.limits.inotify_watches.filter(|_| facts.who.privileged()).map(|max| {
        bound(
            "fs.inotify.max_user_watches",
            used(max, cost::INOTIFY_WATCHES, 0),
            cost::INOTIFY_WATCHES,
            "watches of the daemon",
        )
        .sysctl(524_288, "inotify(7), proc_sys_fs(5)")
        .then(Beyond::Worse, "Journals of the containers beyond are looked at four times a second.")
    });
    [instances, watches].into_iter().flatten().collect()
}

fn others(facts: &Facts, ask: Ask) -> Vec<Bound> {
    let ids = facts.who.privileged().then(|| {
        bound("id-range", facts.ids.pool_ranges.saturating_sub(ask.containers), 1, "ranges of ids")
            .read("the daemon's setting", "docs/configuration.md")
            .then(
                Beyond::Refused,
                "Containers beyond are refused: no ids are left for their user namespaces.",
            )
            .mend("sextantd --id-range 1879048192:32767x65536   # as far as nobody else has these ids")
    });
    let namespaces = facts.namespaces.fewest().map(|(kind, most)| {
        let name = format!("user.max_{kind}_namespaces");
        bound(name, most.saturating_sub(ask.containers), cost::NAMESPACES, "namespaces")
            .sysctl(1_000_000, "namespaces(7)")
            .then(Beyond::Refused, "clone3(2) fails with ENOSPC: creations are refused.")
    });
    // Each container of root's has ids, and so keys, of its own; those of a user have the user's.
    let key = |name: &str, used: Option<Used>, each| {
        let (privileged, used) = (facts.who.privileged(), used?);
        (!privileged).then(|| {
            bound(name, used.left(), each, "keys")
                .sysctl(used.max.saturating_mul(50), "keyrings(7)")
                .then(Beyond::Refused, "Creations beyond are refused with EDQUOT, but with --no-new-keyring.")
        })
    };
    let cgroups = facts.cgroups.descendants.as_ref().map(|limit| {
        let file = limit.file.display().to_string();
        bound("cgroup.max.descendants", limit.max.saturating_sub(limit.used), cost::CGROUPS, "cgroups")
            .mend(format!("echo max > {file}"))
            .read(file, "cgroups(7)")
            .then(Beyond::Refused, "mkdir(2) of a cgroup fails with EAGAIN: creations are refused.")
    });
    let terminals = facts.limits.ptys.map(|ptys| {
        bound("kernel.pty.max", ptys.left(), 1, "terminals")
            .sysctl(65_536, "pty(7)")
            .then(Beyond::Worse, "Containers and execs beyond get no terminal.")
    });
    [
        ids,
        namespaces,
        key("kernel.keys.maxkeys", facts.limits.keys, cost::KEYS),
        key("kernel.keys.maxbytes", facts.limits.key_bytes, cost::KEY_BYTES),
        cgroups,
        terminals,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn disk(facts: &Facts) -> Vec<Bound> {
    if !facts.who.privileged() {
        return Vec::new();
    }
    const FULL: &str = "Creations are refused, and output of containers is dropped and counted.";
    let of = |what: &str, path: &std::path::Path, left, each, unit| {
        bound(format!("{what} of {}", path.display()), left, each, unit)
            .read("statvfs(3)", "statvfs(3)")
            .then(Beyond::Refused, FULL)
            .mend(format!("df {}   # what takes it", path.display()))
    };
    let (root, state) = (&facts.files.root, &facts.files.state);
    let logs = Bound {
        name: format!("logs below {}", root.path.display()),
        ..of("", &root.path, root.bytes, cost::LOG_BYTES, "bytes")
    }
    .then(Beyond::Worse, "Output of containers is dropped and counted, if all of them fill their logs.")
    .mend("sextant run --log-max-size 1M --log-max-files 2 …");
    vec![
        of("disk", &root.path, root.bytes, cost::ROOT_BYTES, "bytes"),
        of("inodes", &root.path, root.files, cost::ROOT_FILES, "inodes"),
        of("space", &state.path, state.bytes, cost::STATE_BYTES, "bytes"),
        of("inodes", &state.path, state.files, cost::STATE_FILES, "inodes"),
        logs,
    ]
}

/// A check for each bound.
pub fn judge(capacity: &Capacity) -> Vec<Check> {
    let of = |bound: &Bound| {
        let amount = |n: u64| if bound.unit == "bytes" { bytes(n) } else { n.to_string() };
        let unit = if bound.unit == "bytes" { "" } else { bound.unit };
        let found = format!("{} {unit}", amount(bound.left)).trim_end().to_owned()
            + &format!(" left, {} each", amount(bound.each));
        let check =
            Check::ok(Subject::Limits, bound.name.clone(), found, bound.source.clone()).by(bound.basis);
        if bound.containers >= ENOUGH {
            return check;
        }
        let level = match bound.beyond {
            Beyond::Refused if bound.containers == 0 => Level::Missing,
            Beyond::Refused => Level::Limited,
            Beyond::Worse if bound.name.starts_with("logs") => Level::Note,
            Beyond::Worse => Level::Limited,
        };
        check
            .but(level, format!("Enough for {} containers. {}", bound.containers, bound.follows))
            .mend(bound.remedy.clone())
    };
    capacity.bounds.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::debian;
    use super::*;

    fn narrowest(facts: &Facts) -> (String, u64) {
        let capacity = estimate(facts, Ask::default());
        (capacity.bounds[0].name.clone(), capacity.containers)
    }

    fn check(facts: &Facts, name: &str) -> Check {
        let checks = judge(&estimate(facts, Ask::default()));
        checks.into_iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn ids_are_the_first_to_end_on_a_usual_host() {
        assert_eq!(narrowest(&debian()), ("id-range".to_owned(), 4095));
        assert!(judge(&estimate(&debian(), Ask::default())).iter().all(|check| check.level == Level::Ok));
    }

    #[test]
    fn open_files() {
        let mut facts = debian();
        facts.limits.nofile = (1024, 1024);
        assert_eq!(narrowest(&facts), ("RLIMIT_NOFILE".to_owned(), (1024 - 64) / 4));
        let check = check(&facts, "RLIMIT_NOFILE");
        assert_eq!(check.level, Level::Limited);
        assert!(check.remedy.contains("ulimit -n 1048576") && check.remedy.contains("LimitNOFILE=1048576"));
        facts.limits.nofile.1 = 4096;
        assert_eq!(narrowest(&facts).1, (4096 - 64) / 4, "the daemon raises the soft limit");
        facts.limits.nofile.1 = 10;
        assert_eq!(super::judge(&estimate(&facts, Ask::default()))[0].level, Level::Missing);
    }

    #[test]
    fn pids_memory_and_namespaces() {
        let mut facts = debian();
        facts.limits.pid_max = Some(4096);
        assert_eq!(narrowest(&facts), ("kernel.pid_max".to_owned(), (4096 - 300) / 2));
        facts.limits.pid_max = Some(1024);
        assert!(check(&facts, "kernel.pid_max").remedy.starts_with("sysctl -w kernel.pid_max=4194304"));
        let mut facts = debian();
        facts.limits.available = 1 << 30;
        let (name, some) = narrowest(&facts);
        assert!(name == "memory" && (900..1000).contains(&some), "{name} {some}");
        let large = estimate(&facts, Ask { process_bytes: 100 << 20, containers: 0 });
        assert_eq!(large.containers, 9);
        let mut facts = debian();
        facts.namespaces.most[2].1 = Some(50);
        assert_eq!(narrowest(&facts), ("user.max_net_namespaces".to_owned(), 50));
        facts.cgroups.pids = Some(crate::doctor::cgroups::Limit {
            file: "/sys/fs/cgroup/x/pids.max".into(),
            max: 30,
            used: 5,
        });
        assert_eq!(narrowest(&facts), ("pids of the cgroup".to_owned(), 25));
        assert!(check(&facts, "pids of the cgroup").remedy.contains("TasksMax=infinity"));
    }

    #[test]
    fn inotify_does_not_refuse_containers() {
        let mut facts = debian();
        facts.limits.inotify_instances = Some(128);
        assert_eq!(narrowest(&facts).1, 4095);
        let check = check(&facts, "fs.inotify.max_user_instances");
        assert_eq!(check.level, Level::Limited);
        assert!(check.follows.starts_with("Enough for 126 containers."));
    }

    #[test]
    fn a_user_has_limits_of_his_own() {
        let mut facts = debian();
        facts.who = crate::doctor::who::tests::user();
        facts.limits.nproc = (150, 150);
        facts.limits.keys = Some(Used { max: 200, used: 4 });
        assert_eq!(narrowest(&facts), ("RLIMIT_NPROC".to_owned(), 150));
        facts.limits.nproc = (500, 500);
        assert_eq!(narrowest(&facts), ("kernel.keys.maxkeys".to_owned(), 196));
        assert!(check(&facts, "kernel.keys.maxkeys").remedy.contains("kernel.keys.maxkeys=10000"));
    }

    #[test]
    fn containers_that_there_are_have_taken_their_part() {
        let capacity = estimate(&debian(), Ask { containers: 4000, process_bytes: 0 });
        assert_eq!(capacity.containers, 95);
    }
}
