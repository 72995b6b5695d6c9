//! Scenarios whose units are whole lives of containers.

use super::{Ground, Scenario, expect_success};
use crate::stress::drive::Ticket;
use crate::stress::target::{Doing, Ended, Fault, Verb, Wish};
use tokio::time::Instant;

/// Bytes that a container of `logs` writes.
const FLOOD: u64 = 1 << 20;
/// Limits of a bomb.
const BOMB_MEMORY: i64 = 32 << 20;
const BOMB_PIDS: i64 = 32;

/// Creates, starts, waits for and deletes one; gives how it ended.
async fn live(ground: &Ground, wish: &Wish, ticket: Ticket) -> Result<Ended, Fault> {
    let begun = Instant::now();
    ground.run(wish, ticket.intended).await?;
    let ended = ground.call("wait", Instant::now(), ground.target.wait(&wish.id)).await;
    let asked = ground.trace(&wish.id, ticket.number).await;
    ground.remove(&wish.id, ended.is_err()).await?;
    let ended = ended?;
    ground.unit("life", ticket.intended + asked, begun + asked);
    Ok(ended)
}

/// Writes down that a process has not ended as it should.
fn told(ground: &Ground, result: Result<(), Fault>) -> Result<(), Fault> {
    if let Err(fault) = &result {
        ground.book.done("exit", Instant::now(), Instant::now(), Some(fault));
    }
    result
}

/// One short life after the other.
#[derive(Debug)]
pub(super) struct Churn;

impl Scenario for Churn {
    fn name(&self) -> String {
        "churn".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/true"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let ended = live(ground, &ground.wish(&["/bin/true"]), ticket).await?;
            told(ground, expect_success("the process", &ended))
        })
    }
}

/// Lives whose process forks two hundred times.
#[derive(Debug)]
pub(super) struct Forks;

impl Scenario for Forks {
    fn name(&self) -> String {
        "forks".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sh", "/bin/true"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let script = "i=0; while [ $i -lt 200 ]; do (exit 0); i=$((i+1)); done";
            let ended = live(ground, &ground.wish(&["/bin/sh", "-c", script]), ticket).await?;
            told(ground, expect_success("the process", &ended))
        })
    }
}

/// Lives whose process takes all memory, or makes as many processes as it can, within limits.
#[derive(Debug)]
pub(super) struct Bombs;

impl Scenario for Bombs {
    fn name(&self) -> String {
        "bombs".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::Limits]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sh", "/bin/sleep"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let memory = "x=0123456789abcdef; while :; do x=$x$x; done";
            let processes = "i=0; while [ $i -lt 200 ]; do /bin/sleep 100 & i=$((i+1)); done";
            let script = if ticket.number.is_multiple_of(2) { memory } else { processes };
            let wish =
                Wish { memory: BOMB_MEMORY, pids: BOMB_PIDS, ..ground.wish(&["/bin/sh", "-c", script]) };
            let ended = live(ground, &wish, ticket).await?;
            let held = match ended {
                // The kernel has ended it, or the shell has given up.
                Ended::Signal(_) => Ok(()),
                Ended::Code(code) if code != 0 => Ok(()),
                other => Err(Fault::new("BOMB_NOT_HELD", format!("the bomb ended with {other:?}"))),
            };
            told(ground, held)
        })
    }
}

/// Lives that are ended by SIGKILL.
#[derive(Debug)]
pub(super) struct Kills;

impl Scenario for Kills {
    fn name(&self) -> String {
        "kills".into()
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
            let killed = ground.call("kill", Instant::now(), ground.target.kill(&wish.id)).await;
            let ended = match killed {
                Ok(()) => ground.call("wait", Instant::now(), ground.target.wait(&wish.id)).await,
                Err(fault) => Err(fault),
            };
            ground.remove(&wish.id, ended.is_err()).await?;
            let ended = ended?;
            ground.unit("life", ticket.intended, begun);
            told(
                ground,
                match ended {
                    Ended::Signal(9) | Ended::Code(137) => Ok(()),
                    other => Err(Fault::new("UNEXPECTED_EXIT", format!("killed, it ended with {other:?}"))),
                },
            )
        })
    }
}

/// Lives that write a megabyte, which is read as it comes.
#[derive(Debug)]
pub(super) struct Logs;

impl Scenario for Logs {
    fn name(&self) -> String {
        "logs".into()
    }

    fn verbs(&self) -> Vec<Verb> {
        vec![Verb::Life, Verb::Logs]
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["/bin/sh", "/bin/yes", "/bin/head"]
    }

    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()> {
        Box::pin(async move {
            let line = "0123456789abcdef".repeat(6);
            let script = format!("/bin/yes {line} | /bin/head -c {FLOOD}");
            let (begun, wish) = (Instant::now(), ground.wish(&["/bin/sh", "-c", &script]));
            ground.run(&wish, ticket.intended).await?;
            let read = ground.call("logs", Instant::now(), ground.target.logs(&wish.id)).await;
            let ended = match &read {
                Ok(_) => ground.call("wait", Instant::now(), ground.target.wait(&wish.id)).await,
                Err(fault) => Err(fault.clone()),
            };
            ground.remove(&wish.id, ended.is_err()).await?;
            ended?;
            ground.unit("life", ticket.intended, begun);
            let given = !ground.options.command.is_empty();
            told(
                ground,
                match read? {
                    bytes if bytes == FLOOD || given => Ok(()),
                    bytes => Err(Fault::new("LOG_INCOMPLETE", format!("{bytes} of {FLOOD} bytes were read"))),
                },
            )
        })
    }
}
