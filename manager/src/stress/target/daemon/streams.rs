//! Reading a log, and attaching: what is more than one answer.

use super::super::Fault;
use super::super::again::Deadline;
use super::Daemon;
use super::ask::fault;
use sextant_proto::client::{Error, Heard};
use sextant_proto::v1::{AttachOpen, LogsRequest, SlowClient, attach_open};
use std::sync::atomic::Ordering;

impl Daemon {
    /// Reads the whole log; how many bytes.
    pub(super) async fn read_log(&self, id: &str) -> Result<u64, Fault> {
        let mut request = LogsRequest { id: id.to_owned(), follow: true, ..Default::default() };
        let (mut bytes, mut deadline) = (0, Deadline::default());
        // What is left is asked for again, so that each byte comes once.
        loop {
            let mut log = match self.client().containers.logs(request.clone()).await {
                Ok(log) => log.into_inner(),
                Err(status) => {
                    self.again.wait("logs", status.into(), &mut deadline).await.map_err(fault)?;
                    continue;
                }
            };
            let error = loop {
                match log.message().await {
                    Ok(Some(entry)) => {
                        bytes += u64::try_from(entry.data.len()).unwrap_or(0);
                        (request.offset, deadline) = (entry.next_offset, Deadline::default());
                    }
                    Ok(None) => return Ok(bytes),
                    Err(status) => break Error::from(status),
                }
            };
            self.again.wait("logs", error, &mut deadline).await.map_err(fault)?;
        }
    }

    /// Attaches, writes a line, waits until it comes back, and goes.
    pub(super) async fn see_echo(&self, id: &str) -> Result<(), Fault> {
        let open = AttachOpen {
            container: id.to_owned(),
            slow: SlowClient::Block.into(),
            from: Some(attach_open::From::ReplayBytes(0)),
            ..AttachOpen::default()
        };
        let (input, mut output) = self.client().attach(open, None).await.map_err(fault)?;
        let line = format!("attach {}\n", self.next.fetch_add(1, Ordering::Relaxed));
        input.stdin(line.as_bytes()).await;
        let mut seen = Vec::new();
        while let Some(heard) = output.next().await.map_err(fault)? {
            if let Heard::Output(piece) = heard {
                seen.extend_from_slice(&piece.data);
                if seen.windows(line.len()).any(|part| part == line.as_bytes()) {
                    return Ok(());
                }
            }
        }
        Err(Fault::new("NO_ECHO", "the stream ended before the line came back"))
    }
}
