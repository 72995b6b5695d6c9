//! `sextant.v1.Stdio`: decodes, calls the engine, encodes. An attachment is passed
//! on message by message, one under way in each direction: a client or a process
//! that does not read is waited for, and nothing is kept meanwhile.

use super::convert;
use super::status::status;
use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::logs::Stream;
use crate::model::{Input, NewAttachment, OutputFrom, Over, Told};
use crate::shims::exec::Attachment;
use sextant_proto::v1;
use sextant_proto::v1::attach_open::From;
use sextant_proto::v1::attach_request::What as Said;
use sextant_proto::v1::attach_response::What as Heard;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Largest piece of input in one message, in bytes.
const PIECE: usize = 1 << 20;

/// The service.
#[derive(Clone, Debug)]
pub struct Stdio {
    /// Does the work.
    pub engine: Engine,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers = mpsc::Sender<Result<v1::AttachResponse, Status>>;

#[tonic::async_trait]
impl v1::stdio_server::Stdio for Stdio {
    type AttachStream = ReceiverStream<Result<v1::AttachResponse, Status>>;

    async fn attach(&self, request: Request<Streaming<v1::AttachRequest>>) -> Answer<Self::AttachStream> {
        let mut requests = request.into_inner();
        let Some(v1::AttachRequest { what: Some(Said::Open(open)) }) = requests.message().await? else {
            return Err(refused("attach", "what", "the first message is to be `open`"));
        };
        let (container, new) = attachment(open);
        let (say, input) = mpsc::channel(1);
        let attached = self.engine.attach(&container, new, input).await.map_err(|e| status(&e))?;
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(serve(attached, requests, say, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn resize(&self, request: Request<v1::ResizeRequest>) -> Answer<v1::ResizeResponse> {
        let v1::ResizeRequest { container, exec, size: new } = request.into_inner();
        let new = new.ok_or_else(|| refused("resize a terminal", "size", "it is not given"))?;
        let new = size(new).map_err(|e| status(&e))?;
        let resized = self.engine.resize(&container, &exec, new).await;
        resized.map(|()| Response::new(v1::ResizeResponse {})).map_err(|e| status(&e))
    }

    async fn close_stdin(&self, request: Request<v1::CloseStdinRequest>) -> Answer<v1::CloseStdinResponse> {
        let v1::CloseStdinRequest { container, exec } = request.into_inner();
        let closed = self.engine.close_stdin(&container, &exec).await;
        closed.map(|()| Response::new(v1::CloseStdinResponse {})).map_err(|e| status(&e))
    }
}

/// Passes on until the client goes, the process has ended, or something is refused.
async fn serve(
    mut attached: Attachment,
    mut requests: Streaming<v1::AttachRequest>,
    say: mpsc::Sender<Input>,
    answers: Answers,
) {
    let input = async {
        match pass_input(&mut requests, &say).await {
            // What the client hears goes on.
            Ok(()) => std::future::pending().await,
            Err(status) => status,
        }
    };
    let refused = tokio::select! {
        () = answers.closed() => return,
        result = pass_output(&mut attached, &answers) => match result {
            Ok(()) => return,
            Err(error) => status(&error),
        },
        status = input => status,
    };
    if answers.send(Err(refused)).await.is_err() {
        tracing::debug!("an attached client went before it was told why");
    }
}

async fn pass_input(
    requests: &mut Streaming<v1::AttachRequest>,
    say: &mpsc::Sender<Input>,
) -> Result<(), Status> {
    // An error says that the client has gone, which its other direction tells as well.
    while let Ok(Some(request)) = requests.message().await {
        let input = match request.what {
            Some(Said::Stdin(bytes)) if bytes.len() > PIECE => {
                return Err(refused("attach", "stdin", "a message has more than 1 MiB of it"));
            }
            Some(Said::Stdin(bytes)) => Input::Stdin(bytes),
            Some(Said::Resize(new)) => {
                let (rows, columns) = size(new).map_err(|e| status(&e))?;
                Input::Resize(rows, columns)
            }
            Some(Said::CloseStdin(_)) => Input::CloseStdin,
            Some(Said::Open(_)) => return Err(refused("attach", "open", "it is open already")),
            None => continue,
        };
        if say.send(input).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn pass_output(attached: &mut Attachment, answers: &Answers) -> Result<(), Error> {
    while let Some(told) = attached.next().await? {
        if answers.send(Ok(v1::AttachResponse { what: Some(heard(told)) })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn attachment(open: v1::AttachOpen) -> (String, NewAttachment) {
    let from = match open.from {
        Some(From::ReplayBytes(bytes)) => OutputFrom::Last(bytes),
        Some(From::FromOffset(offset)) => OutputFrom::Offset(offset),
        None => OutputFrom::Kept,
    };
    let new = NewAttachment {
        block: open.slow() == v1::SlowClient::Block,
        exec: Some(open.exec).filter(|exec| !exec.is_empty()),
        from: (!open.no_output).then_some(from),
    };
    (open.container, new)
}

fn heard(told: Told) -> Heard {
    match told {
        Told::Attached(stdio) => {
            Heard::Attached(v1::Attached { terminal: stdio.terminal, stdin: stdio.stdin })
        }
        Told::Output { stream, data, offset } => {
            let stream = match stream {
                Stream::Stdout => v1::log_entry::Stream::Stdout,
                Stream::Stderr => v1::log_entry::Stream::Stderr,
            };
            Heard::Output(v1::Output { stream: stream.into(), data, offset })
        }
        Told::Dropped(bytes) => Heard::Dropped(bytes),
        Told::Over(over) => Heard::Exit(over_to_wire(over)),
    }
}

/// The end of a process.
pub(super) fn over_to_wire(over: Over) -> v1::WaitExecResponse {
    v1::WaitExecResponse { exit: Some(convert::exit_to_wire(over.exit)), timed_out: over.timed_out }
}

/// Rows and columns that a terminal can have.
pub(super) fn size(size: v1::WindowSize) -> Result<(u16, u16), Error> {
    match (u16::try_from(size.rows), u16::try_from(size.columns)) {
        (Ok(rows), Ok(columns)) => Ok((rows, columns)),
        _ => Err(mistake("size a terminal", "size", "it has more than 65535 rows or columns")),
    }
}

fn refused(attempted: &str, field: &str, message: &str) -> Status {
    status(&mistake(attempted, field, message))
}

fn mistake(attempted: &str, field: &str, message: &str) -> Error {
    let violations = vec![Violation { field: field.into(), message: message.into(), hint: String::new() }];
    Error::Refused { attempted: attempted.into(), violations }
}
