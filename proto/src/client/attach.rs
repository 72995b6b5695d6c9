//! The stdio of a process, as two halves: what goes in, and what comes out.

use super::{Client, Error};
use crate::v1::attach_request::What as Said;
use crate::v1::attach_response::What;
use crate::v1::log_entry::Stream;
use crate::v1::{
    AttachOpen, AttachRequest, AttachResponse, Attached, CloseStdinRequest, WaitExecResponse, WindowSize,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Messages to the daemon that wait to be sent.
const AHEAD: usize = 4;
/// Most bytes of each stream that [`Output::collect`] keeps.
const COLLECTED: usize = 16 << 20;

/// What goes to the process. Clones are the same client; dropping all of them closes nothing, but when the
/// [`Output`] is dropped, this client is gone, and with it what was not sent yet.
#[derive(Clone, Debug)]
pub struct Input(mpsc::Sender<AttachRequest>);

impl Input {
    /// Input for its stdin, at most 1 MiB. Waits while the process does not read.
    ///
    /// A connection that is lost is noticed by who reads the [`Output`], and by nobody here.
    pub async fn stdin(&self, bytes: impl Into<Vec<u8>>) {
        self.say(Said::Stdin(bytes.into())).await;
    }

    /// The process reads the end of its stdin.
    pub async fn close_stdin(&self) {
        self.say(Said::CloseStdin(CloseStdinRequest::default())).await;
    }

    /// The new size of its terminal, in characters.
    pub async fn resize(&self, size: WindowSize) {
        self.say(Said::Resize(size)).await;
    }

    async fn say(&self, what: Said) {
        drop(self.0.send(AttachRequest { what: Some(what) }).await);
    }
}

/// What is heard of the process.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// It wrote something.
    Output(crate::v1::Output),
    /// So many bytes of output are missing here.
    Dropped(u64),
    /// It has ended; the last word.
    Ended(WaitExecResponse),
}

/// What comes from the process.
#[derive(Debug)]
pub struct Output {
    stream: Streaming<AttachResponse>,
    /// What the process has: a terminal, an open stdin.
    pub attached: Attached,
}

/// All that a process wrote, and how it ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// Its stdout, at most 16 MiB of it.
    pub stdout: Vec<u8>,
    /// Its stderr, likewise.
    pub stderr: Vec<u8>,
    /// Bytes that are missing.
    pub dropped: u64,
    /// How it ended.
    pub ended: WaitExecResponse,
}

impl Output {
    /// The next piece; `None` after the end. To give up waiting for it loses nothing.
    ///
    /// # Errors
    /// What the daemon says. After [`Error::Away`] the process goes on; attach again with `from_offset`
    /// to go on where this ended.
    pub async fn next(&mut self) -> Result<Option<Heard>, Error> {
        loop {
            match self.stream.message().await? {
                None => return Ok(None),
                Some(AttachResponse { what: Some(what) }) => match what {
                    What::Output(piece) => return Ok(Some(Heard::Output(piece))),
                    What::Dropped(bytes) => return Ok(Some(Heard::Dropped(bytes))),
                    What::Exit(exit) => return Ok(Some(Heard::Ended(exit))),
                    What::Attached(attached) => self.attached = attached,
                },
                // Of a newer daemon.
                Some(AttachResponse { what: None }) => {}
            }
        }
    }

    /// Reads to the end, and keeps what came.
    ///
    /// # Errors
    /// As [`Output::next`]; [`Error::Away`] when the stream ends before the process has.
    pub async fn collect(mut self) -> Result<Collected, Error> {
        let mut all = Collected::default();
        while let Some(heard) = self.next().await? {
            match heard {
                Heard::Output(piece) => {
                    let stream = match piece.stream() {
                        Stream::Stderr => &mut all.stderr,
                        Stream::Stdout | Stream::Unspecified => &mut all.stdout,
                    };
                    let kept = piece.data.len().min(COLLECTED - stream.len());
                    let (keep, rest) = piece.data.split_at(kept);
                    stream.extend_from_slice(keep);
                    all.dropped = all.dropped.saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
                }
                Heard::Dropped(bytes) => all.dropped = all.dropped.saturating_add(bytes),
                Heard::Ended(ended) => {
                    all.ended = ended;
                    return Ok(all);
                }
            }
        }
        Err(ended_early())
    }
}

fn ended_early() -> Error {
    Error::from(Status::unavailable("the stream ended without an exit"))
}

impl Client {
    /// Attaches to a process, whose terminal gets `size`, if it has one. Once this has answered, whatever
    /// the process writes will be heard: attach to a created container, then start it, and nothing is missed.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn attach(&self, open: AttachOpen, size: Option<WindowSize>) -> Result<(Input, Output), Error> {
        let (say, said) = mpsc::channel(AHEAD);
        for what in [Some(Said::Open(open)), size.map(Said::Resize)].into_iter().flatten() {
            // There is room, and the other end is in this function.
            drop(say.try_send(AttachRequest { what: Some(what) }));
        }
        let mut stream = self.stdio.clone().attach(ReceiverStream::new(said)).await?.into_inner();
        match stream.message().await? {
            Some(AttachResponse { what: Some(What::Attached(attached)) }) => {
                Ok((Input(say), Output { stream, attached }))
            }
            _ => Err(ended_early()),
        }
    }
}
