//! What the engine tells of itself: each operation in the log and in the metrics,
//! and what there is at the moment of a scrape. Waits for nobody.

use super::error::Error;
use super::mailbox::MAILBOX;
use super::{Context, Engine};
use crate::metrics::{Now, Process, Shim, shim};
use crate::model::Verb;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::Instrument;

/// The same work, timed and counted. Whatever is logged meanwhile has the container and the key.
pub(super) fn operation<T>(
    context: &Arc<Context>,
    verb: Verb,
    id: &str,
    key: Option<&str>,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> impl Future<Output = Result<T, Error>> + Send + 'static {
    let span = tracing::info_span!("operation", %verb, container = id, key);
    let timing = context.metrics.operation(verb);
    #[cfg(feature = "otel")]
    let journal = context.settings.paths(id).journal();
    async move {
        let result = work.await;
        let outcome = result.as_ref().map_or_else(Error::reason, |_| "ok");
        let took = timing.end(outcome);
        tracing::info!(outcome, ms = milliseconds(took), "done");
        #[cfg(feature = "otel")]
        if result.is_ok() && matches!(verb, Verb::Create | Verb::Start) {
            tokio::spawn(stages(journal, verb).in_current_span());
        }
        result
    }
    .instrument(span)
}

/// Hands the stages of a start-up on to the collector.
#[cfg(feature = "otel")]
async fn stages(journal: std::path::PathBuf, verb: Verb) {
    let attempted = format!("read {}", journal.display());
    let read = move || crate::shims::journal::trace(&journal).map_err(Error::io(attempted));
    match super::blocking(read).await {
        Ok(mut records) => {
            records.retain(|record| record.command == verb.to_string());
            crate::telemetry::stages(&records);
        }
        Err(error) => tracing::debug!(error = error.chain(), "the stages of a start-up are not exported"),
    }
}

/// For a log: with three places.
pub(crate) fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Engine {
    /// What there is now; with `each`, the memory of every shim by the name of its container. Reads one small
    /// file of `/proc` for every shim: not for an executor thread.
    pub fn now(&self, started_at: SystemTime, each: bool) -> Now {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let mut now = Now {
            started_at,
            last_event: self.events().last_added(),
            journal_bytes: self.events().bytes(),
            queue_limit: count(MAILBOX),
            process: Process::read(),
            ..Now::default()
        };
        for handle in self.context.directory.all() {
            let waiting = count(handle.waiting());
            now.queued += waiting;
            now.longest_queue = now.longest_queue.max(waiting);
            let pid = handle.look(|snapshot| {
                now.count(snapshot.phase);
                now.degraded += u64::from(snapshot.degraded.is_some());
                snapshot.shim_pid
            });
            let Some((resident, private)) = pid.and_then(shim) else { continue };
            now.shim_count += 1;
            now.shim_bytes = (now.shim_bytes.0 + resident, now.shim_bytes.1 + private);
            if each {
                let id = handle.look(|snapshot| snapshot.id.clone());
                now.shims.push(Shim { id, resident_bytes: resident, private_bytes: private });
            }
        }
        now
    }
}
