//! Lets units of load begin: when the schedule says so (open loop), or as soon as one of those that are
//! under way has ended (closed loop).

use super::pace::Pace;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How much load, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// When units are to begin; `None`: one after the other, as fast as they end.
    pub(crate) pace: Option<Pace>,
    /// Units under way at once, at most.
    pub(crate) at_once: usize,
    /// Units in all, at most.
    pub(crate) count: Option<u64>,
    /// No unit begins later.
    pub(crate) duration: Option<Duration>,
}

/// A unit that is to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Which, from 0 on.
    pub(crate) number: u64,
    /// When it was to begin.
    pub(crate) intended: Instant,
}

/// What became of the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Driven {
    /// Units that have begun.
    pub(crate) begun: u64,
    /// Units that were due, and had not begun when the time was over: the target was too slow.
    pub(crate) behind: u64,
    /// Somebody asked for the end.
    pub(crate) interrupted: bool,
}

/// Whether the end was asked for; clones hear the same.
pub(crate) type Stop = watch::Receiver<bool>;

/// Answers when the end is asked for; never, when nobody can ask any more.
pub(crate) async fn stopped(stop: &mut Stop) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lets units begin until the count is reached, the time is over, or the end is asked for, and waits for
/// those that are under way; when the end is asked for, they are given up.
pub(crate) async fn drive<F>(mut load: Load, mut stop: Stop, unit: impl Fn(Ticket) -> F) -> Driven
where
    F: Future<Output = ()> + Send + 'static,
{
    let begin = Instant::now();
    let end = load.duration.and_then(|duration| begin.checked_add(duration));
    let permits = Arc::new(Semaphore::new(load.at_once.max(1)));
    let mut tasks = JoinSet::new();
    let mut driven = Driven::default();
    while load.count.is_none_or(|count| driven.begun < count) {
        let intended = load.pace.as_mut().map(|pace| begin + pace.next());
        if intended.or_else(|| Some(Instant::now())) >= end && end.is_some() {
            break;
        }
        let permit = tokio::select! {
            biased;
            () = stopped(&mut stop) => { driven.interrupted = true; break; }
            () = until(end) => {
                driven.behind = load.pace.as_mut().map_or(0, |pace| due(pace, begin, end));
                break;
            }
            permit = due_and_free(intended, &permits) => permit,
        };
        let ticket = Ticket { number: driven.begun, intended: intended.unwrap_or_else(Instant::now) };
        let unit = unit(ticket);
        tasks.spawn(async move {
            unit.await;
            drop(permit);
        });
        driven.begun += 1;
        while tasks.try_join_next().is_some() {}
    }
    tokio::select! {
        biased;
        () = stopped(&mut stop) => { driven.interrupted = true; }
        () = async { while tasks.join_next().await.is_some() {} } => {}
    }
    driven
}

/// How many are due before the end, with the one that was just taken from the schedule.
fn due(pace: &mut Pace, begin: Instant, end: Option<Instant>) -> u64 {
    let before_end = |at: &Duration| end.is_none_or(|end| begin + *at < end);
    let more = std::iter::from_fn(|| Some(pace.next()).filter(before_end)).count();
    1 + u64::try_from(more).unwrap_or(u64::MAX)
}

async fn due_and_free(
    intended: Option<Instant>,
    permits: &Arc<Semaphore>,
) -> Option<tokio::sync::OwnedSemaphorePermit> {
    if let Some(intended) = intended {
        sleep_until(intended).await;
    }
    permits.clone().acquire_owned().await.ok()
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::super::pace::{Arrivals, Shape};
    use super::*;

    fn load(rate: Option<f64>, at_once: usize, count: Option<u64>, seconds: u64) -> Load {
        let pace = rate.map(|rate| Pace::new(rate, Shape::Constant, Arrivals::Even, 1));
        Load { pace, at_once, count, duration: Some(Duration::from_secs(seconds)) }
    }

    fn never() -> (watch::Sender<bool>, Stop) {
        watch::channel(false)
    }

    /// A target that takes 1 ms, and once answers nobody for two seconds.
    async fn stalling(ticket: Ticket, book: Arc<Book>, stall: (Instant, Instant)) {
        let begun = Instant::now();
        if begun >= stall.0 && begun < stall.1 {
            sleep_until(stall.1).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        book.done("call", ticket.intended, begun, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_seen_by_all_who_would_have_come() {
        let book = Arc::new(Book::new());
        let now = Instant::now();
        let stall = (now + Duration::from_secs(2), now + Duration::from_secs(4));
        // One at once: as a client that waits for its answer before it asks again.
        let (_asks, stop) = never();
        let driven =
            drive(load(Some(100.0), 1, None, 10), stop, |ticket| stalling(ticket, book.clone(), stall)).await;
        assert_eq!((driven.begun, driven.behind), (1000, 0));
        book.read(|entries| {
            let op = &entries.ops["call"];
            // 200 arrivals fall into the stall, and those behind them have to wait as well.
            let slow = op.latency.len() - op.latency.count_between(0, 100_000_000);
            assert!((190..=240).contains(&slow), "{slow}");
            assert!(op.latency.value_at_quantile(0.99) > 1_500_000_000);
            // Who counts from the true start does not see it: one call was slow.
            assert!(op.service.value_at_quantile(0.99) < 3_000_000);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_has_no_more_under_way_than_clients() {
        let book = Arc::new(Book::new());
        let (_asks, stop) = never();
        let unit = |ticket: Ticket| {
            let book = book.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                book.done("call", ticket.intended, ticket.intended, None);
            }
        };
        let driven = drive(load(None, 4, Some(40), 60), stop, unit).await;
        assert_eq!(driven, Driven { begun: 40, behind: 0, interrupted: false });
        assert_eq!(Instant::now() - book.begun, Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_due_and_has_not_begun_is_counted() {
        let (_asks, stop) = never();
        let slow = |_| tokio::time::sleep(Duration::from_secs(1));
        let driven = drive(load(Some(10.0), 1, None, 5), stop, slow).await;
        assert_eq!(driven.begun + driven.behind, 50);
        assert!((5..=6).contains(&driven.begun), "{driven:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_stop_waits_for_nobody() {
        let (asks, stop) = never();
        let driving = drive(load(None, 2, None, 1000), stop, |_| std::future::pending());
        let asking = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            asks.send(true).unwrap();
        };
        let (driven, ()) = tokio::join!(driving, asking);
        assert_eq!(driven, Driven { begun: 2, behind: 0, interrupted: true });
    }
}
