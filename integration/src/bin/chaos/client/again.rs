//! A container that lives more than once: restarted by its policy until that says no, or a client stops
//! it; some with a health check, of which a failure ends the life.

use super::{Answer, One, is_step};
use crate::{Again, Life};
use sextant_integration::random::Random;
use sextant_proto::v1::health_check::OnUnhealthy;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{CreateRequest, GetRequest, HealthCheck, RestartPolicy, StopRequest, WaitRequest};
use std::time::Duration;
use tonic::Code;

fn millis(millis: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(millis).try_into().ok()
}

/// A process that is always well, or never.
fn check(well: bool) -> HealthCheck {
    let code = if well { "0" } else { "1" };
    HealthCheck {
        command: ["/bin/probe", "sleep", "0.01", "--then-exit", code].map(str::to_owned).into(),
        interval: millis(60),
        timeout: millis(5000),
        retries: 2,
        on_unhealthy: OnUnhealthy::Restart.into(),
        ..HealthCheck::default()
    }
}

impl One<'_> {
    /// All its lives.
    pub(super) async fn live_again(&mut self, random: &mut Random) {
        let when = random.one(&[When::OnFailure, When::Always, When::UnlessStopped]).unwrap_or(When::Always);
        let max_retries =
            if when == When::OnFailure { 1 + u32::try_from(random.below(3)).unwrap_or(0) } else { 0 };
        // A code that is a failure more often than not.
        let code = i32::try_from(random.below(3)).unwrap_or(0);
        let well = random.once_in(2);
        let checked = random.once_in(2).then(|| check(well));
        let again = Again { when, max_retries, well: checked.as_ref().map(|_| well), last: None };
        let faulty = self.world.faulty;
        self.world.note(&self.id, |life| {
            *life = Life { code, faulty, killed: checked.is_some(), again: Some(again), ..Life::default() };
        });
        let policy = RestartPolicy {
            when: when.into(),
            max_retries,
            min_delay: millis(10),
            max_delay: millis(40),
            // However long a life is kept from ending: all restarts are in one row.
            reset_after: millis(3_600_000),
        };
        let time = random.below(300);
        let request = CreateRequest {
            restart: Some(policy),
            health_check: checked,
            ..self.request(random, time, code, 0)
        };
        if !self.create(random, request).await {
            return;
        }
        self.start(random).await;
        match when {
            When::OnFailure => self.settle(random).await,
            _ => {
                tokio::time::sleep(Duration::from_millis(random.below(900))).await;
                self.stop_for_good(random).await;
            }
        }
        self.delete(random).await;
    }

    /// Waits for the exit after which there is no other life. Where it never was started, there is none.
    async fn settle(&mut self, random: &mut Random) {
        if !self.world.lives().get(&self.id).is_some_and(|life| life.started) {
            return;
        }
        let request = WaitRequest { id: self.id.clone(), condition: Condition::Settled.into() };
        match self.ask(random, "settle", |mut c, r| async move { c.wait(r).await }, request).await {
            Some(Answer::Yes(_)) => self.note_last(random).await,
            Some(Answer::No(status)) => self.world.wrong(format!("settle {}: {status}", self.id)),
            None => {}
        }
    }

    async fn stop_for_good(&mut self, random: &mut Random) {
        self.world.note(&self.id, |life| life.killed = true);
        let request = StopRequest {
            id: self.id.clone(),
            grace: Some(prost_types::Duration::default()),
            idempotency_key: format!("{}-stop", self.id),
            ..StopRequest::default()
        };
        match self.ask(random, "stop", |mut c, r| async move { c.stop(r).await }, request).await {
            // A daemon that is started again starts one with `always`.
            Some(Answer::Yes(_)) if self.policy() == Some(When::UnlessStopped) => {
                self.note_last(random).await
            }
            Some(Answer::No(status)) if !is_step(&status) && status.code() != Code::NotFound => {
                self.world.wrong(format!("stop {}: {status}", self.id));
            }
            _ => {}
        }
    }

    fn policy(&self) -> Option<When> {
        self.world.lives().get(&self.id).and_then(|life| life.again.as_ref().map(|again| again.when))
    }

    /// The life that it has is its last.
    async fn note_last(&self, random: &mut Random) {
        let request = GetRequest { id: self.id.clone(), ..GetRequest::default() };
        if let Some(Answer::Yes(answer)) =
            self.ask(random, "get", |mut c, r| async move { c.get(r).await }, request).await
        {
            let last = answer.container.map(|container| container.life);
            self.world.note(&self.id, |life| {
                if let Some(again) = &mut life.again {
                    again.last = last;
                }
            });
        }
    }
}
