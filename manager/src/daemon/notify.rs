//! What systemd is told (sd_notify(3)), and the sockets that it passes
//! (sd_listen_fds(3)). Without systemd nothing is said, and there are none.

use crate::engine::Engine;
use sd_notify::NotifyState;
use std::time::Duration;

/// The daemon serves; from here on the watchdog is fed, if there is one.
///
/// It is fed by who asks the engine: a daemon that cannot answer is not alive.
pub(super) fn ready(engine: &Engine) {
    let (containers, running) = engine.count();
    say(&[NotifyState::Ready, NotifyState::Status(&status(containers, running))]);
    let mut period = 0;
    if !sd_notify::watchdog_enabled(false, &mut period) {
        return;
    }
    let engine = engine.clone();
    // systemd's own advice: half of the time that it waits.
    let half = Duration::from_micros(period / 2).max(Duration::from_millis(10));
    tokio::spawn(async move {
        loop {
            let (containers, running) = engine.count();
            say(&[NotifyState::Watchdog, NotifyState::Status(&status(containers, running))]);
            tokio::time::sleep(half).await;
        }
    });
}

/// The daemon ends.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn status(containers: usize, running: usize) -> String {
    format!("{containers} containers, {running} running")
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "cannot tell systemd (NOTIFY_SOCKET)");
    }
}
