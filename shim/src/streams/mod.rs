//! The stdio of one process as clients see it: they attach to its output, write
//! to its stdin, and set the size of its terminal. Who reads the pipes is
//! [`crate::stdio`]; what is read is told here once, to the replay and to each
//! attached client, and it costs the process nothing that a client does not read
//! or goes away, unless that client has asked to be waited for.

mod current;
mod queue;
mod replay;
mod stdin;

pub(crate) use current::Current;
pub(crate) use queue::{Slow, Told};
pub(crate) use stdin::{Stdin, Written};

use crate::event::Exit;
use queue::Queue;
use replay::{Replay, size};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Bytes that are kept for whoever attaches later, of both streams together.
const KEPT: usize = 64 << 10;

/// The same where nobody may have read when the process ends: what two pipes hold (pipe(7)).
const HELD: usize = 128 << 10;

/// Clients that are attached to one process, at most.
const CLIENTS: usize = 64;

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Also what comes from a terminal.
    Stdout,
    /// Never of a process with a terminal.
    Stderr,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Where it was written to.
    pub(crate) stream: Stream,
    /// Bytes of both streams before it.
    pub(crate) offset: u64,
    /// Not empty.
    pub(crate) bytes: Arc<[u8]>,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    /// How, and when.
    pub(crate) exit: Exit,
    /// It was killed because its time was over.
    pub(crate) timed_out: bool,
}

/// When output is read, and how much of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// Not before the first client has attached.
    pub(crate) hold: bool,
    /// So many bytes are taken, the rest is thrown away; 0: all.
    pub(crate) limit: u64,
}

/// From where on a client wants output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// All that is kept.
    Kept,
    /// The last bytes, so many.
    Last(u64),
    /// This offset.
    Offset(u64),
}

/// What a process's stdio was connected to.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Where its stdin is written to, where that is open.
    pub(crate) stdin: Option<Stdin>,
    /// The master of its terminal, where it has one.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Stdio of one process, shared by who reads its pipes and who serves its clients.
#[derive(Debug)]
pub(crate) struct Streams {
    state: Mutex<State>,
    /// A client has taken something, has come or has gone.
    room: Notify,
    over: watch::Sender<Option<Over>>,
}

#[derive(Debug)]
struct State {
    replay: Replay,
    clients: Vec<Arc<Queue>>,
    bounds: Bounds,
    /// Somebody has attached to the output.
    seen: bool,
    /// Bytes that were written, of both streams.
    written: u64,
    stdin: Option<Arc<Stdin>>,
    terminal: Option<Arc<OwnedFd>>,
}

