//! Many containers at once: what they cost, and what one silent shim does to the others.

use super::Options;
use super::figures::{Times, kib, table};
use super::life::{remove, said, up};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::Daemon;
use sextant_integration::calls::Client;
use sextant_proto::v1::{ListRequest, StatsRequest};
use std::time::{Duration, Instant};

/// After which the daemon has given connections up that nobody uses.
const REST: Duration = Duration::from_secs(25);
/// Calls of each kind that are timed.
const CALLS: usize = 200;

async fn fill(client: &mut Client, options: &Options) -> Result<Vec<i32>, String> {
    let mut shims = Vec::new();
    for number in 0..options.count {
        let id = format!("it-bench-{number}");
        shims.push(up(client, options, &id, &["/bin/sleep", "10000"]).await?.shim_pid);
    }
    Ok(shims)
}

async fn empty(client: &mut Client, options: &Options) -> Result<(), String> {
    for number in 0..options.count {
        remove(client, &format!("it-bench-{number}")).await?;
    }
    Ok(())
}

async fn calls(client: &mut Client, name: &str, number: &str) -> Result<Vec<Times>, String> {
    let [mut lists, mut stats] = ["list", "stats of one"].map(|what| Times::of(&format!("{what}, {name}")));
    for _ in 0..CALLS {
        let begin = Instant::now();
        client.list(ListRequest::default()).await.map_err(said("list"))?;
        lists.add(begin.elapsed());
        let begin = Instant::now();
        client
            .stats(StatsRequest { ids: vec![number.into()], ..Default::default() })
            .await
            .map_err(said("stats"))?;
        stats.add(begin.elapsed());
    }
    Ok(vec![lists, stats])
}

/// What a crowd costs.
pub(crate) async fn crowd(daemon: &Daemon, options: &Options) -> Result<String, String> {
    let mut client = daemon.containers().await;
    let idle = kib(&format!("/proc/{}/smaps_rollup", daemon.pid()), "Pss:");
    let begin = Instant::now();
    let shims = fill(&mut client, options).await?;
    let filled = begin.elapsed();
    let pss = || shims.iter().map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum::<u64>();
    let busy = pss();
    let count = u64::try_from(options.count.max(1)).unwrap_or(1);
    let mut times = calls(&mut client, "a crowd", "it-bench-0").await?;
    let full = kib(&format!("/proc/{}/smaps_rollup", daemon.pid()), "Pss:");
    tokio::time::sleep(REST).await;
    let (rested, resting) = (kib(&format!("/proc/{}/smaps_rollup", daemon.pid()), "Pss:"), pss());
    let begin = Instant::now();
    empty(&mut client, options).await?;
    Ok(format!(
        "{count} containers: started in {:.1} s, deleted in {:.1} s, one after the other. PSS: {} KiB a shim, \
         the daemon {idle} KiB before and {full} KiB with them; {} and {rested} KiB when they were left alone \
         for {} s.\n\n{}",
        filled.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
        busy / count,
        resting / count,
        REST.as_secs(),
        table(&mut times)
    ))
}

/// What a shim that does not answer does to the others.
pub(crate) async fn silent(daemon: &Daemon, options: &Options) -> Result<String, String> {
    let mut client = daemon.containers().await;
    let shims = fill(&mut client, options).await?;
    let mut times = calls(&mut client, "all answer", "it-bench-1").await?;
    let silent = Pid::from_raw(shims.first().copied().unwrap_or(0));
    kill(silent, Signal::SIGSTOP).map_err(|e| format!("stop a shim: {e}"))?;
    let with_silent = calls(&mut client, "one is stopped", "it-bench-1").await;
    kill(silent, Signal::SIGCONT).map_err(|e| format!("continue a shim: {e}"))?;
    times.extend(with_silent?);
    empty(&mut client, options).await?;
    Ok(table(&mut times))
}
