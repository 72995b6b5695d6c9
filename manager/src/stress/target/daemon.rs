//! sextantd, over `sextant.v1`.

use super::super::leaks::Leak;
use super::again::{Again, Asked, Deadline, Killed};
use super::source::{Bundles, Source};
use super::{Doing, Ended, Facts, Fault, Target, Verb, Wish};
use sextant_proto::client::{Client, Error, Heard, Reason};
use sextant_proto::v1::create_request::Source as Wire;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    AttachOpen, AuditFinding, AuditRequest, CreateExecRequest, CreateRequest, CreateSandboxRequest,
    DeleteRequest, DeleteSandboxRequest, Exit, InfoRequest, KillRequest, Limits, ListRequest,
    ListSandboxesRequest, LogsRequest, RootfsSource, SlowClient, StartRequest, StatsRequest, TraceRequest,
    WaitExecRequest, WaitRequest, attach_open,
};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::Status;

/// The label of everything that a run makes; its value is the run's id.
const LABEL: &str = "sextant.stress";
/// Times that a clean-up begins again when something has come meanwhile.
const ROUNDS: usize = 20;

/// The daemon at one address.
#[derive(Debug)]
pub(crate) struct Daemon {
    connections: Vec<Client>,
    next: AtomicUsize,
    address: String,
    run: String,
    rootfs: PathBuf,
    /// Where containers are to be made of a bundle.
    bundles: Option<Bundles>,
    again: Again,
}

impl Daemon {
    /// The daemon behind these connections.
    ///
    /// # Errors
    /// A sentence: about the bundle.
    pub(crate) fn new(
        connections: Vec<Client>,
        address: String,
        run: &str,
        source: &Source,
        killed: Killed,
    ) -> Result<Self, String> {
        let bundles = match source {
            Source::Bundle(_) => Some(Bundles::new(source)?),
            Source::Rootfs(_) => None,
        };
        let (rootfs, run, again) = (source.rootfs()?, run.to_owned(), Again::new(killed));
        Ok(Self { connections, next: AtomicUsize::new(0), address, run, rootfs, bundles, again })
    }

    /// One of the connections, in turn.
    fn client(&self) -> Client {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let chosen = self.connections.get(turn % self.connections.len().max(1));
        chosen.or(self.connections.first()).cloned().unwrap_or_else(|| unreachable!("there is a connection"))
    }

    fn key(&self, verb: &str, id: &str) -> String {
        if self.again.has_keys() { format!("{verb}-{id}") } else { String::new() }
    }

    /// Asks, and asks again where who is killed on purpose took the call with it.
    async fn ask<Q: Clone, T, F>(
        &self,
        operation: &'static str,
        request: Q,
        call: impl Fn(Client, Q) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        self.ask_until(operation, request, &mut Deadline::default(), call).await.map_err(fault)
    }

    /// The same; the deadline tells whether it was asked more than once.
    async fn ask_until<Q: Clone, T, F>(
        &self,
        operation: &'static str,
        request: Q,
        deadline: &mut Deadline,
        call: impl Fn(Client, Q) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        loop {
            match call(self.client(), request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => self.again.wait(operation, status.into(), deadline).await?,
            }
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.run.clone())])
    }

    fn request(&self, wish: &Wish) -> Result<CreateRequest, Fault> {
        let source = match &self.bundles {
            Some(bundles) => Wire::Bundle(bundles.of(wish)?.display().to_string()),
            None => Wire::Rootfs(RootfsSource {
                rootfs: self.rootfs.display().to_string(),
                command: wish.command.clone(),
                limits: Some(Limits { memory_bytes: wish.memory, cpu_millis: 0, pids: wish.pids }),
                ..RootfsSource::default()
            }),
        };
        Ok(CreateRequest {
            id: wish.id.clone(),
            source: Some(source),
            labels: self.labels(),
            stdin: wish.stdin,
            sandbox: wish.sandbox.clone().unwrap_or_default(),
            idempotency_key: self.key("create", &wish.id),
            ..CreateRequest::default()
        })
    }

    async fn clean_once(&self) -> Result<usize, Fault> {
        let ids = self.ours().await?;
        for id in &ids {
            let gone = self.delete(id, true).await;
            gone.or_else(|fault| if fault.cause == "CONTAINER_NOT_FOUND" { Ok(()) } else { Err(fault) })?;
        }
        let request = ListSandboxesRequest { labels: self.labels(), ..Default::default() };
        let sandboxes =
            self.ask("clean-up", request, |mut client, request| async move {
                client.sandboxes.list(request).await
            })
            .await;
        let sandboxes = match sandboxes {
            Ok(answer) => answer.sandboxes,
            // An older daemon has none.
            Err(fault) if fault.cause == "Unimplemented" => Vec::new(),
            Err(fault) => return Err(fault),
        };
        for sandbox in &sandboxes {
            self.remove_sandbox(&sandbox.id).await?;
        }
        Ok(ids.len() + sandboxes.len())
    }
}

