//! Memory that containers have needed while they were made and removed, and nobody needs any more.

use crate::engine::Engine;
use crate::sys;
use std::time::Duration;

/// How often it is looked at whether anything has happened.
const LOOK: Duration = Duration::from_secs(5);

/// Gives it back to the host whenever nothing has happened for a while since something did.
pub(super) async fn give_back(engine: Engine) {
    let mut ticks = tokio::time::interval(LOOK);
    let (mut last, mut given_back_at) = (0, 0);
    loop {
        ticks.tick().await;
        let now = engine.events().last_seq();
        if now == last && now != given_back_at {
            given_back_at = now;
            // A panic there ends nothing but itself.
            drop(tokio::task::spawn_blocking(sys::give_memory_back).await);
        }
        last = now;
    }
}
