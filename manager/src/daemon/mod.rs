//! The daemon: arguments → checked configuration → directories and locks →
//! engine → server, until a signal. Containers live on when it stops.

pub mod config;
mod dirs;
mod exporter;
mod listen;
mod lock;
mod memory;
mod notify;
mod serve;
mod stream;
mod tls;

use config::Config;
pub use memory::share_heaps;

use crate::api::convert::CODEC;
use crate::api::metrics::Exporter;
use crate::engine::{Engine, Settings, error::Error, events::Events};
use crate::{faults, files};
use std::time::SystemTime;

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting or serving.
pub async fn run(config: Config) -> Result<(), Error> {
    let started_at = SystemTime::now();
    let signals = serve::Signals::catch()?;
    let Settings { root, state, .. } = &config.settings;
    files::raise();
    // From here on nobody else is at these directories; held until the end.
    let _locks = (
        dirs::prepare(root, &["containers", "sandboxes"], None)?,
        dirs::prepare(state, &["shims", "runtime"], config.group)?,
    );
    let unread = || Error::io("read the plan of faults".to_owned());
    faults::read_plan(state).map_err(|because| unread()(std::io::Error::other(because)))?;
    let events = Events::open(&root.join("events"), CODEC, config.events_limit)?;
    tracing::info!(root = %root.display(), state = %state.display(), "starting");
    let engine = Engine::open(config.settings.clone(), events).await?;
    let (containers, running) = engine.count();
    let exporter = Exporter::new(engine.clone(), started_at, config.limits, config.metrics_per_container);
    let _scraped = match &config.metrics_listen {
        Some(at) => Some(exporter::start(at, exporter.clone()).await?),
        None => None,
    };
    let sockets = listen::listen(&config).await?;
    let addresses: Vec<String> = sockets.iter().map(listen::Socket::address).collect();
    tracing::info!(listen = addresses.join(","), containers, running, "serving");
    let memory = tokio::spawn(memory::give_back(engine.clone()));
    let served = serve::serve(engine, exporter, sockets, &config, signals).await;
    memory.abort();
    tracing::info!("stopped; containers live on");
    served
}
