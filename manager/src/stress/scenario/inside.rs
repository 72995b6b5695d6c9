//! Scenarios inside containers that stand there.

use super::{Ground, Scenario, Standing, expect_success};
use crate::stress::drive::Ticket;
use crate::stress::target::{Doing, Verb, Wish};
use tokio::time::Instant;

/// Execs of `/bin/true`.
#[derive(Debug, Default)]
pub(super) struct Exec(Standing);

impl Scenario for Exec {
    fn name(&self) -> String {
        "exec".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::Exec]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sleep", "/bin/true"]
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(self.0.make(ground, || Wish {
            command: ["/bin/sleep", "100000"].map(str::to_owned).into(),
            ..ground.wish(&[])
        }))
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let command = ground.wish(&["/bin/true"]).command;
            let id = self.0.one(ticket.number);
            let (begun, exec) = (Instant::now(), ground.target.exec(&id, &command));
            let checked = Box::pin(async { expect_success("the exec", &exec.await?) });
            ground.call("exec", ticket.intended, checked).await?;
            ground.unit("storm", ticket.intended, begun);
            Ok(())
        })
    }
}

/// Clients that attach, write a line, and wait for its echo.
#[derive(Debug, Default)]
pub(super) struct Attach(Standing);

impl Scenario for Attach {
    fn name(&self) -> String {
        "attach".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::Attach]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/cat"]
    }

    fn prepare<'a>(&'a self, ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(self.0.make(ground, || Wish { stdin: true, ..ground.wish(&["/bin/cat"]) }))
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let (begun, id) = (Instant::now(), self.0.one(ticket.number));
            ground.call("attach", ticket.intended, ground.target.attach(&id)).await?;
            ground.unit("echo", ticket.intended, begun);
            Ok(())
        })
    }
}
