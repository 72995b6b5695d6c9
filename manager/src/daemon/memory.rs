//! Memory that containers have needed while they were made and removed, and nobody needs any more; and what was
//! remembered for long enough.

use crate::engine::Engine;
use crate::sys;
use std::time::Duration;

/// How often it is looked at whether anything has happened.
const LOOK: Duration = Duration::from_secs(5);
/// Looks after which it is given back though there is always something that happens.
const BUSY: u32 = 12;

/// Heaps of all threads together. A daemon has many threads that wait for a disk now and then, and glibc would give
/// each of the first ones a heap of its own, of which each keeps what was freed in it.
const HEAPS: i32 = 2;

/// Lets the threads share heaps; to be called before there are any.
pub fn share_heaps() {
    sys::heaps(HEAPS);
}

/// Gives it back to the host whenever nothing has happened for a while since something did, and once a minute
/// where that never comes.
pub(super) async fn give_back(engine: Engine) {
    // What was read to begin: journals take several times their size in memory.
    drop(tokio::task::spawn_blocking(sys::give_memory_back).await);
    let mut ticks = tokio::time::interval(LOOK);
    let (mut last, mut given_back_at, mut looks) = (0, 0, 0);
    loop {
        ticks.tick().await;
        engine.forget_old();
        let now = engine.events().last_seq();
        looks += 1;
        if now != given_back_at && (now == last || looks >= BUSY) {
            (given_back_at, looks) = (now, 0);
            // A panic there ends nothing but itself.
            drop(tokio::task::spawn_blocking(sys::give_memory_back).await);
        }
        last = now;
    }
}
