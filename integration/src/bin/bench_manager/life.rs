//! One container's life through the API, step by step, beside the runtime alone and `ctr`.

use super::figures::{Times, table, ticks};
use super::{Options, copy_bundle, made_bundle};
use sextant_integration::calls::Client;
use sextant_integration::{Daemon, binary};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::{
    Container, CreateExecRequest, CreateRequest, DeleteRequest, RootfsSource, StartRequest, WaitExecRequest,
    WaitRequest,
};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds that are run first and not counted.
const WARM_UP: usize = 3;
/// Clients at once.
const CLIENTS: usize = 8;

fn request(options: &Options, id: &str, command: &[&str]) -> CreateRequest {
    let source = RootfsSource {
        rootfs: options.rootfs.clone(),
        command: command.iter().map(ToString::to_string).collect(),
        ..RootfsSource::default()
    };
    CreateRequest { id: id.into(), source: Some(Source::Rootfs(source)), ..CreateRequest::default() }
}

pub(crate) fn said(what: &str) -> impl Fn(tonic::Status) -> String {
    move |status| format!("{what}: {status}")
}

/// Creates and starts one.
pub(crate) async fn up(
    client: &mut Client,
    options: &Options,
    id: &str,
    command: &[&str],
) -> Result<Container, String> {
    client.create(request(options, id, command)).await.map_err(said("create"))?;
    let request = StartRequest { id: id.into(), ..Default::default() };
    let started = client.start(request).await.map_err(said("start"))?;
    Ok(started.into_inner().container.unwrap_or_default())
}

/// Deletes one, whatever it does.
pub(crate) async fn remove(client: &mut Client, id: &str) -> Result<(), String> {
    let request = DeleteRequest { id: id.into(), force: true, ..Default::default() };
    client.delete(request).await.map(drop).map_err(said("delete"))
}

/// Creates, starts, waits for and deletes one; how long each took.
async fn live(client: &mut Client, options: &Options, id: &str) -> Result<[Duration; 4], String> {
    let mut steps = [Duration::ZERO; 4];
    let mut before = Instant::now();
    let mut step = |n: usize| {
        let now = Instant::now();
        if let Some(step) = steps.get_mut(n) {
            *step = now - before;
        }
        before = now;
    };
    client.create(request(options, id, &["/bin/true"])).await.map_err(said("create"))?;
    step(0);
    client.start(StartRequest { id: id.into(), ..Default::default() }).await.map_err(said("start"))?;
    step(1);
    client.wait(WaitRequest { id: id.into(), ..Default::default() }).await.map_err(said("wait"))?;
    step(2);
    client.delete(DeleteRequest { id: id.into(), ..Default::default() }).await.map_err(said("delete"))?;
    step(3);
    Ok(steps)
}

fn run(words: &[String]) -> Result<Duration, String> {
    let (program, args) = words.split_first().ok_or("no command")?;
    let begin = Instant::now();
    let mut command = Command::new(program);
    let status = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(begin.elapsed()),
        Ok(status) => Err(format!("{words:?}: {status}")),
        Err(e) => Err(format!("{words:?}: {e}")),
    }
}

fn runtime(daemon: &Daemon, words: &[&str]) -> Vec<String> {
    let root = daemon.dir().join("plain").display().to_string();
    let program = binary("sextant-runtime").display().to_string();
    [&[program.as_str(), "--root", root.as_str()], words].concat().iter().map(ToString::to_string).collect()
}

/// Lives of `/bin/true`, one after the other.
pub(crate) async fn lives(daemon: &Daemon, options: &Options) -> Result<String, String> {
    let mut client = daemon.containers().await;
    let bundle = daemon.dir().join("bundle");
    client.create(request(options, "it-bench-first", &["/bin/true"])).await.map_err(said("create"))?;
    copy_bundle(&made_bundle(daemon, "it-bench-first"), &bundle, "it-bench-first")?;
    remove(&mut client, "it-bench-first").await?;
    let bundle = bundle.display().to_string();
    let names =
        ["sextant-runtime run", "through gRPC, all four calls", "– create", "– start", "– wait", "– delete"];
    let mut subjects: Vec<Times> = names.into_iter().map(Times::of).collect();
    if !options.ctr.is_empty() {
        subjects.push(Times::of("ctr run"));
    }
    for round in 0..WARM_UP + options.count {
        let id = format!("it-bench-{round}");
        let plain = run(&runtime(daemon, &["run", "--bundle", &bundle, &id]))?;
        let steps = live(&mut client, options, &id).await?;
        let mut taken = vec![plain, steps.iter().sum()];
        taken.extend(steps);
        if !options.ctr.is_empty() {
            let words = ["run", "--rm", "--rootfs", &options.rootfs, &id, "/bin/true"].map(str::to_owned);
            taken.push(run(&[options.ctr.as_slice(), &words].concat())?);
        }
        if round >= WARM_UP {
            subjects.iter_mut().zip(taken).for_each(|(subject, time)| subject.add(time));
        }
    }
    Ok(table(&mut subjects))
}

