//! What machine it was, as far as figures depend on it.

use serde::{Deserialize, Serialize};
use std::path::Path;

/// The machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
    pub(crate) cpu_model: String,
    pub(crate) memory_bytes: u64,
    /// `v1`, `hybrid` or `v2`.
    pub(crate) cgroup: String,
    /// Average number of processes that wanted to run in the minute before the load.
    pub(crate) load_before: f64,
}

impl Host {
    /// This one, now.
    pub(crate) fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let kib = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = kib.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        Self {
            kernel: crate::info::kernel(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu_model: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_bytes: kib * 1024,
            cgroup: crate::info::CgroupLayout::of(Path::new("/sys/fs/cgroup")).name().into(),
            load_before: read("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
        }
    }
}
