//! Containers of a sandbox: they share what was asked for, and both orders of deletion work.

use super::{Answer, One, ask, is_step};
use crate::Life;
use sextant_integration::random::Random;
use sextant_proto::v1::sandboxes_client::SandboxesClient;
use sextant_proto::v1::{
    CreateRequest, CreateSandboxRequest, DeleteSandboxRequest, GetRequest, SharedNamespaces, Status,
};
use std::os::unix::fs::MetadataExt;
use tonic::Code;

impl One<'_> {
    /// A sandbox, one or two containers in it, and its end.
    pub(super) async fn live_together(&mut self, random: &mut Random) {
        let sandbox = format!("{}-box", self.id);
        let mut some = || random.once_in(2);
        let shared = SharedNamespaces { network: some(), ipc: some(), uts: true, user: some(), pid: false };
        let pid = random.once_in(4);
        // Who has none of a user namespace's rights may not mount what shows the others.
        let user = shared.user || shared.network || pid;
        let shared = SharedNamespaces { pid, user, ..shared };
        if pid {
            // Its init is a container of this name, of which events tell.
            self.world.note(&sandbox, |life| *life = Life { inner: true, ..Life::default() });
        }
        if !self.make_sandbox(random, &sandbox, shared).await {
            return;
        }
        let first = self.id.clone();
        let count = 1 + random.below(2);
        let mut pids = Vec::new();
        for number in 0..count {
            self.id = format!("{first}-{number}");
            pids.extend(self.join(random, &sandbox).await);
        }
        if let [one, other] = pids.as_slice() {
            self.compare(*one, *other, shared);
        }
        // A sandbox with containers stays, unless they are to go with it.
        let force = random.once_in(2);
        for number in 0..count {
            self.id = format!("{first}-{number}");
            if force {
                self.world.note(&self.id, |life| life.killed = true);
            } else {
                self.delete(random).await;
            }
        }
        self.remove_sandbox(random, &sandbox, force).await;
    }

    async fn make_sandbox(&self, random: &mut Random, id: &str, shared: SharedNamespaces) -> bool {
        let sandboxes = SandboxesClient::new(self.world.channel());
        let request = CreateSandboxRequest { id: id.into(), shared: Some(shared), ..Default::default() };
        let call = |request| {
            let mut sandboxes = sandboxes.clone();
            async move { sandboxes.create(request).await }
        };
        match ask(self.world, random, &format!("make sandbox {id}"), call, request).await {
            Some(Answer::Yes(_)) => true,
            // An earlier attempt is at it, has done it, or is undone.
            Some(Answer::No(status)) if status.code() == Code::AlreadyExists => true,
            Some(Answer::No(status)) if is_step(&status) => false,
            Some(Answer::No(status)) => {
                self.world.wrong(format!("make sandbox {id}: {status}"));
                false
            }
            None => false,
        }
    }

    /// A container in it that runs for long; the pid of its init, if it has come to that.
    async fn join(&mut self, random: &mut Random, sandbox: &str) -> Option<i32> {
        let code = i32::try_from(random.below(120)).unwrap_or(0);
        let faulty = self.world.faulty;
        self.world.note(&self.id, |life| *life = Life { code, faulty, ..Life::default() });
        let time = 500 + random.below(1500);
        let request = CreateRequest { sandbox: sandbox.into(), ..self.request(random, time, code, 0) };
        if !self.create(random, request).await {
            return None;
        }
        self.start(random).await;
        let request = GetRequest { id: self.id.clone(), ..GetRequest::default() };
        let got = self.ask(random, "get", |mut c, r| async move { c.get(r).await }, request).await;
        let Some(Answer::Yes(answer)) = got else { return None };
        answer.container.filter(|c| c.status() == Status::Running).map(|c| c.pid).filter(|pid| *pid > 0)
    }

    /// What two inits share is what was asked for. One that has ended meanwhile says nothing.
    fn compare(&self, one: i32, other: i32, shared: SharedNamespaces) {
        let inode =
            |pid: i32, name: &str| std::fs::metadata(format!("/proc/{pid}/ns/{name}")).map(|m| m.ino()).ok();
        let asked =
            [("net", shared.network), ("ipc", shared.ipc), ("uts", shared.uts), ("user", shared.user)];
        for (name, wanted) in asked {
            let (Some(first), Some(second)) = (inode(one, name), inode(other, name)) else { return };
            // A container that joins nothing of a user namespace has one of its own.
            if (first == second) != wanted {
                self.world.wrong(format!(
                    "{}: {name} is shared: {}, asked for: {shared:?}",
                    self.id,
                    first == second
                ));
            }
        }
    }

    async fn remove_sandbox(&self, random: &mut Random, id: &str, force: bool) {
        let sandboxes = SandboxesClient::new(self.world.channel());
        let call = |request| {
            let mut sandboxes = sandboxes.clone();
            async move { sandboxes.delete(request).await }
        };
        let request = DeleteSandboxRequest { id: id.into(), force, ..Default::default() };
        match ask(self.world, random, &format!("delete sandbox {id}"), call, request).await {
            Some(Answer::No(status)) if !is_step(&status) && status.code() != Code::NotFound => {
                self.world.wrong(format!("delete sandbox {id}: {status}"));
            }
            // What a gremlin has kept is deleted at the end.
            _ => {}
        }
    }
}