/// Execs of `/bin/true` in one container.
pub(crate) async fn execs(daemon: &Daemon, options: &Options) -> Result<String, String> {
    let (mut client, mut execs) = (daemon.containers().await, daemon.execs().await);
    let id = "it-bench-exec";
    up(&mut client, options, id, &["/bin/sleep", "1000"]).await?;
    let root = daemon.dir().join("state/runtime").display().to_string();
    let program = binary("sextant-runtime").display().to_string();
    let plain = [program.as_str(), "--root", &root, "exec", id, "/bin/true"].map(str::to_owned);
    let mut subjects = vec![Times::of("sextant-runtime exec"), Times::of("through gRPC, create and wait")];
    if !options.ctr.is_empty() {
        subjects.push(Times::of("ctr task exec"));
        let words = ["run", "-d", "--rootfs", &options.rootfs, id, "/bin/sleep", "1000"].map(str::to_owned);
        run(&[options.ctr.as_slice(), &words].concat())?;
    }
    for round in 0..WARM_UP + options.count {
        let mut taken = vec![run(&plain)?];
        let begin = Instant::now();
        let request = CreateExecRequest {
            container: id.into(),
            command: vec!["/bin/true".into()],
            ..CreateExecRequest::default()
        };
        let exec = execs.create(request).await.map_err(said("exec"))?.into_inner().exec;
        let exec = exec.map(|exec| exec.id).ok_or("no exec")?;
        execs.wait(WaitExecRequest { container: id.into(), exec }).await.map_err(said("wait"))?;
        taken.push(begin.elapsed());
        if !options.ctr.is_empty() {
            let number = round.to_string();
            let words = ["task", "exec", "--exec-id", &number, id, "/bin/true"].map(str::to_owned);
            taken.push(run(&[options.ctr.as_slice(), &words].concat())?);
        }
        if round >= WARM_UP {
            subjects.iter_mut().zip(taken).for_each(|(subject, time)| subject.add(time));
        }
    }
    if !options.ctr.is_empty() {
        let words = ["task", "rm", "--force", id].map(str::to_owned);
        run(&[options.ctr.as_slice(), &words].concat())?;
        run(&[options.ctr.as_slice(), &["container".into(), "rm".into(), id.into()]].concat())?;
    }
    remove(&mut client, id).await?;
    Ok(table(&mut subjects))
}

/// Lives of `/bin/true`, of several clients at once, each with a connection of its own.
pub(crate) async fn clients(daemon: &Daemon, options: &Options) -> Result<String, String> {
    let mut lines = vec![
        "| clients | lives a second | median ms | p99 | CPU ms of the daemon and its children a life |"
            .to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    for clients in [1, CLIENTS] {
        let before = ticks(daemon.pid());
        let begin = Instant::now();
        let each = options.count.div_ceil(clients);
        let mut all = Times::of("");
        let mut tasks = Vec::new();
        for number in 0..clients {
            let mut client = daemon.containers().await;
            let options = options.clone();
            tasks.push(tokio::spawn(async move {
                let mut taken = Vec::new();
                for life in 0..each {
                    let id = format!("it-bench-{clients}-{number}-{life}");
                    taken.push(live(&mut client, &options, &id).await?.iter().sum::<Duration>());
                }
                Ok::<_, String>(taken)
            }));
        }
        for task in tasks {
            all.extend(task.await.map_err(|e| e.to_string())??);
        }
        let lives = u32::try_from(each * clients).unwrap_or(1);
        let rate = f64::from(lives) / begin.elapsed().as_secs_f64();
        let cpu =
            f64::from(u32::try_from(ticks(daemon.pid()) - before).unwrap_or(0)) * 10.0 / f64::from(lives);
        lines.push(format!("| {clients} | {rate:.0} | {:.1} | {:.1} | {cpu:.1} |", all.at(500), all.at(990)));
    }
    Ok(lines.join("\n"))
}
