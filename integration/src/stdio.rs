//! A client that is attached to a process, over a connection of its own.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::Daemon;
use crate::process::DEADLINE;
use sextant_proto::v1::attach_request::What as Said;
use sextant_proto::v1::attach_response::What as Heard;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::{
    AttachOpen, AttachRequest, AttachResponse, Attached as First, CloseStdinRequest, WaitExecResponse,
    WindowSize,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// An attached client, and what it has heard.
#[derive(Debug)]
pub struct Attached {
    say: mpsc::Sender<AttachRequest>,
    stream: Streaming<AttachResponse>,
    /// The first message.
    pub first: First,
    /// What came from stdout so far.
    pub stdout: String,
    /// What came from stderr so far.
    pub stderr: String,
    /// Bytes that were said to be missing.
    pub dropped: u64,
    /// Where the next piece of output begins, if nothing is missing.
    pub offset: Option<u64>,
    exit: Option<WaitExecResponse>,
}

impl Attached {
    /// Attaches.
    ///
    /// # Errors
    /// What the daemon says.
    pub async fn open(daemon: &Daemon, open: AttachOpen) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(4);
        let what = Some(Said::Open(open));
        say.send(AttachRequest { what }).await.expect("there is room");
        let stream = daemon.stdio().await.attach(ReceiverStream::new(said)).await?.into_inner();
        let mut attached = Self {
            say,
            stream,
            first: First::default(),
            stdout: String::new(),
            stderr: String::new(),
            dropped: 0,
            offset: None,
            exit: None,
        };
        match attached.message().await? {
            Some(Heard::Attached(first)) => attached.first = first,
            other => panic!("the first message is {other:?}"),
        }
        Ok(attached)
    }

    /// Sends input.
    pub async fn type_in(&self, text: &str) {
        self.say(Said::Stdin(text.as_bytes().to_vec())).await;
    }

    /// Closes the stdin of the process.
    pub async fn close_stdin(&self) {
        self.say(Said::CloseStdin(CloseStdinRequest::default())).await;
    }

    /// Sets the size of its terminal.
    pub async fn resize(&self, rows: u32, columns: u32) {
        self.say(Said::Resize(WindowSize { rows, columns })).await;
    }

    async fn say(&self, what: Said) {
        self.say.send(AttachRequest { what: Some(what) }).await.expect("say something");
    }

    /// Reads until `text` came from stdout.
    pub async fn until(&mut self, text: &str) {
        let mut from = 0;
        while !self.stdout.get(from..).is_some_and(|new| new.contains(text)) {
            from = self.stdout.floor_char_boundary(self.stdout.len().saturating_sub(text.len()));
            assert!(self.read().await.expect("it goes on"), "{text:?} is not in {:?}", self.stdout);
        }
    }

    /// Reads to the end; how the process ended.
    ///
    /// # Errors
    /// What the daemon says instead.
    pub async fn end(&mut self) -> Result<WaitExecResponse, Status> {
        while self.read().await? {}
        Ok(self.exit.clone().expect("the exit is the last message"))
    }

    /// The same, as the code of its exit.
    pub async fn code(&mut self) -> i32 {
        code(&self.end().await.expect("it ends"))
    }

    /// Reads one message; whether more will come.
    ///
    /// # Errors
    /// What the daemon says instead.
    pub async fn read(&mut self) -> Result<bool, Status> {
        match self.message().await? {
            Some(Heard::Output(output)) => {
                assert!(self.offset.is_none_or(|at| at <= output.offset), "nothing comes twice");
                let missing = self.offset.map_or(0, |at| output.offset - at);
                assert!(missing == 0 || self.dropped > 0, "{missing} bytes are missing unsaid");
                self.offset = Some(output.offset + output.data.len() as u64);
                let text = String::from_utf8_lossy(&output.data);
                match output.stream() {
                    Stream::Stderr => self.stderr += &text,
                    Stream::Stdout | Stream::Unspecified => self.stdout += &text,
                }
            }
            Some(Heard::Dropped(bytes)) => self.dropped += bytes,
            Some(Heard::Exit(exit)) => {
                self.exit = Some(exit);
                assert!(self.message().await?.is_none(), "the exit is the last message");
                return Ok(false);
            }
            Some(Heard::Attached(_)) => panic!("it is attached twice"),
            None => panic!("the stream ends without an exit"),
        }
        Ok(true)
    }

    async fn message(&mut self) -> Result<Option<Heard>, Status> {
        let message = tokio::time::timeout(DEADLINE, self.stream.message()).await;
        Ok(message.expect("a message comes in time")?.and_then(|message| message.what))
    }
}

/// The code of an exit; 128 + N after signal N.
#[track_caller]
pub fn code(ended: &WaitExecResponse) -> i32 {
    match ended.exit.as_ref().and_then(|exit| exit.how.clone()) {
        Some(How::Code(code)) => code,
        Some(How::Signal(signal)) => 128 + signal,
        other => panic!("how it ended is {other:?}"),
    }
}
