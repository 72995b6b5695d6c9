//! The container's group in resctrl (Documentation/filesystems/resctrl.rst): made
//! at creation or found by its name, given schemata, entered by every process of
//! the container, taken away with it. A group that the config names is shared:
//! one that was there keeps its schemata, and none is removed with a container.

use crate::contract::report::Failure;
use crate::plan::IntelRdt;
use crate::report::{Attempt, Outcome, Place as _, refuse};
use nix::errno::Errno;
use nix::sys::statfs::statfs;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where resctrl is mounted.
pub const ROOT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC` (linux/magic.h).
const MAGIC: i64 = 0x765_5821;

const POINTER: &str = "/linux/intelRdt";

/// Whether resctrl is mounted where it belongs.
pub fn is_mounted() -> bool {
    #[allow(clippy::useless_conversion, reason = "the type of a magic number differs between targets")]
    statfs(ROOT).is_ok_and(|s| i64::from(s.filesystem_type().0) == MAGIC)
}

/// Whether the machine has what the config asks for; before anything is made.
///
/// # Errors
/// With the pointer of what it has not.
pub fn check(plan: &IntelRdt) -> Outcome<()> {
    if !is_mounted() {
        let mut failure = refuse("use resctrl", format!("it is not mounted at {ROOT}"));
        failure.hint = format!(
            "mount -t resctrl resctrl {ROOT}; it takes a processor with RDT (flag rdt_a in /proc/cpuinfo)"
        );
        return Err(failure).at(POINTER);
    }
    check_at(Path::new(ROOT), plan)
}

fn check_at(root: &Path, plan: &IntelRdt) -> Outcome<()> {
    let has = |names: &[&str]| names.iter().any(|name| root.join("info").join(name).is_dir());
    let lacks = |what: &str, field: &str| {
        Err(refuse("use resctrl", format!("this machine has no {what}"))).at(&format!("{POINTER}/{field}"))
    };
    if !plan.l3_cache.is_empty() && !has(&["L3", "L3CODE", "L3DATA"]) {
        return lacks("allocation of the L3 cache (CAT)", "l3CacheSchema");
    }
    if !plan.memory_bandwidth.is_empty() && !has(&["MB"]) {
        return lacks("allocation of memory bandwidth (MBA)", "memBwSchema");
    }
    if plan.monitoring && !has(&["L3_MON"]) {
        return lacks("monitoring (CMT, MBM)", "enableMonitoring");
    }
    Ok(())
}

/// What a container has in resctrl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The group's directory.
    pub group: PathBuf,
    /// The container's own group for monitoring, below it.
    monitor: Option<PathBuf>,
    /// What is removed with the container, in this order.
    own: Vec<PathBuf>,
    root: PathBuf,
}

impl Place {
    /// That of the container `id`.
    pub fn of(plan: &IntelRdt, id: &str) -> Self {
        Self::below(Path::new(ROOT), plan, id)
    }

    fn below(root: &Path, plan: &IntelRdt, id: &str) -> Self {
        let group = root.join(plan.group.trim_start_matches('/'));
        let monitor = plan.monitoring.then(|| group.join("mon_groups").join(id));
        let unnamed = (!plan.named).then(|| group.clone());
        let own = monitor.clone().into_iter().chain(unnamed).collect();
        Self { group, monitor, own, root: root.to_owned() }
    }

    /// Makes what is missing, and puts the process into it.
    ///
    /// # Errors
    /// With the pointer of what the kernel refuses, in its own words; nothing is left then.
    pub fn make(&mut self, plan: &IntelRdt, pid: i32) -> Outcome<()> {
        self.try_make(plan, pid).map_err(|failure| {
            let left = self.remove().err().map(|f| f.to_string());
            crate::report::with_leftovers(failure, left.as_slice())
        })
    }

    fn try_make(&mut self, plan: &IntelRdt, pid: i32) -> Outcome<()> {
        let was_there = self.group.is_dir();
        let schemata = [&plan.l3_cache[..], &plan.memory_bandwidth[..]].concat();
        if !was_there {
            if plan.named && schemata.is_empty() && plan.schemata.is_empty() {
                let because = format!("there is no group {}", plan.group);
                let mut failure = refuse("join a group of resctrl", because);
                failure.hint = "without schemata it has to be there before the container".into();
                return Err(failure).at(&format!("{POINTER}/closID"));
            }
            self.mkdir(&self.group)?;
            if plan.named {
                self.own.push(self.group.clone());
            }
        }
        if was_there && plan.named && !schemata.is_empty() {
            self.compare(&schemata)?;
        }
        let lines = if was_there && plan.named { plan.schemata.clone() } else { schemata };
        let more = if was_there && plan.named { &[][..] } else { &plan.schemata[..] };
        let text: String = lines.iter().chain(more).map(|line| format!("{line}\n")).collect();
        if !text.is_empty() {
            self.write(&self.group.join("schemata"), &text)?;
        }
        if let Some(monitor) = &self.monitor {
            self.mkdir(monitor)?;
        }
        self.join(pid)
    }

    /// Puts a process into the group.
    ///
    /// # Errors
    /// As the kernel refuses it.
    pub fn join(&self, pid: i32) -> Outcome<()> {
        self.write(&self.group.join("tasks"), &pid.to_string())?;
        match &self.monitor {
            Some(monitor) => self.write(&monitor.join("tasks"), &pid.to_string()),
            None => Ok(()),
        }
    }

    /// The container is made: a group that the config names stays from now on.
    pub fn settle(&mut self, plan: &IntelRdt) {
        let group = self.group.clone();
        self.own.retain(|dir| !(plan.named && *dir == group));
    }

    /// Removes what is the container's own.
    ///
    /// # Errors
    /// As rmdir(2); what is not there is removed already.
    pub fn remove(&self) -> Outcome<()> {
        for dir in &self.own {
            match std::fs::remove_dir(dir) {
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                result => result.attempt(|| format!("remove the group {}", dir.display()))?,
            }
        }
        Ok(())
    }

    /// Whether a group that was there has the schemata that the config wants of it.
    fn compare(&self, wanted: &[String]) -> Outcome<()> {
        let file = self.group.join("schemata");
        let text = std::fs::read_to_string(&file).attempt(|| format!("read {}", file.display()))?;
        let has: Vec<Value<'_>> = text.lines().flat_map(values).collect();
        let lacks = wanted.iter().flat_map(|line| values(line)).find(|value| !has.contains(value));
        let Some(Value { resource, domain, bits }) = lacks else { return Ok(()) };
        let because = format!("the group is there, and {resource}:{domain} is not {bits} in it");
        let mut failure = refuse(format!("use the group {}", self.group.display()), because);
        failure.hint = "it may be shared: give another closID, or its own schemata".into();
        Err(failure).at(POINTER)
    }

    fn mkdir(&self, dir: &Path) -> Outcome<()> {
        let made = std::fs::create_dir(dir).attempt(|| format!("make the group {}", dir.display()));
        made.map_err(|f| self.in_the_kernels_words(f))
            .at(POINTER)
            .hint(Errno::ENOSPC, "the processor has no more groups: see num_closids and num_rmids below info")
    }

    fn write(&self, file: &Path, text: &str) -> Outcome<()> {
        let written = std::fs::write(file, text).attempt(|| format!("write {}", file.display()));
        written.map_err(|f| self.in_the_kernels_words(f)).at(POINTER)
    }

    /// resctrl says of its last refusal more than an errno.
    fn in_the_kernels_words(&self, mut failure: Box<Failure>) -> Box<Failure> {
        let said = std::fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        if !matches!(said.trim(), "" | "ok") {
            said.trim().clone_into(&mut failure.because);
        }
        failure
    }
}

/// One value of a schema: `L3:0=ff`.
#[derive(PartialEq, Eq)]
struct Value<'a> {
    resource: &'a str,
    domain: &'a str,
    bits: String,
}

fn values(line: &str) -> impl Iterator<Item = Value<'_>> {
    let (resource, domains) = line.split_once(':').unwrap_or((line, ""));
    domains.split(';').filter_map(move |pair| {
        let (domain, bits) = pair.split_once('=')?;
        let bits = bits.trim().trim_start_matches('0').to_ascii_lowercase();
        Some(Value { resource: resource.trim(), domain: domain.trim(), bits })
    })
}

#[cfg(test)]
mod tests;
