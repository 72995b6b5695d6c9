//! Execs, and clients that are attached to a container's processes. They are the
//! shim's: what is known of them is asked of it, and it goes on without the
//! manager. Nothing here goes through the mailbox of the container: it changes
//! nothing that the actor owns.

use super::error::Error;
use super::operations::Answer;
use super::{Engine, request};
use crate::model::{Exec, Input, NewAttachment, NewExec, Over, Phase, Verb};
use crate::shims::exec::Attachment;
use std::time::Duration;
use tokio::sync::mpsc;

/// The time between two attempts to wait for an exec whose shim was killed, while another takes over.
const PAUSE: Duration = Duration::from_millis(100);
/// How many of these.
const ATTEMPTS: u32 = 100;

impl Engine {
    /// Executes one more process in a container. Runs to its end also when the caller does not
    /// wait for it; with a key, only once, also beyond a restart of the manager.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::NotFound`], [`Error::WrongPhase`], or the failed step.
    pub async fn exec(&self, id: &str, new: NewExec) -> Result<Exec, Error> {
        let name = request::check_exec(id, &new)?;
        let handle = self.handle(id)?;
        self.running(id, "execute a process in it")?;
        let (key, words) = (new.key.clone(), format!("{id} {new:?}"));
        let work = async move { handle.shim().exec(&name, new).await.map(Box::new).map(Answer::Exec) };
        match self.once(key, Verb::Exec, id, words, work).await? {
            Answer::Exec(exec) => Ok(*exec),
            _ => Err(Error::Stopping),
        }
    }

    /// The execs of a container that are remembered, the oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`]; that its shim does not answer, or is gone since it has stopped.
    pub async fn execs(&self, id: &str) -> Result<Vec<Exec>, Error> {
        let handle = self.handle(id)?;
        match handle.shim().execs().await {
            Err(Error::Unreachable { .. }) if handle.lacks_shim().await => {
                handle.supply().await?;
                handle.shim().execs().await
            }
            answer => answer,
        }
    }

    /// One of them.
    ///
    /// # Errors
    /// As [`Engine::execs`], or [`Error::NoExec`].
    pub async fn get_exec(&self, id: &str, exec: &str) -> Result<Exec, Error> {
        let execs = self.execs(id).await?;
        let found = execs.into_iter().find(|known| known.id == exec);
        found.ok_or_else(|| Error::NoExec { id: id.into(), exec: exec.into() })
    }

    /// Waits until it has ended; also while its shim is replaced.
    ///
    /// # Errors
    /// As [`Engine::get_exec`].
    pub async fn wait_exec(&self, id: &str, exec: &str) -> Result<Over, Error> {
        let mut attempts = ATTEMPTS;
        loop {
            let handle = self.handle(id)?;
            let answer = handle.shim().wait_exec(exec).await;
            match answer {
                Err(Error::Unreachable { .. }) if attempts > 0 => {
                    attempts -= 1;
                    // Nobody takes over what has stopped, unless it is asked for.
                    if !handle.lacks_shim().await || handle.supply().await.is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Sends its process a signal.
    ///
    /// # Errors
    /// As [`Engine::get_exec`], or [`Error::Without`] when it has ended.
    pub async fn kill_exec(&self, id: &str, exec: &str, signal: i32) -> Result<(), Error> {
        request::check_signal(signal)?;
        self.handle(id)?.shim().kill_exec(exec, signal).await
    }

    /// Sets the size of the terminal of an exec; of the container's own process where `exec` is empty.
    ///
    /// # Errors
    /// As [`Engine::get_exec`], or [`Error::Without`] where there is none.
    pub async fn resize(&self, id: &str, exec: &str, size: (u16, u16)) -> Result<(), Error> {
        self.handle(id)?.shim().resize(exec, size).await
    }

    /// Closes the stdin of an exec; of the container's own process where `exec` is empty.
    ///
    /// # Errors
    /// As [`Engine::get_exec`], or [`Error::Without`] for a terminal.
    pub async fn close_stdin(&self, id: &str, exec: &str) -> Result<(), Error> {
        self.handle(id)?.shim().close_stdin(exec).await
    }

    /// Attaches a client to an exec, or to the container's own process.
    ///
    /// # Errors
    /// As [`Engine::get_exec`], or [`Error::Exhausted`] when there are too many.
    pub async fn attach(
        &self,
        id: &str,
        new: NewAttachment,
        input: mpsc::Receiver<Input>,
    ) -> Result<Attachment, Error> {
        self.handle(id)?.shim().attach(new, input).await
    }

    /// Refuses what needs a living container, before its shim is asked.
    fn running(&self, id: &str, attempted: &'static str) -> Result<(), Error> {
        match self.get(id)?.phase {
            Phase::Created | Phase::Running => Ok(()),
            phase => {
                let hint = match phase {
                    Phase::Paused => "resume it first: what is executed in it would be stopped as well",
                    _ => "only a created or running container has processes",
                };
                Err(Error::WrongPhase { id: id.into(), attempted, phase, hint })
            }
        }
    }
}