impl Streams {
    /// Of a process that has written nothing yet.
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        let state = State {
            replay: Replay::new(if bounds.hold { HELD } else { KEPT }),
            clients: Vec::new(),
            bounds,
            seen: false,
            written: 0,
            stdin: None,
            terminal: None,
        };
        Arc::new(Self { state: Mutex::new(state), room: Notify::new(), over: watch::Sender::new(None) })
    }

    /// The process is there, with these ends.
    pub(crate) fn connect(&self, ends: Ends) {
        let mut state = self.state();
        (state.stdin, state.terminal) = (ends.stdin.map(Arc::new), ends.terminal.map(Arc::new));
    }

    /// Takes output that was read.
    pub(crate) fn tell(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.state();
        let offset = state.written;
        state.written += size(bytes.len());
        let room = match state.bounds.limit {
            0 => bytes.len(),
            limit => usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX),
        };
        let (bytes, beyond) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        if !bytes.is_empty() {
            let chunk = Chunk { stream, offset, bytes: bytes.into() };
            state.replay.keep(&chunk);
            state.clients.iter().for_each(|client| client.push(&chunk));
        }
        if !beyond.is_empty() {
            state.clients.iter().for_each(|client| client.miss(size(beyond.len())));
        }
    }

    /// Returns when output may be read: nobody has to be waited for.
    pub(crate) async fn room(&self) {
        loop {
            let mut changed = std::pin::pin!(self.room.notified());
            changed.as_mut().enable();
            if self.state().has_room() {
                return;
            }
            changed.await;
        }
    }

    /// The process has ended, and its output was told.
    pub(crate) fn finish(&self, over: Over) {
        let mut state = self.state();
        state.terminal = None;
        // Nobody has to be waited for any more, and its pipes are to be closed.
        state.seen = true;
        if let Some(stdin) = state.stdin.take() {
            stdin.close();
        }
        self.over.send_replace(Some(over));
        state.clients.iter().for_each(|client| client.end());
        drop(state);
        self.room.notify_waiters();
    }

    /// Attaches a client; to its output as well, unless `from` is `None`.
    /// `None` when there are too many.
    pub(crate) fn attach(self: &Arc<Self>, from: Option<From>, slow: Slow) -> Option<Attachment> {
        let mut state = self.state();
        if state.clients.len() >= CLIENTS {
            return None;
        }
        let queue = Arc::new(Queue::new(slow));
        if let Some(from) = from {
            state.seen = true;
            state.replay_to(&queue, from);
            state.clients.push(Arc::clone(&queue));
        }
        if self.over.borrow().is_some() {
            queue.end();
        }
        drop(state);
        self.room.notify_waiters();
        Some(Attachment {
            streams: Arc::clone(self),
            queue,
            over: self.over.subscribe(),
            output: from.is_some(),
        })
    }

    /// Where its stdin is written to; `None` when that is not open.
    pub(crate) fn stdin(&self) -> Option<Arc<Stdin>> {
        self.state().stdin.clone()
    }

    /// Whether it has a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.state().terminal.is_some()
    }

    /// The process reads the end of its stdin.
    pub(crate) fn close_stdin(&self) {
        let stdin = self.state().stdin.take();
        if let Some(stdin) = stdin {
            stdin.close();
        }
    }

    /// Sets the size of its terminal; `false` when it has none.
    ///
    /// # Errors
    /// Of ioctl(2), `TIOCSWINSZ`.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> std::io::Result<bool> {
        let terminal = self.state().terminal.clone();
        match terminal {
            Some(terminal) => crate::sys::resize(terminal.as_fd(), rows, columns).map(|()| true),
            None => Ok(false),
        }
    }

    /// Gives the memory of its output back.
    pub(crate) fn forget_output(&self) {
        self.state().replay.forget();
    }

    /// The last bytes of its output that are kept, of both streams as they came, at most so many.
    pub(crate) fn last(&self, bytes: u64) -> Vec<u8> {
        let state = self.state();
        let from = state.written.saturating_sub(bytes);
        state.replay.from(from).flat_map(|chunk| chunk.bytes.to_vec()).collect()
    }

    /// How it has ended, as soon as it has.
    pub(crate) fn over(&self) -> watch::Receiver<Option<Over>> {
        self.over.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        (self.seen || !self.bounds.hold) && self.clients.iter().all(|client| client.has_room())
    }

    fn replay_to(&self, queue: &Queue, from: From) {
        let begin = self.replay.begin().unwrap_or(self.written);
        let from = match from {
            From::Kept => begin,
            From::Last(bytes) => self.written.saturating_sub(bytes).max(begin),
            From::Offset(offset) => {
                if offset < begin {
                    queue.miss(begin - offset);
                }
                offset.max(begin)
            }
        };
        let mut end = from;
        for chunk in self.replay.from(from) {
            end = chunk.offset + size(chunk.bytes.len());
            queue.push(&chunk);
        }
        // What was written beyond the limit.
        if self.written > end {
            queue.miss(self.written - end);
        }
    }
}

/// A client that is attached; detached when this goes.
#[derive(Debug)]
pub(crate) struct Attachment {
    streams: Arc<Streams>,
    queue: Arc<Queue>,
    over: watch::Receiver<Option<Over>>,
    output: bool,
}

/// What comes to a client.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// Output, or word of its absence.
    Told(Told),
    /// The process has ended: the last.
    Over(Over),
}

