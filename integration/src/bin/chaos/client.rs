//! A client: one life of a container after the other, with impatience, and with
//! repetition of whatever was not answered.

mod again;
mod beside;
mod sandbox;

use super::World;
use sextant_integration::random::Random;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::{
    CreateRequest, DeleteRequest, KillRequest, LogOptions, LogsRequest, RootfsSource, StartRequest,
    StopRequest, WaitRequest,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// Longer than whatever happens to a container takes, and it is an answer that is lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// Until chaos is over.
pub(super) async fn run(world: Arc<World>, number: u64, mut random: Random) {
    let mut life = 0;
    while !world.over.load(Ordering::Relaxed) {
        let id = format!("it-chaos-{}-{number}-{life}", std::process::id());
        life += 1;
        let mut one = One { containers: ContainersClient::new(world.channel()), world: &world, id };
        match random.below(6) {
            0 => one.live_again(&mut random).await,
            1 => one.live_together(&mut random).await,
            _ => one.live(&mut random).await,
        }
    }
}

/// One container, as its client sees it.
struct One<'a> {
    containers: ContainersClient<Channel>,
    world: &'a World,
    id: String,
}

/// What became of a call that was repeated until it was answered.
enum Answer<T> {
    Yes(T),
    /// Refused, with its reason.
    No(Status),
}

impl One<'_> {
    async fn live(&mut self, random: &mut Random) {
        let code = i32::try_from(random.below(120)).unwrap_or(0);
        let time = random.below(1500);
        let starved = self.world.starving.load(Ordering::Relaxed);
        // Some write so much that their logs are rotated.
        let pad = if random.once_in(3) { 2000 } else { 0 };
        self.world.note(&self.id, |life| {
            (life.code, life.starved, life.pad, life.faulty) = (code, starved, pad, self.world.faulty);
        });
        let request = self.request(random, time, code, pad);
        if !self.create(random, request).await {
            return;
        }
        if !random.once_in(10) {
            self.start(random).await;
            for _ in 0..random.below(3) {
                self.beside(random).await;
            }
            self.end(random).await;
        }
        self.delete(random).await;
    }

    /// For one that writes lines for a time.
    fn request(&self, random: &mut Random, time: u64, code: i32, pad: usize) -> CreateRequest {
        let source = RootfsSource {
            rootfs: self.world.rootfs.clone(),
            command: ["/bin/probe", "work", &time.to_string(), &code.to_string(), &pad.to_string()]
                .map(str::to_owned)
                .into(),
            ..RootfsSource::default()
        };
        let log = LogOptions {
            // As small as they may be; nothing of it goes before it was compared.
            max_file_bytes: 64 << 10,
            max_files: 100,
            ..LogOptions::default()
        };
        CreateRequest {
            id: self.id.clone(),
            log: random.once_in(2).then_some(log),
            source: Some(Source::Rootfs(source)),
            idempotency_key: if random.once_in(3) { String::new() } else { format!("{}-create", self.id) },
            ..CreateRequest::default()
        }
    }

    /// Whether there is a container then.
    async fn create(&mut self, random: &mut Random, request: CreateRequest) -> bool {
        let joins = !request.sandbox.is_empty();
        match self.ask(random, "create", |mut c, r| async move { c.create(r).await }, request).await {
            Some(Answer::Yes(_)) => self.world.note(&self.id, |life| life.created = true),
            // An earlier attempt did it, whose answer did not come; or is at it, and may fail yet.
            Some(Answer::No(status)) if status.code() == Code::AlreadyExists => {}
            // A gremlin was at it, or at its sandbox; then nothing is left, which is checked at the end.
            Some(Answer::No(status)) if is_step(&status) => return false,
            Some(Answer::No(status)) if joins && status.code() == Code::NotFound => return false,
            Some(Answer::No(status)) => {
                self.world.wrong(format!("create {}: {status}", self.id));
                return false;
            }
            None => return false,
        }
        true
    }

    async fn start(&mut self, random: &mut Random) {
        let request = StartRequest {
            id: self.id.clone(),
            // Without a key, one whose answer did not come would begin a second life of a container that has ended.
            idempotency_key: format!("{}-start", self.id),
        };
        match self.ask(random, "start", |mut c, r| async move { c.start(r).await }, request).await {
            Some(Answer::Yes(_)) => self.world.note(&self.id, |life| life.started = true),
            // It was started by an attempt whose answer did not come; or a gremlin was at it.
            Some(Answer::No(status)) if is_step(&status) || status.code() == Code::NotFound => {}
            Some(Answer::No(status)) => self.world.wrong(format!("start {}: {status}", self.id)),
            None => {}
        }
    }

    /// Waits for the exit, which it may bring about; and reads the log.
    async fn end(&mut self, random: &mut Random) {
        if random.once_in(3) {
            tokio::time::sleep(Duration::from_millis(random.below(800))).await;
            self.world.note(&self.id, |life| life.killed = true);
            let id = self.id.clone();
            if random.once_in(2) {
                let request = KillRequest { id, signal: 9, all: random.once_in(2) };
                self.ask(random, "kill", |mut c, r| async move { c.kill(r).await }, request).await;
            } else {
                let request = StopRequest {
                    id,
                    grace: Some(prost_types::Duration::default()),
                    ..StopRequest::default()
                };
                self.ask(random, "stop", |mut c, r| async move { c.stop(r).await }, request).await;
            }
        }
        if !self.world.lives().get(&self.id).is_some_and(|life| life.started) {
            return;
        }
        let request = WaitRequest { id: self.id.clone(), ..Default::default() };
        match self.ask(random, "wait", |mut c, r| async move { c.wait(r).await }, request).await {
            Some(Answer::Yes(answer)) => {
                let how = answer.exit.and_then(|exit| exit.how);
                if how.is_none() {
                    self.world.wrong(format!("wait {}: an exit without a status", self.id));
                }
                self.world.note(&self.id, |life| life.exit = how);
            }
            Some(Answer::No(status)) => self.world.wrong(format!("wait {}: {status}", self.id)),
            None => return,
        }
        let log = self.log().await;
        self.world.note(&self.id, |life| life.log = log);
    }

    async fn log(&mut self) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.read_log().await {
                Ok(log) => return Some(log),
                Err(status) if is_for_now(&status) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(status) => {
                    self.world.wrong(format!("logs {}: {status}", self.id));
                    return None;
                }
            }
        }
        self.world.wrong(format!("logs {}: no answer", self.id));
        None
    }

    async fn read_log(&mut self) -> Result<String, Status> {
        let request = LogsRequest { id: self.id.clone(), ..LogsRequest::default() };
        let mut stream = self.containers.logs(request).await?.into_inner();
        let mut log = Vec::new();
        while let Some(entry) = stream.message().await? {
            log.extend(entry.data);
        }
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    async fn delete(&mut self, random: &mut Random) {
        let force =
            random.once_in(2) || self.world.lives().get(&self.id).is_none_or(|life| life.exit.is_none());
        if force {
            self.world.note(&self.id, |life| life.killed |= life.exit.is_none());
        }
        let request = DeleteRequest { id: self.id.clone(), force, ..DeleteRequest::default() };
        match self.ask(random, "delete", |mut c, r| async move { c.delete(r).await }, request).await {
            Some(Answer::Yes(_)) => {}
            Some(Answer::No(status)) if status.code() == Code::NotFound => {}
            Some(Answer::No(status)) => {
                // A gremlin was at it: what is left is deleted at the end.
                if !is_step(&status) {
                    self.world.wrong(format!("delete {}: {status}", self.id));
                }
                return;
            }
            None => return,
        }
        self.world.note(&self.id, |life| life.deleted = true);
    }

    /// Asks until it is answered.
    async fn ask<Q: Clone, A, F>(
        &self,
        random: &mut Random,
        what: &str,
        call: impl Fn(ContainersClient<Channel>, Request<Q>) -> F,
        message: Q,
    ) -> Option<Answer<A>>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let asked = |request| call(self.containers.clone(), request);
        ask(self.world, random, &format!("{what} {}", self.id), asked, message).await
    }
}

