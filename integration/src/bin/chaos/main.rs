//! Chaos: random clients while manager, shims, runtimes and containers are
//! killed, stopped and continued. At the end a checker with a record of its own
//! says whether an exit or an event was lost, doubled or invented, what
//! contradicts what the containers wrote themselves, and what is left behind.
//! `scripts/chaos` calls it.

mod check;
mod client;
mod gremlin;
mod plan;
mod watch;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use sextant_integration::bundle::{make_rootfs, temp_dir};
use sextant_integration::random::Random;
use sextant_integration::{Daemon, process::until};
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::sandboxes_client::SandboxesClient;
use sextant_proto::v1::system_client::SystemClient;
use sextant_proto::v1::{
    AuditRequest, DeleteRequest, DeleteSandboxRequest, ListRequest, ListSandboxesRequest,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

/// What one container was asked for, and what was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// The status that its process exits with, if nobody ends it before.
    pub(crate) code: i32,
    /// Whether its runtime had fault points.
    pub(crate) faulty: bool,
    /// How much longer than their words its lines are.
    pub(crate) pad: usize,
    /// Whether its creation was answered with success.
    pub(crate) created: bool,
    /// Likewise its start.
    pub(crate) started: bool,
    /// Whether anybody has sent it a signal, or may have.
    pub(crate) killed: bool,
    /// Whether the disk was full during it.
    pub(crate) starved: bool,
    /// What `Wait` answered.
    pub(crate) exit: Option<How>,
    /// Its log, whole, as it was after the exit.
    pub(crate) log: Option<String>,
    /// Whether its deletion was answered with success.
    pub(crate) deleted: bool,
    /// Its execs, by their ids, whose creation was answered with success.
    pub(crate) execs: BTreeMap<String, ExecLife>,
    /// How it is to live more than once.
    pub(crate) again: Option<Again>,
    /// Whether it is the init of a sandbox, of which no client is told.
    pub(crate) inner: bool,
}

/// The lives that a container is to have.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    /// After which exits it is restarted.
    pub(crate) when: When,
    /// How often in a row, at most, with `OnFailure`.
    pub(crate) max_retries: u32,
    /// What its health check says, if it has one.
    pub(crate) well: Option<bool>,
    /// The number of its last life, once that was answered.
    pub(crate) last: Option<u32>,
}

/// What an exec was to exit with.
#[derive(Clone, Debug)]
pub(crate) struct ExecLife {
    /// If nobody ends it before.
    pub(crate) code: i32,
    /// What `Wait` answered.
    pub(crate) told: Option<How>,
}

/// What all of them share.
pub(crate) struct World {
    pub(crate) address: String,
    pub(crate) mark: String,
    pub(crate) rootfs: String,
    lives: Mutex<BTreeMap<String, Life>>,
    wrong: Mutex<Vec<String>>,
    pub(crate) over: AtomicBool,
    /// Whether the disk is full at the moment.
    pub(crate) starving: AtomicBool,
    /// Whether the runtime has fault points.
    pub(crate) faulty: bool,
}

impl World {
    /// A connection that is made when it is used, and made anew when it broke.
    pub(crate) fn channel(&self) -> Channel {
        match Endpoint::from_shared(self.address.clone()) {
            Ok(endpoint) => endpoint.connect_lazy(),
            Err(e) => unreachable(&e),
        }
    }

    pub(crate) fn lives(&self) -> MutexGuard<'_, BTreeMap<String, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of one container.
    pub(crate) fn note(&self, id: &str, change: impl FnOnce(&mut Life)) {
        change(self.lives().entry(id.to_owned()).or_default());
    }

    /// Something that must not be.
    pub(crate) fn wrong(&self, what: String) {
        eprintln!("WRONG: {what}");
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

fn unreachable(error: &dyn std::fmt::Display) -> ! {
    eprintln!("chaos: {error}");
    std::process::abort()
}

struct Options {
    seed: u64,
    time: Duration,
    clients: u64,
    /// Whether the clock is set forth and back: that of the whole machine.
    clock: bool,
}

const USAGE: &str = "usage: chaos [--seed N] [--minutes M | --seconds S] [--clients N] [--clock]";

fn options() -> Result<Options, String> {
    let mut options = Options {
        seed: u64::from(std::process::id()),
        time: Duration::from_secs(60),
        clients: 8,
        clock: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--clock" {
            options.clock = true;
            continue;
        }
        let value = args.next().ok_or(USAGE)?;
        let number: u64 = value.parse().map_err(|e| format!("{flag} {value}: {e}"))?;
        match flag.as_str() {
            "--seed" => options.seed = number,
            "--minutes" => options.time = Duration::from_secs(number.saturating_mul(60)),
            "--seconds" => options.time = Duration::from_secs(number),
            "--clients" => options.clients = number.max(1),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}, {} s, {} clients", options.seed, options.time.as_secs(), options.clients);
    // Everything is on a small disk of its own, which goes with the last process of this run.
    let disk = tempfile::tempdir().unwrap_or_else(|e| unreachable(&e));
    small_disk(disk.path()).unwrap_or_else(|e| unreachable(&e));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => unreachable(&e),
    };
    // Not on that disk: containers have it id-mapped, which a tmpfs can be since Linux 6.3.
    let root = temp_dir();
    make_rootfs(&root.path().join("rootfs"));
    let wrong = runtime.block_on(run(&options, disk.path(), root.path()));
    umount2(disk.path(), MntFlags::MNT_DETACH).unwrap_or_else(|e| unreachable(&e));
    println!("{} things went wrong; --seed {} repeats what was asked for", wrong, options.seed);
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Mounts a tmpfs that nobody else sees.
fn small_disk(at: &Path) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("chaos"), at, Some("tmpfs"), MsFlags::empty(), Some("size=64m,mode=0700"))
}

