//! The commands that wait for one container: of fixed length, and the actor can
//! look ahead for one that ends what is under way.

use super::actor::Command;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Commands that wait for one container, at most.
pub(super) const MAILBOX: usize = 16;

/// The receiving end.
#[derive(Debug)]
pub(super) struct Mailbox {
    commands: mpsc::Receiver<Command>,
    /// Looked at already, and still to be carried out; at most [`MAILBOX`] more.
    later: VecDeque<Command>,
}

/// A mailbox, and the end for its senders.
pub(super) fn new() -> (mpsc::Sender<Command>, Mailbox) {
    let (sender, commands) = mpsc::channel(MAILBOX);
    (sender, Mailbox { commands, later: VecDeque::new() })
}

impl Mailbox {
    /// The next command; `None` when there will be none.
    pub(super) async fn next(&mut self) -> Option<Command> {
        match self.later.pop_front() {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    /// Returns when a command has come that ends what is under way, and why that is,
    /// which `ends` tells; it is the next one then.
    pub(super) async fn interrupted(&mut self, ends: fn(&Command) -> Option<&'static str>) -> &'static str {
        let mut seen = 0;
        loop {
            while let Some(command) = self.later.get(seen) {
                if let Some(because) = ends(command) {
                    if let Some(command) = self.later.remove(seen) {
                        self.later.push_front(command);
                    }
                    return because;
                }
                seen += 1;
            }
            if self.later.len() >= MAILBOX {
                return std::future::pending().await;
            }
            match self.commands.recv().await {
                Some(command) => self.later.push_back(command),
                None => return std::future::pending().await,
            }
        }
    }

    /// Takes no more commands; those that were not carried out.
    pub(super) fn close(&mut self) -> Vec<Command> {
        self.commands.close();
        let rest = std::iter::from_fn(|| self.commands.try_recv().ok());
        self.later.drain(..).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shims::client::Force;
    use tokio::sync::oneshot;

    fn delete(force: Force) -> Command {
        Command::Delete { force, reply: oneshot::channel().0 }
    }

    fn start() -> Command {
        Command::Start { before: None, reply: oneshot::channel().0 }
    }

    #[tokio::test]
    async fn a_forced_deletion_comes_first_and_nothing_is_lost() {
        let (sender, mut mailbox) = new();
        for command in [start(), delete(Force::No), delete(Force::Yes), start()] {
            sender.try_send(command).unwrap();
        }
        assert_eq!(mailbox.interrupted(Command::ends_start).await, "it is deleted");
        assert!(mailbox.next().await.unwrap().ends_start().is_some());
        let mut rest = Vec::new();
        for _ in 0..3 {
            rest.push(mailbox.next().await.unwrap());
        }
        assert!(rest.iter().all(|command| command.ends_start().is_none()), "{rest:?}");
        // Also when it was looked at before.
        for command in [start(), delete(Force::Yes)] {
            mailbox.later.push_back(command);
        }
        assert_eq!(mailbox.interrupted(Command::ends_creation).await, "it is deleted");
        assert!(mailbox.next().await.unwrap().ends_start().is_some());
        sender.try_send(delete(Force::No)).unwrap();
        assert_eq!(mailbox.close().len(), 2);
        assert!(sender.try_send(start()).is_err());
    }

    #[tokio::test]
    async fn no_more_than_so_many_wait() {
        let (sender, mut mailbox) = new();
        for round in 0..3 {
            while sender.try_send(start()).is_ok() {}
            let wait =
                tokio::time::timeout(std::time::Duration::ZERO, mailbox.interrupted(Command::ends_start))
                    .await;
            assert!(wait.is_err(), "{round}");
            assert_eq!(mailbox.later.len(), MAILBOX);
        }
    }
}