impl Attachment {
    /// The next that the client is told; `None` when how the process ended will never be known.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        if self.output
            && let Some(told) = self.queue.next().await
        {
            self.streams.room.notify_waiters();
            return Some(Next::Told(told));
        }
        let over = self.over.wait_for(Option::is_some).await.ok()?;
        over.map(Next::Over)
    }

    /// The stdio that it is attached to.
    pub(crate) fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.streams.state().clients.retain(|client| !Arc::ptr_eq(client, &self.queue));
        self.streams.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::How;
    use std::time::{Duration, UNIX_EPOCH};

    async fn all(attachment: &mut Attachment) -> (String, u64, bool) {
        let (mut text, mut dropped) = (String::new(), 0);
        loop {
            match attachment.next().await.unwrap() {
                Next::Told(Told::Output(chunk)) => text += std::str::from_utf8(&chunk.bytes).unwrap(),
                Next::Told(Told::Dropped(bytes)) => dropped += bytes,
                Next::Over(over) => return (text, dropped, over.timed_out),
            }
        }
    }

    fn over() -> Over {
        let exit = Exit { how: How::Code(0), at: UNIX_EPOCH, oom_killed: false };
        Over { exit, timed_out: true }
    }

    #[tokio::test]
    async fn each_client_gets_what_it_asked_for_and_the_end() {
        let streams = Streams::new(Bounds::default());
        let mut early = streams.attach(Some(From::Kept), Slow::Drop).unwrap();
        streams.tell(Stream::Stdout, b"one ");
        streams.tell(Stream::Stderr, b"two ");
        let [mut kept, mut last, mut none, mut offset] =
            [From::Kept, From::Last(2), From::Last(0), From::Offset(3)]
                .map(|from| streams.attach(Some(from), Slow::Drop).unwrap());
        let mut silent = streams.attach(None, Slow::Drop).unwrap();
        streams.tell(Stream::Stdout, b"three");
        streams.finish(over());
        let mut late = streams.attach(Some(From::Kept), Slow::Drop).unwrap();
        for (client, text) in [
            (&mut early, "one two three"),
            (&mut kept, "one two three"),
            (&mut last, "o three"),
            (&mut none, "three"),
            (&mut offset, " two three"),
            (&mut late, "one two three"),
            (&mut silent, ""),
        ] {
            assert_eq!(all(client).await, (text.to_owned(), 0, true));
        }
    }

    #[tokio::test]
    async fn output_waits_for_the_first_client_and_for_one_that_blocks() {
        let streams = Streams::new(Bounds { hold: true, limit: 0 });
        let waits = async || tokio::time::timeout(Duration::from_millis(1), streams.room()).await.is_err();
        assert!(waits().await);
        drop(streams.attach(None, Slow::Block).unwrap());
        assert!(waits().await, "it does not read output");
        let mut client = streams.attach(Some(From::Kept), Slow::Block).unwrap();
        assert!(!waits().await);
        streams.tell(Stream::Stdout, &vec![b'x'; queue::BOUND]);
        assert!(waits().await);
        client.next().await.unwrap();
        assert!(!waits().await);
        streams.tell(Stream::Stdout, &vec![b'x'; queue::BOUND]);
        assert!(waits().await);
        drop(client);
        assert!(!waits().await, "it has gone");
        let unseen = Streams::new(Bounds { hold: true, limit: 0 });
        unseen.finish(over());
        unseen.room().await;
    }

    #[tokio::test]
    async fn what_is_beyond_the_limit_is_counted() {
        let streams = Streams::new(Bounds { hold: false, limit: 5 });
        let mut early = streams.attach(Some(From::Kept), Slow::Drop).unwrap();
        streams.tell(Stream::Stdout, b"123");
        streams.tell(Stream::Stdout, b"4567");
        streams.tell(Stream::Stderr, b"89");
        streams.finish(over());
        let mut late = streams.attach(Some(From::Kept), Slow::Drop).unwrap();
        for client in [&mut early, &mut late] {
            assert_eq!(all(client).await, ("12345".into(), 4, true));
        }
    }

    #[tokio::test]
    async fn clients_have_a_bound() {
        let streams = Streams::new(Bounds::default());
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| streams.attach(Some(From::Kept), Slow::Drop).unwrap()).collect();
        assert!(streams.attach(Some(From::Kept), Slow::Drop).is_none());
        drop(clients);
        assert!(streams.attach(Some(From::Kept), Slow::Drop).is_some());
    }
}
