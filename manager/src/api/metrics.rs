//! The metrics as text, for whoever asks: over gRPC ([`super::system`]) or over
//! HTTP ([`crate::daemon`]).

use super::limits::{Count, Limits};
use crate::engine::error::Error;
use crate::engine::{Engine, blocking};
use crate::metrics;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// Scrapes at once; more wait.
const SCRAPES: usize = 2;

/// Gives the text. Cloning shares what it looks at.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// Whose metrics.
    pub engine: Engine,
    /// When the manager was started.
    pub started_at: SystemTime,
    /// Connections that there are.
    pub connections: Count,
    /// Calls under way.
    pub calls: Count,
    /// What there may be of both.
    pub limits: Limits,
    /// Whether there are series with the names of containers.
    pub per_container: bool,
    permits: Arc<Semaphore>,
}

impl Exporter {
    /// Of this engine, from now on.
    pub fn new(engine: Engine, started_at: SystemTime, limits: Limits, per_container: bool) -> Self {
        let (connections, calls) = (Count::default(), Count::default());
        let permits = Arc::new(Semaphore::new(SCRAPES));
        Self { engine, started_at, connections, calls, limits, per_container, permits }
    }

    /// What there is to tell now. Waits for no container and no shim.
    ///
    /// # Errors
    /// [`Error::Stopping`]; [`Error::Io`], which no known state of affairs leads to.
    pub async fn text(&self) -> Result<String, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Stopping)?;
        let exporter = self.clone();
        blocking(move || {
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let Self { engine, started_at, connections, calls, limits, per_container, .. } = exporter;
            let mut now = engine.now(started_at, per_container);
            now.connections = (count(connections.now()), count(limits.connections));
            now.requests = (count(calls.now()), count(limits.calls));
            let text = metrics::text(engine.metrics(), now);
            drop(permit);
            text.map_err(|error| Error::io("write the metrics")(io::Error::other(error)))
        })
        .await
    }
}
