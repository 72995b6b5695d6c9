//! Changing the limits of a cgroup that exists: all of them, or none.
//!
//! The settings come from the same planner as a new cgroup's
//! ([`super::resources`]). What is not given, but decides how another value is
//! written (the period of a quota, the memory under a sum of memory and swap),
//! is completed from what is in force; what would not change is not written.
//!
//! Some values are bounded by others, so that neither order of writing is
//! always right: a version 1 memory limit and the one with swap, a bandwidth's
//! quota and period. A value that the kernel refuses is therefore tried once
//! more after the others. When one is refused for good, what was written
//! before is taken back, in reverse order.

use super::create::{self, failure};
use super::handle::Cgroup;
use super::layout::{Hierarchy, HostCgroups, Version};
use super::plan::Setting;
use super::resources::{self, Builder};
use crate::contract::report::{Failure, StageKind};
use crate::plan::Problem;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use std::path::PathBuf;

/// Decides what to write. Pointers are those of a config: `/linux/resources/…`.
///
/// # Errors
/// All mistakes at once.
pub fn plan(
    cgroup: &Cgroup,
    resources: &LinuxResources,
    oci_version: &str,
    warnings: &mut Vec<Problem>,
) -> Result<Vec<Setting>, Vec<Problem>> {
    let host = as_host(cgroup);
    let mut completed = resources.clone();
    if let Some(memory) = completed.memory_mut() {
        complete_memory(cgroup, memory);
    }
    if let Some(cpu) = completed.cpu_mut() {
        complete_cpu(cgroup, cpu);
    }
    let mut builder = Builder::new(&host, warnings);
    resources::plan(&completed, oci_version, &mut builder);
    let (settings, problems) = builder.finish();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The container's own directories as the planner sees hierarchies: the index
/// of one is that of its directory.
fn as_host(cgroup: &Cgroup) -> HostCgroups {
    let hierarchy = |dir: &super::handle::Dir| Hierarchy {
        name: dir.hierarchy.clone(),
        version: dir.version,
        controllers: match dir.version {
            Version::V1 => dir.hierarchy.split(',').map(String::from).collect(),
            Version::V2 => {
                let text = dir.read("cgroup.controllers").ok().flatten().unwrap_or_default();
                text.split_whitespace().map(String::from).collect()
            }
        },
        mount: dir.path.clone(),
        own: PathBuf::new(),
    };
    let hierarchies = cgroup.dirs().iter().map(hierarchy).collect();
    HostCgroups { layout: cgroup.layout(), hierarchies, systemd: None }
}

/// No limit, as a config says it.
const UNLIMITED: i64 = -1;

/// Where "no limit" begins in a version 1 file: the kernel's counter in pages
/// times their size, whatever that is.
const V1_UNLIMITED: i64 = i64::MAX - (1 << 20);

/// Memory without a limit takes swap with it, as with runc; else a sum of
/// memory and swap stays the same sum.
fn complete_memory(cgroup: &Cgroup, memory: &mut LinuxMemory) {
    let asked = |value: Option<i64>| value.filter(|v| *v != 0);
    if memory.limit() == Some(UNLIMITED) && memory.swap().is_none() {
        memory.set_swap(Some(UNLIMITED));
    }
    if asked(memory.limit()).is_none() && asked(memory.swap()).is_some() {
        memory.set_limit(memory_limit(cgroup));
    } else if let Some(limit) = asked(memory.limit())
        && memory.swap().is_none()
        && limit > 0
    {
        // Version 1 keeps the sum by itself.
        memory.set_swap(sum_on_version_2(cgroup).filter(|sum| *sum >= limit));
    }
}

/// The limit in force, if there is one.
fn memory_limit(cgroup: &Cgroup) -> Option<i64> {
    let text =
        cgroup.value("memory", "memory.limit_in_bytes").or_else(|| cgroup.value("memory", "memory.max"))?;
    text.parse().ok().filter(|limit| *limit < V1_UNLIMITED)
}

/// The sum of memory and swap in force; `None` on version 1, and where either is unlimited.
fn sum_on_version_2(cgroup: &Cgroup) -> Option<i64> {
    let number = |file| cgroup.value("memory", file)?.parse::<i64>().ok();
    number("memory.max")?.checked_add(number("memory.swap.max")?)
}

/// Quota and period are one file on version 2, and on both the bound of a burst.
fn complete_cpu(cgroup: &Cgroup, cpu: &mut LinuxCpu) {
    let is_asked =
        cpu.quota().is_some_and(|q| q != 0) || cpu.period().is_some_and(|p| p != 0) || cpu.burst().is_some();
    if !is_asked {
        return;
    }
    let (quota, period) = bandwidth(cgroup);
    if cpu.quota().is_none_or(|q| q == 0) {
        cpu.set_quota(quota);
    }
    if cpu.period().is_none_or(|p| p == 0) {
        cpu.set_period(period);
    }
}

/// Quota and period in force, in microseconds.
fn bandwidth(cgroup: &Cgroup) -> (Option<i64>, Option<u64>) {
    if let Some(text) = cgroup.value("cpu", "cpu.max") {
        let (quota, period) = text.split_once(' ').unwrap_or((&text, ""));
        return (Some(quota.parse().unwrap_or(UNLIMITED)), period.parse().ok());
    }
    let v1 = |file| cgroup.value("cpu", file);
    let quota = v1("cpu.cfs_quota_us").and_then(|text| text.parse().ok());
    (quota, v1("cpu.cfs_period_us").and_then(|text| text.parse().ok()))
}

/// A value that was written, and the one that takes it back.
struct Written<'a> {
    setting: &'a Setting,
    before: String,
}

