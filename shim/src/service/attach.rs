//! A client that is attached: its input goes to the process, output and exit come
//! back. Either direction has one message under way; what more the client is to
//! be told waits in its queue, which is bounded. It is detached when the stream of
//! the answer is closed; the end of its input alone changes nothing.

use super::{Service, execs, wire};
use crate::event::Phase;
use crate::streams::{Attachment, Chunk, From, Next, Slow, Stream, Streams, Told, Written};
use sextant_proto::shim::attach_open::From as WireFrom;
use sextant_proto::shim::{
    AttachOpen, AttachRequest, AttachResponse, Attached, Output, SlowClient, WindowSize,
    attach_request::What as Asked, attach_response::What as Answer, output,
};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

type Answers = mpsc::Sender<Result<AttachResponse, Status>>;

/// Attaches a client, whose first message says to what.
pub(super) async fn attach(
    service: &Service,
    mut requests: Streaming<AttachRequest>,
) -> Result<ReceiverStream<Result<AttachResponse, Status>>, Status> {
    let Some(AttachRequest { what: Some(Asked::Open(open)) }) = requests.message().await? else {
        return Err(Status::invalid_argument("attach: the first message is to be `open`"));
    };
    let streams = service.streams_of(&open.exec)?;
    if open.exec.is_empty() && matches!(service.now().phase, Phase::Empty | Phase::Creating) {
        return Err(Status::failed_precondition(format!("attach: the container is {}", service.now().phase)));
    }
    let attachment = open_to(&streams, &open)?;
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(serve(attachment, requests, answers));
    Ok(ReceiverStream::new(stream))
}

fn open_to(streams: &Arc<Streams>, open: &AttachOpen) -> Result<Attachment, Status> {
    let from = match open.from {
        Some(WireFrom::ReplayBytes(bytes)) => From::Last(bytes),
        Some(WireFrom::FromOffset(offset)) => From::Offset(offset),
        None => From::Kept,
    };
    let slow = match open.slow() {
        SlowClient::Block => Slow::Block,
        SlowClient::Drop | SlowClient::Unspecified => Slow::Drop,
    };
    let attachment = streams.attach((!open.no_output).then_some(from), slow);
    attachment.ok_or_else(|| Status::resource_exhausted("attach: 64 clients are attached to it already"))
}

/// Serves it until it goes, or the process has ended and everything was told.
async fn serve(mut attachment: Attachment, mut requests: Streaming<AttachRequest>, answers: Answers) {
    let streams = Arc::clone(attachment.streams());
    let attached = Attached { terminal: streams.has_terminal(), stdin: streams.stdin().is_some() };
    if tell(&answers, Answer::Attached(attached)).await.is_err() {
        return;
    }
    let input = take_input(&streams, &mut requests);
    let output = give_output(&mut attachment, &answers);
    let refused = tokio::select! {
        () = answers.closed() => return,
        () = output => return,
        refused = async {
            match input.await {
                // It has said all; what it hears goes on.
                Ok(()) => std::future::pending().await,
                Err(status) => status,
            }
        } => refused,
    };
    // It may have gone.
    drop(answers.send(Err(refused)).await);
}

async fn take_input(streams: &Streams, requests: &mut Streaming<AttachRequest>) -> Result<(), Status> {
    // An error says that the client has gone, which its other direction tells as well.
    while let Ok(Some(request)) = requests.message().await {
        match request.what {
            Some(Asked::Stdin(bytes)) => match streams.stdin() {
                // A process that reads no more, or has ended, is as with a pipe of the shell.
                Some(stdin) => match stdin.write(&bytes).await {
                    Written::All | Written::Closed => {}
                },
                None if streams.over().borrow().is_some() => {}
                None => return Err(Status::failed_precondition(NOT_OPEN)),
            },
            Some(Asked::Resize(size)) => resize(streams, Some(size))?,
            Some(Asked::CloseStdin(_)) => close_stdin(streams)?,
            Some(Asked::Open(_)) => return Err(Status::invalid_argument("attach: it is open already")),
            None => {}
        }
    }
    Ok(())
}

const NOT_OPEN: &str = "write to its stdin: that is not open, or was closed (create it with `stdin`)";

async fn give_output(attachment: &mut Attachment, answers: &Answers) {
    while let Some(next) = attachment.next().await {
        let (answer, last) = match next {
            Next::Told(Told::Output(chunk)) => (Answer::Output(output(&chunk)), false),
            Next::Told(Told::Dropped(bytes)) => (Answer::Dropped(bytes), false),
            Next::Over(over) => (Answer::Exit(execs::over(&over)), true),
        };
        if tell(answers, answer).await.is_err() || last {
            return;
        }
    }
}

fn output(chunk: &Chunk) -> Output {
    let stream = match chunk.stream {
        Stream::Stdout => output::Stream::Stdout,
        Stream::Stderr => output::Stream::Stderr,
    };
    Output { stream: stream.into(), data: chunk.bytes.to_vec(), offset: chunk.offset }
}

/// The client has gone.
struct Gone;

async fn tell(answers: &Answers, what: Answer) -> Result<(), Gone> {
    answers.send(Ok(AttachResponse { what: Some(what) })).await.map_err(|_| Gone)
}

/// Sets the size of a terminal.
pub(super) fn resize(streams: &Streams, size: Option<WindowSize>) -> Result<(), Status> {
    let Some((rows, columns)) = wire::size(size)? else {
        return Err(Status::invalid_argument("resize a terminal: no size is given"));
    };
    match streams.resize(rows, columns) {
        Ok(true) => Ok(()),
        // Too late is no mistake.
        Ok(false) if streams.over().borrow().is_some() => Ok(()),
        Ok(false) => Err(Status::failed_precondition("resize a terminal: the process has none")),
        Err(e) => Err(Status::internal(format!("resize a terminal: {e}"))),
    }
}

/// Closes the stdin of a process.
pub(super) fn close_stdin(streams: &Streams) -> Result<(), Status> {
    if streams.has_terminal() {
        let why = "close its stdin: it is a terminal, where ^D is the end of input";
        return Err(Status::failed_precondition(why));
    }
    streams.close_stdin();
    Ok(())
}
