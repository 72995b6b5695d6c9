//! Whom the load is put on. One trait for all of them; what a target cannot do it says beforehand.

pub(crate) mod again;
pub(crate) mod cri;
pub(crate) mod daemon;
pub(crate) mod runtime;
pub(crate) mod source;

use super::leaks::Leak;
use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its kind: the reason of an ErrorInfo, or what there is in its place; few and the same again and again.
    pub(crate) cause: String,
    /// The sentence.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(cause: impl Into<String>, message: impl Into<String>) -> Self {
        Self { cause: cause.into(), message: message.into() }
    }
}

/// An operation that is under way.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// What a scenario may ask of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Create, start, wait, kill and delete: everybody has these.
    Life,
    Exec,
    /// A list of all containers.
    List,
    Stats,
    /// Reading a log.
    Logs,
    Attach,
    /// Sandboxes with several containers.
    Sandbox,
    /// Limits of memory and processes.
    Limits,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Life => "create, start and delete containers",
            Self::Exec => "exec",
            Self::List => "list containers",
            Self::Stats => "tell statistics",
            Self::Logs => "read logs",
            Self::Attach => "attach",
            Self::Sandbox => "make sandboxes",
            Self::Limits => "set limits",
        }
    }
}

/// A container that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) id: String,
    pub(crate) command: Vec<String>,
    /// Bytes; 0: no limit.
    pub(crate) memory: i64,
    /// Processes; 0: no limit.
    pub(crate) pids: i64,
    /// Its stdin can be written to.
    pub(crate) stdin: bool,
    /// Joins it.
    pub(crate) sandbox: Option<String>,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    /// Nobody knows.
    Unknown,
}

/// What a target is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `sextantd`, `runtime` or `cri`.
    pub(crate) kind: &'static str,
    /// Its name and version, as it tells.
    pub(crate) version: String,
    /// Where.
    pub(crate) address: String,
    /// The manager's process, where there is one.
    pub(crate) manager: Option<i32>,
    /// Where it keeps what it has made for containers: nothing with a name of this run may be left there.
    pub(crate) directories: Vec<PathBuf>,
    /// The file in which it, and whatever it starts, reads a plan of faults; a build without them has none.
    pub(crate) fault_plan: Option<PathBuf>,
    /// What it is about its isolation, limits or versions that makes figures incomparable.
    pub(crate) remarks: Vec<String>,
}

/// Whom the load is put on.
pub(crate) trait Target: Debug + Send + Sync {
    /// What it is now; its process may be another one than before.
    fn facts(&self) -> Doing<'_, Facts>;

    /// Why it cannot do that; `None` when it can.
    fn lacks(&self, verb: Verb) -> Option<String>;

    fn create<'a>(&'a self, wish: &'a Wish) -> Doing<'a, ()>;
    fn start<'a>(&'a self, id: &'a str) -> Doing<'a, ()>;
    /// Answers when its process has ended.
    fn wait<'a>(&'a self, id: &'a str) -> Doing<'a, Ended>;
    /// Sends SIGKILL.
    fn kill<'a>(&'a self, id: &'a str) -> Doing<'a, ()>;
    fn delete<'a>(&'a self, id: &'a str, force: bool) -> Doing<'a, ()>;
    /// Ids of the containers of this run.
    fn ours(&self) -> Doing<'_, Vec<String>>;

    /// Executes a command in a container and waits for its end.
    fn exec<'a>(&'a self, _id: &'a str, _command: &'a [String]) -> Doing<'a, Ended> {
        cannot(Verb::Exec)
    }

    /// All containers, whosever they are; how many.
    fn list(&self) -> Doing<'_, usize> {
        cannot(Verb::List)
    }

    /// What the containers use; how many answers.
    fn stats(&self) -> Doing<'_, usize> {
        cannot(Verb::Stats)
    }

    /// Reads the whole log; how many bytes.
    fn logs<'a>(&'a self, _id: &'a str) -> Doing<'a, u64> {
        cannot(Verb::Logs)
    }

    /// Attaches, writes a line, waits until it comes back, and goes.
    fn attach<'a>(&'a self, _id: &'a str) -> Doing<'a, ()> {
        cannot(Verb::Attach)
    }

    fn make_sandbox<'a>(&'a self, _id: &'a str) -> Doing<'a, ()> {
        cannot(Verb::Sandbox)
    }

    /// Removes it with its containers.
    fn remove_sandbox<'a>(&'a self, _id: &'a str) -> Doing<'a, ()> {
        cannot(Verb::Sandbox)
    }

    /// The stages of the start-up of a container, as far as it tells them.
    fn stages<'a>(&'a self, _id: &'a str) -> Doing<'a, Vec<(String, Duration)>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What it calls nobody's of all that it has made, whosever that was; none where it cannot say.
    fn orphans(&self) -> Doing<'_, Vec<Leak>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The calls that were asked again, since who is killed on purpose took them with it.
    fn again(&self) -> Vec<again::Asked> {
        Vec::new()
    }

    /// What stands in the command lines of its shims and in the cgroups of its containers, and nowhere else.
    fn marks(&self) -> Vec<String>;

    /// Removes whatever this run has left; how many containers and sandboxes that were.
    fn clean(&self) -> Doing<'_, usize>;
}

fn cannot<T>(verb: Verb) -> Doing<'static, T>
where
    T: Send + 'static,
{
    Box::pin(async move { Err(Fault::new("NOT_POSSIBLE", format!("this target cannot {}", verb.name()))) })
}
