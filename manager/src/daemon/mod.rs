//! The daemon: arguments → checked configuration → directories and locks →
//! engine → server, until a signal. Containers live on when it stops.

pub mod args;
mod dirs;
mod listen;
mod lock;
mod serve;

pub use args::{Args, Config};

use crate::api::convert::CODEC;
use crate::engine::{Engine, Settings, error::Error, events::Events};
use crate::files;
use std::time::SystemTime;

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting or serving.
pub async fn run(config: Config) -> Result<(), Error> {
    let started_at = SystemTime::now();
    let Config { settings, listen, events_limit } = config;
    let Settings { root, state, .. } = &settings;
    files::raise();
    // From here on nobody else is at these directories; held until the end.
    let _locks = (dirs::prepare(root, &["containers"])?, dirs::prepare(state, &["shims", "runtime"])?);
    let (events, history) = Events::open(&root.join("events"), CODEC, events_limit)?;
    tracing::info!(root = %root.display(), state = %state.display(), "starting");
    let engine = Engine::open(settings.clone(), events, history).await?;
    let (containers, running) = engine.count();
    let socket = listen::listen(&listen)?;
    tracing::info!(listen = %listen.display(), containers, running, "serving");
    let served = serve::serve(engine, started_at, socket).await;
    tracing::info!("stopped; containers live on");
    served
}
