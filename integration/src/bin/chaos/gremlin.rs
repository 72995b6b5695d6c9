//! Who kills, stops and continues what the stack consists of.

use super::World;
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use nix::unistd::Pid;
use sextant_integration::Daemon;
use sextant_integration::random::Random;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    KillManager,
    StopManager,
    KillShim,
    StopShim,
    KillRuntime,
    StopRuntime,
    KillContainer,
    FillDisk,
    SetClock,
}

/// Each as often as it stands here.
const DEEDS: [Deed; 15] = [
    Deed::SetClock,
    Deed::SetClock,
    Deed::FillDisk,
    Deed::KillManager,
    Deed::StopManager,
    Deed::KillShim,
    Deed::KillShim,
    Deed::KillShim,
    Deed::StopShim,
    Deed::StopShim,
    Deed::KillRuntime,
    Deed::StopRuntime,
    Deed::KillContainer,
    Deed::KillContainer,
    Deed::KillContainer,
];

/// How often it has done what.
pub(super) type Done = BTreeMap<Deed, u64>;

/// Until `end`; gives the daemon back, which then runs, as everything that was stopped.
/// The clock is left alone unless `clock` says otherwise: it is that of the whole machine.
pub(super) fn run(
    world: &World,
    mut daemon: Daemon,
    mut random: Random,
    end: Instant,
    clock: bool,
) -> (Daemon, Done) {
    let mut done = Done::new();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20 + random.below(300)));
        revive(&mut daemon);
        let Some(deed) = random.one(&DEEDS).filter(|deed| clock || *deed != Deed::SetClock) else { continue };
        if carry_out(deed, world, &mut daemon, &mut random) {
            *done.entry(deed).or_default() += 1;
        }
    }
    revive(&mut daemon);
    (daemon, done)
}

/// Starts a daemon again that has died of a fault; also where it does so as soon as it is started.
fn revive(daemon: &mut Daemon) {
    for _ in 0..100 {
        if !daemon.has_ended() {
            return;
        }
        if let Err(log) = daemon.try_restart() {
            let last = log.lines().last().unwrap_or_default();
            eprintln!("the daemon has ended as it was started: {last}");
        }
    }
}

/// Whether there was anybody.
fn carry_out(deed: Deed, world: &World, daemon: &mut Daemon, random: &mut Random) -> bool {
    let manager = i32::try_from(daemon.pid()).unwrap_or(0);
    let pause = Duration::from_millis(random.below(1500));
    match deed {
        Deed::KillManager => {
            daemon.kill();
            std::thread::sleep(pause / 4);
            revive(daemon);
            true
        }
        Deed::StopManager => stop(manager, pause),
        Deed::FillDisk => fill(world, daemon, pause),
        Deed::SetClock => set_clock(random),
        Deed::KillShim => pick(world, Kind::Shim, random).is_some_and(end),
        Deed::StopShim => pick(world, Kind::Shim, random).is_some_and(|pid| stop(pid, pause)),
        // The init of a container is one until it executes its process.
        Deed::KillRuntime => pick(world, Kind::Runtime, random).is_some_and(|pid| end_of_life(pid, world)),
        Deed::StopRuntime => pick(world, Kind::Runtime, random).is_some_and(|pid| stop(pid, pause / 2)),
        Deed::KillContainer => {
            pick(world, Kind::Container, random).is_some_and(|pid| end_of_life(pid, world))
        }
    }
}

/// Kills what may be the process of a container, which is expected to end like that then.
fn end_of_life(pid: i32, world: &World) -> bool {
    if let Some(id) = container(pid) {
        world.note(&id, |life| life.killed = true);
    }
    end(pid)
}

/// Leaves no byte on the file system of the daemon's directories, for a while.
fn fill(world: &World, daemon: &Daemon, time: Duration) -> bool {
    let path = daemon.dir().join("fill");
    let Ok(mut file) = std::fs::File::create(&path) else { return false };
    // What a container writes now may be lost; that its log says so is another test's business.
    for life in world.lives().values_mut().filter(|life| !life.deleted) {
        life.starved = true;
    }
    world.starving.store(true, Ordering::Relaxed);
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    std::thread::sleep(time);
    world.starving.store(false, Ordering::Relaxed);
    std::fs::remove_file(&path).is_ok()
}

/// Sets the clock up to a day forth or back (clock_settime(2)).
fn set_clock(random: &mut Random) -> bool {
    const DAY: u64 = 86_400;
    let Ok(now) = clock_gettime(ClockId::CLOCK_REALTIME) else { return false };
    let step = TimeSpec::from_duration(Duration::from_secs(random.below(DAY)));
    let then = if random.once_in(2) { now + step } else { now - step };
    clock_settime(ClockId::CLOCK_REALTIME, then).is_ok()
}

fn end(pid: i32) -> bool {
    kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

fn stop(pid: i32, time: Duration) -> bool {
    let stopped = kill(Pid::from_raw(pid), Signal::SIGSTOP).is_ok();
    std::thread::sleep(time);
    // It may have been killed meanwhile.
    stopped && kill(Pid::from_raw(pid), Signal::SIGCONT).is_ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shim,
    Runtime,
    Container,
}

/// A process of this run.
fn pick(world: &World, kind: Kind, random: &mut Random) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pids: Vec<i32> = pids.filter(|pid| kind_of(*pid, world) == Some(kind)).collect();
    random.one(&pids)
}

fn kind_of(pid: i32, world: &World) -> Option<Kind> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    if line.starts_with("/bin/probe work ") && container(pid).is_some() {
        return Some(Kind::Container);
    }
    let program = line.split(' ').next()?.rsplit('/').next()?;
    match program {
        _ if !line.contains(&world.mark) => None,
        "sextant-shim" | "sextant-shim-faults" => Some(Kind::Shim),
        "sextant-runtime" | "sextant-runtime-faults" => Some(Kind::Runtime),
        _ => None,
    }
}

/// The container whose cgroup it is in, if it is of this run.
fn container(pid: i32) -> Option<String> {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = format!("it-chaos-{}-", std::process::id());
    let begin = cgroup.find(&own)?;
    let name = cgroup.get(begin..)?;
    Some(name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
}