impl Cgroup {
    /// Writes all settings of [`plan`].
    ///
    /// # Errors
    /// The first write that was refused for good. What was in force before is
    /// in force again; the failure's hint names what could not be taken back.
    pub fn update(&self, settings: &[Setting]) -> Result<(), Failure> {
        // All at once: systemd may write some of the files as soon as it is told.
        let before: Vec<_> = settings.iter().map(|setting| self.before(setting)).collect();
        let Some(unit) = self.unit() else { return self.write_all(settings, before) };
        let old: Vec<_> =
            settings.iter().zip(&before).filter_map(|(s, value)| with_value(s, value)).collect();
        unit.change(settings, "change the limits of")?;
        self.write_all(settings, before).map_err(|mut failure| {
            if let Err(left) = unit.change(&old, "restore the limits of") {
                failure.because.push_str(&format!(" (and left changed: {left})"));
            }
            failure
        })
    }

    fn write_all(&self, settings: &[Setting], before: Vec<Option<String>>) -> Result<(), Failure> {
        let mut written = Vec::new();
        let mut refused = Vec::new();
        for (setting, before) in settings.iter().zip(before) {
            let Some(before) = before else {
                // There is no such file: the write says so, or uses the other one.
                create::apply(self.dirs(), setting, StageKind::Update).map_err(|f| self.undo(&written, f))?;
                continue;
            };
            if before == setting.value && self.unit().is_none() {
                continue;
            }
            match create::apply(self.dirs(), setting, StageKind::Update) {
                Ok(()) => written.push(Written { setting, before }),
                Err(_) => refused.push(Written { setting, before }),
            }
        }
        for again in refused {
            create::apply(self.dirs(), again.setting, StageKind::Update)
                .map_err(|f| self.undo(&written, f))?;
            written.push(again);
        }
        Ok(())
    }

    /// Takes back what was written, the last first.
    fn undo(&self, written: &[Written<'_>], mut because: Failure) -> Failure {
        let mut left = Vec::new();
        for one in written.iter().rev() {
            let Some(dir) = self.dirs().get(one.setting.directory) else { continue };
            // A cpuset or the like that was empty is emptied by a newline.
            let value = if one.before.is_empty() { "\n" } else { one.before.as_str() };
            if let Err(error) = dir.write(&one.setting.file, value) {
                let attempted = format!("restore {}", one.setting.file);
                left.push(failure(StageKind::Update, attempted, error, &dir.path).to_string());
            }
        }
        if !left.is_empty() {
            because.because.push_str(&format!(" (and left changed: {})", left.join("; ")));
        }
        because
    }

    /// What would take `setting` back; `None` where its file does not exist.
    fn before(&self, setting: &Setting) -> Option<String> {
        let text = self.dirs().get(setting.directory)?.read(&setting.file).ok()??;
        match key(&setting.file, &setting.value) {
            None => Some(text.trim().to_owned()),
            Some(key) => {
                let line = text.lines().find(|line| line.split_whitespace().next() == Some(key));
                Some(line.map_or_else(|| neutral(&setting.file, key), str::to_owned))
            }
        }
    }

    /// The value of a file of `controller`, in whichever version that is.
    fn value(&self, controller: &str, file: &str) -> Option<String> {
        let dir = self.controller(controller).or_else(|| self.unified())?;
        Some(dir.read(file).ok()??.trim().to_owned())
    }
}

/// The setting that `value` was.
fn with_value(setting: &Setting, value: &Option<String>) -> Option<Setting> {
    Some(Setting { value: value.clone()?, otherwise: None, ..setting.clone() })
}

/// The key of a value, in files that keep a line for each device.
fn key<'a>(file: &str, value: &'a str) -> Option<&'a str> {
    let keyed = ["io.", "blkio.", "rdma.", "misc.", "dmem.", "net_prio."];
    let (key, _) = value.split_once(' ')?;
    keyed.iter().any(|start| file.starts_with(start)).then_some(key)
}

/// The line that says nothing about `key`.
fn neutral(file: &str, key: &str) -> String {
    match file {
        "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
        _ if file.starts_with("io.") => format!("{key} default"),
        _ if file.starts_with("blkio.") => format!("{key} 0"),
        _ => format!("{key} max"),
    }
}

#[cfg(test)]
mod tests {
    use super::{key, neutral};

    #[test]
    fn lines_of_one_device_are_taken_back_alone() {
        assert_eq!(key("io.max", "8:0 rbps=7"), Some("8:0"));
        assert_eq!(key("cpu.max", "max 100000"), None);
        assert_eq!(key("blkio.weight", "100"), None);
        assert_eq!(neutral("blkio.throttle.read_bps_device", "8:0"), "8:0 0");
    }
}