/// What an error of the client is here.
fn fault(error: Error) -> Fault {
    let message = error.to_string();
    match error {
        Error::Refused(refusal) => {
            let reason = match refusal.reason.as_str() {
                "" => format!("{:?}", refusal.code()),
                reason => reason.to_owned(),
            };
            Fault::new(reason, message)
        }
        Error::Away(_) => Fault::new("AWAY", message),
        _ => Fault::new("CONNECT", message),
    }
}

fn ended(exit: Option<Exit>) -> Ended {
    match exit.and_then(|exit| exit.how) {
        Some(How::Code(code)) => Ended::Code(code),
        Some(How::Signal(signal)) => Ended::Signal(signal),
        Some(How::Unknown(_)) | None => Ended::Unknown,
    }
}

impl Target for Daemon {
    fn facts(&self) -> Doing<'_, Facts> {
        Box::pin(async {
            let info = self
                .ask("info", InfoRequest {}, |mut client, request| async move {
                    client.system.info(request).await
                })
                .await?;
            let below = |dir: &str, name: &str| PathBuf::from(dir).join(name);
            Ok(Facts {
                kind: "sextantd",
                version: format!("sextantd {}", info.version),
                address: self.address.clone(),
                manager: Some(info.pid),
                fault_plan: Some(info.fault_plan).filter(|file| !file.is_empty()).map(PathBuf::from),
                directories: vec![
                    below(&info.root, "containers"),
                    below(&info.root, "sandboxes"),
                    below(&info.state, "containers"),
                    below(&info.state, "runtime"),
                    below(&info.state, "shims"),
                ],
                remarks: Vec::new(),
            })
        })
    }

    fn orphans(&self) -> Doing<'_, Vec<Leak>> {
        Box::pin(async {
            let audit = self.ask("audit", AuditRequest::default(), |mut client, request| async move {
                client.system.audit(request).await
            });
            let findings = match audit.await {
                Ok(answer) => answer.findings,
                // An older daemon has none.
                Err(fault) if fault.cause == "Unimplemented" => Vec::new(),
                Err(fault) => return Err(fault),
            };
            let leak =
                |found: AuditFinding| Leak { kind: found.kind, name: found.object, reason: found.reason };
            Ok(findings.into_iter().map(leak).collect())
        })
    }

    fn lacks(&self, verb: Verb) -> Option<String> {
        let bundle = self.bundles.is_some() && verb == Verb::Sandbox;
        bundle.then(|| "a bundle says itself in which namespaces it is: use --rootfs".to_owned())
    }

    fn create<'a>(&'a self, wish: &'a Wish) -> Doing<'a, ()> {
        Box::pin(async {
            let request = self.request(wish)?;
            self.ask("create", request, |mut client, request| async move {
                client.containers.create(request).await
            })
            .await
            .map(drop)
        })
    }

    fn start<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let request = StartRequest { id: id.to_owned(), idempotency_key: self.key("start", id) };
            self.ask(
                "start",
                request,
                |mut client, request| async move { client.containers.start(request).await },
            )
            .await
            .map(drop)
        })
    }

    fn wait<'a>(&'a self, id: &'a str) -> Doing<'a, Ended> {
        Box::pin(async {
            let request = WaitRequest { id: id.to_owned(), ..Default::default() };
            let answer =
                self.ask("wait", request, |mut client, request| async move {
                    client.containers.wait(request).await
                })
                .await?;
            Ok(ended(answer.exit))
        })
    }

    fn kill<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let request = KillRequest { id: id.to_owned(), signal: nix::libc::SIGKILL, all: false };
            let mut deadline = Deadline::default();
            let killed = self
                .ask_until("kill", request, &mut deadline, |mut client, request| async move {
                    client.containers.kill(request).await
                })
                .await;
            match killed {
                // The first one has come, and its answer has not.
                Err(error) if deadline.is_set() && error.reason() == Some(&Reason::WrongStatus) => Ok(()),
                answer => answer.map(drop).map_err(fault),
            }
        })
    }

    fn delete<'a>(&'a self, id: &'a str, force: bool) -> Doing<'a, ()> {
        Box::pin(async move {
            let request = DeleteRequest { id: id.to_owned(), force, idempotency_key: self.key("delete", id) };
            self.ask("delete", request, |mut client, request| async move {
                client.containers.delete(request).await
            })
            .await
            .map(drop)
        })
    }

    fn ours(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async {
            let request = ListRequest { labels: self.labels(), ..Default::default() };
            let answer = self
                .ask("clean-up", request, |mut client, request| async move {
                    client.containers.list(request).await
                })
                .await?;
            Ok(answer.containers.into_iter().map(|container| container.id).collect())
        })
    }

    fn exec<'a>(&'a self, id: &'a str, command: &'a [String]) -> Doing<'a, Ended> {
        Box::pin(async {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let request = CreateExecRequest {
                container: id.to_owned(),
                command: command.to_vec(),
                idempotency_key: self.key(&format!("exec-{number}"), id),
                ..CreateExecRequest::default()
            };
            let made = self
                .ask("exec", request, |mut client, request| async move { client.execs.create(request).await })
                .await?;
            let exec = made.exec.unwrap_or_default().id;
            let request = WaitExecRequest { container: id.to_owned(), exec };
            let answer = self
                .ask("exec", request, |mut client, request| async move { client.execs.wait(request).await })
                .await?;
            Ok(ended(answer.exit))
        })
    }

    fn list(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let all = ListRequest::default();
            let answer = self
                .ask("list", all, |mut client, all| async move { client.containers.list(all).await })
                .await?;
            Ok(answer.containers.len())
        })
    }

    fn stats(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let all = StatsRequest::default();
            let answer = self
                .ask("stats", all, |mut client, all| async move { client.containers.stats(all).await })
                .await?;
            Ok(answer.samples.len())
        })
    }

    fn logs<'a>(&'a self, id: &'a str) -> Doing<'a, u64> {
        Box::pin(async {
            let mut request = LogsRequest { id: id.to_owned(), follow: true, ..Default::default() };
            let (mut bytes, mut deadline) = (0, Deadline::default());
            // What is left is asked for again, so that each byte comes once.
            loop {
                let mut log = match self.client().containers.logs(request.clone()).await {
                    Ok(log) => log.into_inner(),
                    Err(status) => {
                        self.again.wait("logs", status.into(), &mut deadline).await.map_err(fault)?;
                        continue;
                    }
                };
                let error = loop {
                    match log.message().await {
                        Ok(Some(entry)) => {
                            bytes += u64::try_from(entry.data.len()).unwrap_or(0);
                            (request.offset, deadline) = (entry.next_offset, Deadline::default());
                        }
                        Ok(None) => return Ok(bytes),
                        Err(status) => break Error::from(status),
                    }
                };
                self.again.wait("logs", error, &mut deadline).await.map_err(fault)?;
            }
        })
    }

    fn attach<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let open = AttachOpen {
                container: id.to_owned(),
                slow: SlowClient::Block.into(),
                from: Some(attach_open::From::ReplayBytes(0)),
                ..AttachOpen::default()
            };
            let (input, mut output) = self.client().attach(open, None).await.map_err(fault)?;
            let line = format!("attach {}\n", self.next.fetch_add(1, Ordering::Relaxed));
            input.stdin(line.as_bytes()).await;
            let mut seen = Vec::new();
            while let Some(heard) = output.next().await.map_err(fault)? {
                if let Heard::Output(piece) = heard {
                    seen.extend_from_slice(&piece.data);
                    if seen.windows(line.len()).any(|part| part == line.as_bytes()) {
                        return Ok(());
                    }
                }
            }
            Err(Fault::new("NO_ECHO", "the stream ended before the line came back"))
        })
    }

    fn make_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let request = CreateSandboxRequest {
                id: id.to_owned(),
                labels: self.labels(),
                idempotency_key: self.key("sandbox", id),
                ..CreateSandboxRequest::default()
            };
            self.ask("sandbox-create", request, |mut client, request| async move {
                client.sandboxes.create(request).await
            })
            .await
            .map(drop)
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async {
            let request = DeleteSandboxRequest {
                id: id.to_owned(),
                force: true,
                idempotency_key: self.key("remove", id),
            };
            self.ask("sandbox-delete", request, |mut client, request| async move {
                client.sandboxes.delete(request).await
            })
            .await
            .map(drop)
        })
    }

    fn stages<'a>(&'a self, id: &'a str) -> Doing<'a, Vec<(String, Duration)>> {
        Box::pin(async {
            let answer = self
                .ask("trace", TraceRequest { id: id.to_owned() }, |mut client, request| async move {
                    client.containers.trace(request).await
                })
                .await?;
            let mut stages: BTreeMap<String, Duration> = BTreeMap::new();
            for record in answer.stages {
                let took = Duration::from_nanos(record.end_ns.saturating_sub(record.start_ns));
                *stages.entry(stage_name(&record.command, &record.stage)).or_default() += took;
            }
            Ok(stages.into_iter().collect())
        })
    }

    fn again(&self) -> Vec<Asked> {
        self.again.all()
    }

    fn marks(&self) -> Vec<String> {
        vec![format!("stress-{}-", self.run)]
    }

    fn clean(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let mut removed = 0;
            for _ in 0..ROUNDS {
                match self.clean_once().await? {
                    0 => return Ok(removed),
                    some => removed += some,
                }
            }
            Ok(removed)
        })
    }
}

/// `create/mount` of the command `create` and the stage `mount/3`.
fn stage_name(command: &str, stage: &str) -> String {
    let words = stage.split('/').filter(|word| word.parse::<u32>().is_err());
    std::iter::once(command).chain(words).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_no_numbers() {
        assert_eq!(stage_name("create", "mount/3"), "create/mount");
        assert_eq!(stage_name("start", "hook-poststart/0"), "start/hook-poststart");
    }

    #[test]
    fn a_fault_is_known_by_its_reason_or_its_code() {
        assert_eq!(fault(Error::from(Status::unavailable("gone"))).cause, "AWAY");
        assert_eq!(fault(Error::from(Status::not_found("none"))).cause, "NotFound");
    }
}
