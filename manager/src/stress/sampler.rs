//! Looks once a second, or as often as that is no load, at what the manager, the shims and the containers use. It runs on a thread of its
//! own, so that reading procfs delays no unit of load.

use super::procfs::{self, Found};
use super::scenario::Ground;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time between two looks, if they are short.
const PERIOD: Duration = Duration::from_secs(1);
/// Else a look is followed by so many times what it has taken, or the load would be that of the sampler: with
/// 1,000 containers it reads 5,000 files.
const REST: u32 = 30;
/// Processes of one kind whose memory is read in one look; of more, these stand for all.
const MOST: usize = 48;

/// What was seen in one look. CPU times count from the first look.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at: f64,
    /// Containers of the run that exist.
    pub(crate) containers: i64,
    /// Units of load that have succeeded so far.
    pub(crate) units: u64,
    pub(crate) manager_pss_kib: Option<u64>,
    pub(crate) shims: usize,
    /// Of one shim, on average.
    pub(crate) shim_pss_kib: Option<u64>,
    pub(crate) shim_pss_max_kib: Option<u64>,
    /// Processes inside containers.
    pub(crate) processes: usize,
    /// Of one of these, on average.
    pub(crate) process_pss_kib: Option<u64>,
    /// All processors, all processes.
    pub(crate) host_cpu_ms: u64,
    /// The load generator alone.
    pub(crate) own_cpu_ms: u64,
    /// Manager, shims and containers, with all that they have waited for; of a target without a manager,
    /// containers and what the generator has waited for.
    pub(crate) target_cpu_ms: u64,
}

/// All looks so far, and the processes of the last.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    all: Mutex<Vec<Sample>>,
    found: Mutex<Found>,
    first: Mutex<Option<Cpu>>,
}

impl Samples {
    pub(crate) fn all(&self) -> Vec<Sample> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn last(&self) -> Sample {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }

    /// Shims that were there at the last look.
    pub(crate) fn shims(&self) -> Vec<i32> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).shims.clone()
    }
}

/// CPU times at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    host: u64,
    own: u64,
    target: u64,
}

impl Cpu {
    /// What lives is asked itself, what has ended is in the times of who has waited for it.
    fn now(manager: Option<i32>, found: &Found) -> Self {
        let own = own_cpu_ms();
        let ended = manager.map_or_else(children_cpu_ms, procfs::cpu_ms);
        let live = found.shims.iter().chain(&found.inside).map(|pid| procfs::cpu_ms(*pid));
        let target = ended + live.sum::<u64>();
        Self { host: procfs::host_cpu_ms(), own, target }
    }
}

fn usage_ms(who: nix::sys::resource::UsageWho) -> u64 {
    let Ok(usage) = nix::sys::resource::getrusage(who) else { return 0 };
    let ms = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1000 + time.tv_usec() / 1000).unwrap_or(0)
    };
    ms(usage.user_time()) + ms(usage.system_time())
}

fn own_cpu_ms() -> u64 {
    usage_ms(nix::sys::resource::UsageWho::RUSAGE_SELF)
}

fn children_cpu_ms() -> u64 {
    usage_ms(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)
}

/// Looks again and again, until it is dropped.
pub(crate) async fn watch(ground: Arc<Ground>, samples: Arc<Samples>) {
    loop {
        let begun = tokio::time::Instant::now();
        once(&ground, &samples).await;
        tokio::time::sleep(rest(begun.elapsed())).await;
    }
}

/// How long no look is taken after one that has taken so long.
fn rest(took: Duration) -> Duration {
    PERIOD.saturating_sub(took).max(took * REST)
}

/// One look more.
pub(crate) async fn once(ground: &Arc<Ground>, samples: &Arc<Samples>) {
    // A manager that is away has no process; the next look asks again.
    let asked = tokio::time::timeout(PERIOD, ground.target.facts()).await;
    let manager = asked.ok().and_then(Result::ok).and_then(|facts| facts.manager);
    let marks = ground.target.marks();
    let looked = tokio::task::spawn_blocking(move || {
        let found = procfs::scan(&marks);
        let cpu = Cpu::now(manager, &found);
        (manager.and_then(procfs::pss_kib), memory(&found.shims), memory(&found.inside), found, cpu)
    });
    let Ok((manager_pss_kib, shims, inside, found, cpu)) = looked.await else { return };
    let base = *samples.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cpu);
    let sample = Sample {
        at: ground.book.begun.elapsed().as_secs_f64(),
        containers: ground.alive.load(Ordering::Relaxed),
        units: ground.units.load(Ordering::Relaxed),
        manager_pss_kib,
        shims: found.shims.len(),
        shim_pss_kib: shims.map(|(mean, _)| mean),
        shim_pss_max_kib: shims.map(|(_, most)| most),
        processes: found.inside.len(),
        process_pss_kib: inside.map(|(mean, _)| mean),
        host_cpu_ms: cpu.host.saturating_sub(base.host),
        own_cpu_ms: cpu.own.saturating_sub(base.own),
        target_cpu_ms: cpu.target.saturating_sub(base.target),
    };
    *samples.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    samples.all.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
}

/// Average and largest PSS of some of these processes, evenly spread.
fn memory(pids: &[i32]) -> Option<(u64, u64)> {
    let step = pids.len().div_ceil(MOST).max(1);
    let read: Vec<u64> =
        pids.iter().step_by(step).filter_map(|pid| procfs::pss_kib(*pid)).filter(|kib| *kib > 0).collect();
    let count = u64::try_from(read.len()).ok().filter(|count| *count > 0)?;
    Some((read.iter().sum::<u64>() / count, read.iter().max().copied().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_looks_are_rare() {
        let ms = Duration::from_millis;
        assert_eq!((rest(ms(0)), rest(ms(20)), rest(ms(100))), (ms(1000), ms(980), ms(3000)));
    }
}
