//! Scenarios in which many containers are there at once.

use super::{Ground, Scenario, Standing};
use crate::stress::drive::{Ticket, stopped};
use crate::stress::target::{Doing, Verb, Wish};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Idle containers, held and then deleted.
#[derive(Debug, Default)]
pub(super) struct Density(Mutex<Vec<String>>);

impl Scenario for Density {
    fn name(&self) -> String {
        "density".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sleep"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let (begun, wish) = (Instant::now(), ground.wish(&["/bin/sleep", "100000"]));
            ground.run(&wish, ticket.intended).await?;
            ground.unit("up", ticket.intended, begun);
            ground.trace(&wish.id, ticket.number).await;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(wish.id);
            Ok(())
        })
    }

    fn finish<'a>(&'a self, ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(async move {
            let mut stop = ground.stop.clone();
            tokio::select! {
                () = stopped(&mut stop) => return Ok(()),
                () = tokio::time::sleep(ground.options.hold) => {}
            }
            let ids = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            // At once, but in this task, since the ground is borrowed.
            let mut left = ids.into_iter();
            let mut under_way = Vec::new();
            loop {
                while under_way.len() < ground.options.at_once.max(1) {
                    let Some(id) = left.next() else { break };
                    under_way.push(Box::pin(async move { drop(ground.remove(&id, true).await) }));
                }
                if under_way.is_empty() || *stop.borrow() {
                    return Ok(());
                }
                first_of(&mut under_way).await;
            }
        })
    }

    fn default_count(&self) -> Option<u64> {
        Some(100)
    }
}

/// Answers when one of them has ended, and takes it out.
async fn first_of<F: Future<Output = ()> + Unpin>(all: &mut Vec<F>) {
    std::future::poll_fn(|context| {
        let before = all.len();
        all.retain_mut(|each| std::pin::Pin::new(each).poll(context).is_pending());
        if all.len() < before { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Lists and statistics while containers stand there and others come and go.
#[derive(Debug, Default)]
pub(super) struct List(Standing);

impl Scenario for List {
    fn name(&self) -> String {
        "list".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::List]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sleep", "/bin/true"]
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(self.0.make(ground, || ground.wish(&["/bin/sleep", "100000"])))
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let begun = Instant::now();
            ground.call("list", ticket.intended, ground.target.list()).await?;
            if ground.target.lacks(Verb::Stats).is_none() {
                ground.call("stats", Instant::now(), ground.target.stats()).await?;
            }
            ground.unit("look", ticket.intended, begun);
            Ok(())
        })
    }
}

/// Sandboxes with several containers, from the first to the last.
#[derive(Debug)]
pub(super) struct Sandbox;

impl Scenario for Sandbox {
    fn name(&self) -> String {
        "sandbox".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::Sandbox]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sleep"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let (begun, sandbox) = (Instant::now(), ground.name());
            ground.call("sandbox-create", ticket.intended, ground.target.make_sandbox(&sandbox)).await?;
            let mut made = Ok(());
            for _ in 0..ground.options.in_sandbox.max(1) {
                let wish = Wish { sandbox: Some(sandbox.clone()), ..ground.wish(&["/bin/sleep", "100000"]) };
                made = made.and(ground.run(&wish, Instant::now()).await);
            }
            let removed = ground.target.remove_sandbox(&sandbox);
            let removed = ground.call("sandbox-delete", Instant::now(), removed).await;
            let count = i64::try_from(ground.options.in_sandbox.max(1)).unwrap_or(0);
            ground.alive.fetch_sub(count, Ordering::Relaxed);
            made.and(removed)?;
            ground.unit("pod", ticket.intended, begun);
            Ok(())
        })
    }
}
