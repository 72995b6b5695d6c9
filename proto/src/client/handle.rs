//! What takes more than one call: a container from its creation to its
//! deletion, and a process in it with its stdio.

use super::{Client, Collected, Error, Follow, Input, Output};
use crate::v1::{
    AttachOpen, CreateExecRequest, CreateRequest, DeleteRequest, Exec, Exit, LogsRequest, SlowClient,
    StartRequest, StopRequest,
};

/// A container of a daemon. Dropping it does nothing to the container.
#[derive(Clone, Debug)]
pub struct Handle {
    client: Client,
    id: String,
}

/// A process that was executed in a container, with its stdio.
#[derive(Debug)]
pub struct Process {
    /// What the daemon says of it.
    pub exec: Exec,
    /// What goes to it; taken only if the request had `stdin` or `terminal`.
    pub input: Input,
    /// What comes from it.
    pub output: Output,
}

impl Client {
    /// The container of this name, whether there is one or not.
    pub fn container(&self, id: impl Into<String>) -> Handle {
        Handle { client: self.clone(), id: id.into() }
    }

    /// Creates a container and starts it. One that cannot be started is deleted again.
    ///
    /// # Errors
    /// What the daemon says of the creation or the start.
    pub async fn run(&self, request: CreateRequest) -> Result<Handle, Error> {
        let created = self.containers.clone().create(request).await?.into_inner();
        let container = self.container(created.container.unwrap_or_default().id);
        let request = StartRequest { id: container.id.clone(), ..Default::default() };
        if let Err(status) = self.containers.clone().start(request).await {
            // That it could not be started is the error to tell.
            drop(container.delete().await);
            return Err(status.into());
        }
        Ok(container)
    }
}

impl Handle {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its log from the beginning on, until it has exited.
    pub fn follow(&self) -> Follow<LogsRequest> {
        self.client.logs(LogsRequest { id: self.id.clone(), follow: true, ..Default::default() })
    }

    /// How it ended, as soon as it has.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub async fn wait(&self) -> Result<Exit, Error> {
        self.client.wait(&self.id).await
    }

    /// SIGTERM, ten seconds, SIGKILL; how it ended then.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn stop(&self) -> Result<Exit, Error> {
        let request = StopRequest { id: self.id.clone(), ..Default::default() };
        let answer = self.client.containers.clone().stop(request).await?;
        Ok(answer.into_inner().exit.unwrap_or_default())
    }

    /// Removes it and all that was made for it; kills it first if it runs.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn delete(&self) -> Result<(), Error> {
        let request = DeleteRequest { id: self.id.clone(), force: true, ..Default::default() };
        self.client.containers.clone().delete(request).await?;
        Ok(())
    }

    /// Attaches to its own process; it waits for this client when that does not read.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn attach(&self) -> Result<(Input, Output), Error> {
        self.client.attach(self.open(String::new()), None).await
    }

    /// Executes a process in it, and attaches to that before its output is read; `container` and
    /// `hold_output` of the request are set here.
    ///
    /// # Errors
    /// What the daemon says; of a program that cannot be executed, with the errno.
    pub async fn exec(&self, request: CreateExecRequest) -> Result<Process, Error> {
        let request = CreateExecRequest { container: self.id.clone(), hold_output: true, ..request };
        let answer = self.client.execs.clone().create(request).await?;
        let exec = answer.into_inner().exec.unwrap_or_default();
        let (input, output) = self.client.attach(self.open(exec.id.clone()), None).await?;
        Ok(Process { exec, input, output })
    }

    /// Executes a command in it and waits for its end.
    ///
    /// # Errors
    /// As [`Handle::exec`].
    pub async fn output(&self, command: &[&str]) -> Result<Collected, Error> {
        let command = command.iter().map(ToString::to_string).collect();
        self.exec(CreateExecRequest { command, ..Default::default() }).await?.output.collect().await
    }

    fn open(&self, exec: String) -> AttachOpen {
        AttachOpen { container: self.id.clone(), exec, slow: SlowClient::Block.into(), ..Default::default() }
    }
}
