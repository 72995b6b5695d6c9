//! What a client does while its container runs: further processes, pauses, and looking at its output.

use super::{Answer, One, ask, is_step};
use crate::ExecLife;
use sextant_integration::random::Random;
use sextant_proto::client::Error;
use sextant_proto::v1::attach_request::What as Said;
use sextant_proto::v1::execs_client::ExecsClient;
use sextant_proto::v1::stdio_client::StdioClient;
use sextant_proto::v1::{
    AttachOpen, AttachRequest, CreateExecRequest, PauseRequest, ResumeRequest, SlowClient, WaitExecRequest,
};
use std::time::Duration;
use tonic::{Code, Status};

/// Times that a step may fail until that is no accident any more.
const RESUMES: u32 = 20;

/// The reason of the ErrorInfo; empty where there is none.
fn reason(status: &Status) -> String {
    match Error::from(status.clone()) {
        Error::Refused(refusal) => refusal.reason.as_str().to_owned(),
        _ => String::new(),
    }
}

impl One<'_> {
    /// One of these things.
    pub(super) async fn beside(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => self.pause(random).await,
            1 => self.look_on(random).await,
            _ => self.exec(random).await,
        }
    }

    /// Executes something that exits with a known status, and asks for it.
    async fn exec(&self, random: &mut Random) {
        let execs = ExecsClient::new(self.world.channel());
        let code = i32::try_from(random.below(120)).unwrap_or(0);
        let seconds = format!("0.{:03}", random.below(600));
        // Without a key one whose answer did not come would be executed twice.
        let key = format!("{}-exec-{}", self.id, random.below(u64::MAX));
        let request = CreateExecRequest {
            container: self.id.clone(),
            command: ["/bin/probe", "sleep", &seconds, "--then-exit", &code.to_string()]
                .map(str::to_owned)
                .into(),
            idempotency_key: key.clone(),
            ..CreateExecRequest::default()
        };
        let what = format!("exec {key}");
        let call = |request| {
            let mut execs = execs.clone();
            async move { execs.create(request).await }
        };
        let exec = match ask(self.world, random, &what, call, request).await {
            Some(Answer::Yes(made)) => made.exec.map(|exec| exec.id).unwrap_or_default(),
            // The container has ended; or a gremlin was at it.
            Some(Answer::No(status)) if is_step(&status) || status.code() == Code::NotFound => return,
            Some(Answer::No(status)) => return self.world.wrong(format!("{what}: {status}")),
            None => return,
        };
        self.world.note(&self.id, |life| {
            life.execs.insert(exec.clone(), ExecLife { code, told: None });
        });
        let call = |request| {
            let mut execs = execs.clone();
            async move { execs.wait(request).await }
        };
        let request = WaitExecRequest { container: self.id.clone(), exec: exec.clone() };
        match ask(self.world, random, &format!("wait for {what}"), call, request).await {
            Some(Answer::Yes(over)) => self.world.note(&self.id, |life| {
                if let Some(life) = life.execs.get_mut(&exec) {
                    life.told = over.exit.and_then(|exit| exit.how);
                }
            }),
            Some(Answer::No(status)) => self.world.wrong(format!("wait for {what}: {status}")),
            None => {}
        }
    }

    /// Stops its processes for a while. Whatever happens meanwhile, they go on afterwards.
    async fn pause(&self, random: &mut Random) {
        let id = self.id.clone();
        let request = PauseRequest { id: id.clone(), ..PauseRequest::default() };
        match self.ask(random, "pause", |mut c, r| async move { c.pause(r).await }, request).await {
            Some(Answer::No(status)) if !is_step(&status) && status.code() != Code::NotFound => {
                return self.world.wrong(format!("pause {id}: {status}"));
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        // What stays paused never ends: it is let go on until that succeeds, or there is nothing to let.
        for _ in 0..RESUMES {
            let request = ResumeRequest { id: id.clone(), ..ResumeRequest::default() };
            match self.ask(random, "resume", |mut c, r| async move { c.resume(r).await }, request).await {
                Some(Answer::No(status)) if reason(&status) == "STEP_FAILED" => {}
                Some(Answer::No(status)) if !is_step(&status) && status.code() != Code::NotFound => {
                    return self.world.wrong(format!("resume {id}: {status}"));
                }
                _ => return,
            }
        }
        self.world.wrong(format!("resume {id}: {RESUMES} times in vain"));
    }

    /// Attaches, reads little or nothing, and vanishes.
    async fn look_on(&self, random: &mut Random) {
        let slow = if random.once_in(2) { SlowClient::Block } else { SlowClient::Drop };
        let open = AttachOpen { container: self.id.clone(), slow: slow.into(), ..AttachOpen::default() };
        let requests = tokio_stream::iter([AttachRequest { what: Some(Said::Open(open)) }]);
        // An attachment does not outlive what it goes through: a refusal is no news.
        let Ok(Ok(answer)) = tokio::time::timeout(
            Duration::from_secs(5),
            StdioClient::new(self.world.channel()).attach(requests),
        )
        .await
        else {
            return;
        };
        let mut stream = answer.into_inner();
        let time = Duration::from_millis(random.below(300));
        let read = async { while let Ok(Some(_)) = stream.message().await {} };
        if random.once_in(3) {
            tokio::time::sleep(time).await;
        } else {
            // Its end is the client's own: it goes, whatever comes.
            tokio::time::timeout(time, read).await.unwrap_or_default();
        }
    }
}
