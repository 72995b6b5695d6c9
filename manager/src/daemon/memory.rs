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

/// When it is given back: at the first look, whenever nothing has happened for a while since something did, and once
/// in [`BUSY`] looks where that never comes.
#[derive(Debug, Default)]
struct Rule {
    /// Number of the last event at the look before.
    last: Option<u64>,
    /// The same when it was given back.
    given_back_at: u64,
    /// Looks since then.
    looks: u32,
}

impl Rule {
    /// Whether it is to be given back at a look at which `now` is the number of the last event.
    fn is_due(&mut self, now: u64) -> bool {
        // What was read to begin: journals take several times their size in memory.
        let Some(last) = self.last.replace(now) else { return true };
        self.looks += 1;
        let is_due = now != self.given_back_at && (now == last || self.looks >= BUSY);
        if is_due {
            (self.given_back_at, self.looks) = (now, 0);
        }
        is_due
    }
}

/// Gives it back to the host when it is time.
pub(super) async fn give_back(engine: Engine) {
    let mut ticks = tokio::time::interval(LOOK);
    let mut rule = Rule::default();
    loop {
        ticks.tick().await;
        engine.forget_old();
        if rule.is_due(engine.events().last_seq()) {
            // A panic there ends nothing but itself.
            drop(tokio::task::spawn_blocking(sys::give_memory_back).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which looks it is given back, from 0 on.
    fn due(events: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let mut rule = Rule::default();
        let looks = events.into_iter().map(|now| rule.is_due(now)).enumerate();
        looks.filter_map(|(look, is_due)| is_due.then_some(look)).collect()
    }

    #[test]
    fn it_is_given_back_at_the_beginning_and_once_after_something_has_happened() {
        assert_eq!(due([0; 40]), [0]);
        assert_eq!(due([7; 40]), [0, 1]);
        assert_eq!(due([0, 3, 5, 5, 5, 5, 9, 9, 9]), [0, 3, 7]);
    }

    #[test]
    fn it_is_given_back_once_a_minute_where_there_is_always_something() {
        assert_eq!(LOOK * BUSY, Duration::from_secs(60));
        assert_eq!(due(1..=37), [0, 12, 24, 36]);
    }
}