async fn run(options: &Options, disk: &Path, root: &Path) -> usize {
    // The journal of events is kept whole: the checker reads it from its beginning.
    let args = ["--events-limit", "1073741824"];
    let plan = plan::Plan::write(root, options.seed).unwrap_or_else(|e| unreachable(&e));
    let planned = Daemon::start_faulty(disk, &plan.file, &args);
    let faulty = planned.is_some();
    if !faulty {
        println!("without fault points: scripts/build --faults makes the binaries that have them");
    }
    let daemon = planned.unwrap_or_else(|| Daemon::start_in(disk, &args));
    let world = Arc::new(World {
        address: daemon.address(),
        mark: daemon.dir().display().to_string(),
        rootfs: root.join("rootfs").display().to_string(),
        lives: Mutex::default(),
        wrong: Mutex::default(),
        over: AtomicBool::new(false),
        starving: AtomicBool::new(false),
        faulty,
    });
    let before = check::Size::of(daemon.pid());
    let watcher = tokio::spawn(watch::follow(Arc::clone(&world)));
    let clients: Vec<_> = (0..options.clients)
        .map(|n| {
            let random = Random::new(options.seed.wrapping_mul(1000).wrapping_add(n));
            tokio::spawn(client::run(Arc::clone(&world), n, random))
        })
        .collect();
    let gremlin = {
        let (world, random, clock) = (Arc::clone(&world), Random::new(options.seed), options.clock);
        let end = Instant::now() + options.time;
        tokio::task::spawn_blocking(move || gremlin::run(&world, daemon, random, end, clock))
    };
    let Ok((mut daemon, done)) = gremlin.await else { return 1 };
    // From here on in peace, but for the shims that have read the plan.
    plan.end().unwrap_or_else(|e| unreachable(&e));
    if faulty {
        tokio::task::block_in_place(|| {
            daemon.kill();
            daemon.restart();
        });
    }
    world.over.store(true, Ordering::Relaxed);
    for client in clients {
        if client.await.is_err() {
            world.wrong("a client panicked".into());
        }
    }
    delete_all(&world).await;
    let told = watch::read_all(&world).await;
    let seen = watcher.await.unwrap_or_default();
    check::all(&world, &seen, &told);
    check::summary(&world, &done, &told);
    println!("faults: {:?}", plan.done());
    explain(&world, &daemon);
    let grown = !until(Duration::from_secs(10), || check::Size::of(daemon.pid()).is_near(&before));
    if grown {
        world.wrong(format!("the daemon has grown: {before:?}, now {:?}", check::Size::of(daemon.pid())));
    }
    audit(&world).await;
    let ids: Vec<String> = world.lives().keys().cloned().collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // Panics with a list when anything is left.
    let clean = tokio::task::block_in_place(|| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| daemon.finish(&ids)))
    });
    if clean.is_err() {
        world.wrong("something is left behind".into());
    }
    world.wrong.lock().map_or(1, |wrong| wrong.len())
}

/// What the daemon has logged of the containers with which something is wrong.
fn explain(world: &World, daemon: &Daemon) {
    let wrong = world.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = daemon.log();
    let lives = world.lives();
    for id in lives.keys().filter(|id| wrong.iter().any(|what| names(what, id))) {
        eprintln!("-- log about {id}");
        log.lines().filter(|line| names(line, id)).for_each(|line| eprintln!("{line}"));
    }
}

/// Whether a text has this name, and not only one that begins with it.
fn names(text: &str, id: &str) -> bool {
    text.split(id).skip(1).any(|rest| {
        rest.starts_with("-exec-") || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
    })
}

/// What clients could not delete any more: nothing of it may stay.
async fn delete_all(world: &World) {
    let mut containers = ContainersClient::new(world.channel());
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let Ok(list) = containers.list(ListRequest::default()).await else { continue };
        let list = list.into_inner().containers;
        if list.is_empty() && delete_sandboxes(world).await {
            return;
        }
        for container in list {
            let id = container.id;
            world.note(&id, |life| life.killed = true);
            let request = DeleteRequest { id: id.clone(), force: true, ..DeleteRequest::default() };
            if let Err(status) = containers.delete(request).await {
                eprintln!("delete {id} at the end: {status}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    world.wrong("containers could not be deleted within a minute of peace".into());
}

/// What the daemon itself calls nobody's must not be there either, once what is going has gone.
async fn audit(world: &World) {
    let mut system = SystemClient::new(world.channel());
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let told = match system.audit(AuditRequest::default()).await {
            Ok(answer) => answer.into_inner().findings,
            Err(status) => return world.wrong(format!("no audit at the end: {status}")),
        };
        if told.is_empty() {
            return;
        }
        if Instant::now() > end {
            for found in told {
                world.wrong(format!("orphan: {} {}: {}", found.kind, found.object, found.reason));
            }
            return;
        }
    }
}

/// The same of sandboxes; whether there is none any more.
async fn delete_sandboxes(world: &World) -> bool {
    let mut sandboxes = SandboxesClient::new(world.channel());
    let Ok(list) = sandboxes.list(ListSandboxesRequest::default()).await else { return false };
    let list = list.into_inner().sandboxes;
    for sandbox in &list {
        let request = DeleteSandboxRequest { id: sandbox.id.clone(), force: true, ..Default::default() };
        if let Err(status) = sandboxes.delete(request).await {
            eprintln!("delete sandbox {} at the end: {status}", sandbox.id);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    list.is_empty()
}