/// Asks until it is answered, sometimes with a deadline that is too short.
async fn ask<Q: Clone, A, F>(
    world: &World,
    random: &mut Random,
    what: &str,
    call: impl Fn(Request<Q>) -> F,
    message: Q,
) -> Option<Answer<A>>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let mut request = Request::new(message.clone());
        if random.once_in(4) {
            request.set_timeout(Duration::from_millis(10 + random.below(60)));
        }
        let longest = end.saturating_duration_since(Instant::now());
        match tokio::time::timeout(longest, call(request)).await {
            Ok(Ok(answer)) => return Some(Answer::Yes(answer.into_inner())),
            Ok(Err(status)) if is_for_now(&status) => {
                tokio::time::sleep(Duration::from_millis(10 + random.below(40))).await;
            }
            Ok(Err(status)) => return Some(Answer::No(status)),
            Err(_) => break,
        }
    }
    world.wrong(format!("{what}: no answer in {} s", PATIENCE.as_secs()));
    None
}

/// Whether trying again is what the status asks for; INTERNAL is a host that fails, as with a full disk.
fn is_for_now(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Internal
    )
}

/// Whether a step failed, or the container was not in the state for it.
fn is_step(status: &Status) -> bool {
    matches!(status.code(), Code::FailedPrecondition | Code::Aborted)
}
