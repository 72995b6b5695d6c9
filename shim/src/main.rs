//! `sextant-shim`: one process per container. It invokes the runtime, owns the
//! container's output and its journal, waits for its end, and answers
//! `sextant.shim.v1`. It outlives the manager and ends when the container is
//! deleted. When it is killed, another one takes over ([`adopt`]).
//!
//! The walk of a request: [`listen`] → [`service`] → [`task`] → [`runtime_cmd`];
//! of an exit: [`signals`] → [`reaper`] → [`task`] → [`journal`] → [`service`].

// Ahead of those that use its macro.
#[macro_use]
mod complain;

mod adopt;
mod args;
mod command;
mod console;
mod daemon;
mod error;
mod event;
mod execs;
mod faults;
mod hand;
mod init;
mod journal;
mod ledger;
mod listen;
mod log;
mod oom;
mod orphan;
mod pipe;
mod reaper;
mod report;
mod runtime_cmd;
mod service;
mod signals;
mod stdio;
mod streams;
mod sys;
mod task;

use crate::adopt::Held;
use crate::args::{Args, Config, Origin};
use crate::command::{Command, Snapshot};
use crate::error::{Attempted, Error, Result};
use crate::execs::Execs;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::listen::Socket;
use crate::log::Counters;
use crate::reaper::Reaper;
use crate::runtime_cmd::Runtime;
use crate::service::Service;
use crate::signals::{Notice, Signals};
use crate::streams::Current;
use crate::task::Task;
use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Commands that may wait for the container's task.
const COMMANDS: usize = 16;

/// Requests at once on one connection.
const STREAMS: u32 = 64;

/// How long answers may take to get out once the container is deleted.
const FAREWELL: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => return daemon::usage(&e),
    };
    match supervise(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain!("{}", e.line());
            ExitCode::FAILURE
        }
    }
}

/// The shim's life.
fn supervise(args: Args) -> Result<()> {
    sys::close_inherited().attempted(|| "close inherited descriptors".into())?;
    let config = args.check()?;
    faults::read_plan(&config.id).attempted(|| "read the plan of faults".into())?;
    daemon::detach()?;
    daemon::limit_files(config.nofile)?;
    let signals = signals::block()?;
    let held = match config.origin {
        Origin::New => Held::default(),
        Origin::Adopt => Held::receive()?,
    };
    let journal = open_journal(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .attempted(|| "start the event loop".into())?;
    let served = runtime.block_on(async {
        let signals = Signals::new(&signals)?;
        let socket = match config.origin {
            Origin::New => listen::bind(&config.socket_dir, &config.socket_name)?,
            Origin::Adopt => listen::replace(&config.socket_dir, &config.socket_name)?,
        };
        serve(config, journal, held, socket, signals).await
    });
    // A journal that is being synced keeps nobody waiting.
    runtime.shutdown_background();
    served
}

/// The journal: of a container that does not exist yet, or of one that has lost its shim.
fn open_journal(config: &Config) -> Result<Journal> {
    let path = config.dir.join("journal");
    let journal = Journal::open(&path)?;
    if config.origin == Origin::New && journal.last_seq() > 0 {
        let why = format!("it has {} records of an earlier shim", journal.last_seq());
        return Err(Error::new(format!("begin the journal {}", path.display()), why)
            .hint("take the container over with --adopt"));
    }
    Ok(journal)
}

/// Serves until the container is deleted, or until a SIGTERM when none lives.
async fn serve(config: Config, journal: Journal, held: Held, socket: Socket, signals: Signals) -> Result<()> {
    let reaper = Reaper::default();
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (origin, dir) = (config.origin, config.dir.clone());
    let (service, mut task) = compose(config, journal, &reaper, &commands);
    tokio::spawn(heed(signals, reaper, commands));
    if origin == Origin::Adopt {
        task.adopt(held).await?;
    }
    daemon::ready(&dir)?;
    let (connections, _place) = socket.connections();
    let (ended, end) = watch::channel(false);
    let container = tokio::spawn(task.run(inbox));
    let container = async {
        let result = container.await;
        ended.send_replace(true);
        result.attempted(|| "supervise the container".into())
    };
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .serve_with_incoming_shutdown(service.into_server(), connections, when(end.clone()));
    let answers = async {
        tokio::select! {
            served = server => served.attempted(|| "serve sextant.shim.v1".into()),
            () = async { when(end).await; tokio::time::sleep(FAREWELL).await } => Ok(()),
        }
    };
    tokio::try_join!(container, answers).map(drop)
}

/// The container's task, and the service that asks it.
fn compose(
    config: Config,
    journal: Journal,
    reaper: &Reaper,
    commands: &mpsc::Sender<Command>,
) -> (Service, Task) {
    let (publish, snapshot) = watch::channel(Snapshot::EMPTY);
    let counters = Arc::new(Counters::default());
    let ledger = Arc::new(Ledger::new(journal, publish));
    let streams = Current::new();
    let runtime = Runtime { binary: config.runtime, root: config.runtime_root, reaper: reaper.clone() };
    let execs = Execs::new(config.id.clone(), config.dir.clone(), runtime.clone(), Arc::clone(&ledger));
    let service = Service {
        id: config.id.clone(),
        bundle: config.bundle.to_string_lossy().into_owned(),
        journal: config.dir.join("journal"),
        ledger: Arc::clone(&ledger),
        counters: Arc::clone(&counters),
        streams: streams.clone(),
        execs: execs.clone(),
        commands: commands.clone(),
        snapshot,
    };
    let task = Task {
        id: config.id,
        bundle: config.bundle,
        dir: config.dir,
        runtime,
        ledger,
        log: config.log,
        streams,
        execs,
        counters,
        init: None,
        buried: false,
        begun: false,
        doubtful: false,
    };
    (service, task)
}

/// Returns when the container's task has ended.
async fn when(mut end: watch::Receiver<bool>) {
    // An error says that the sender is gone: it has ended as well.
    drop(end.wait_for(|ended| *ended).await);
}

/// Reaps at each SIGCHLD, and passes a SIGTERM on.
async fn heed(signals: Signals, reaper: Reaper, commands: mpsc::Sender<Command>) {
    // Whether children may have ended that no further signal tells of.
    let mut unswept = false;
    loop {
        let notice = if unswept { Ok(Notice::Child) } else { signals.next().await };
        unswept = false;
        let done = match notice {
            Ok(Notice::Child) => reaper.sweep().inspect_err(|_| unswept = true),
            Ok(Notice::Terminate) => {
                // A full queue means that the container is at work: the signal is ignored.
                drop(commands.try_send(Command::Terminate));
                Ok(())
            }
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            complain!("wait for children: {e}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
