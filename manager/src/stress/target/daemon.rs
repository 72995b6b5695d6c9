//! sextantd, over `sextant.v1`: each operation a call ([`ask`]), or more than one answer ([`streams`]); what it
//! tells of itself ([`told`]), and what is removed at the end ([`clean`]).

mod ask;
mod clean;
mod streams;
mod told;

use super::super::leaks::Leak;
use super::again::{Again, Asked, Deadline, Killed};
use super::source::{Bundles, Source};
use super::{Doing, Ended, Facts, Fault, Target, Verb, Wish};
use ask::fault;
use sextant_proto::client::{Client, Reason};
use sextant_proto::v1::create_request::Source as Wire;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    CreateExecRequest, CreateRequest, CreateSandboxRequest, DeleteRequest, DeleteSandboxRequest, Exit,
    KillRequest, Limits, ListRequest, RootfsSource, StartRequest, StatsRequest, WaitExecRequest, WaitRequest,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The label of everything that a run makes; its value is the run's id.
const LABEL: &str = "sextant.stress";

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
        Box::pin(self.tell())
    }

    fn orphans(&self) -> Doing<'_, Vec<Leak>> {
        Box::pin(self.find_orphans())
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
        Box::pin(self.read_log(id))
    }

    fn attach<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(self.see_echo(id))
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
        Box::pin(self.time_stages(id))
    }

    fn again(&self) -> Vec<Asked> {
        self.again.all()
    }

    fn marks(&self) -> Vec<String> {
        vec![format!("stress-{}-", self.run)]
    }

    fn clean(&self) -> Doing<'_, usize> {
        Box::pin(self.remove_all())
    }
}
