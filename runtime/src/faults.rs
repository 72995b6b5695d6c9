//! Failures on purpose, so that tests can prove what a failure leaves: nothing.
//! Only a build with the cargo feature `faults` has them; in any other these
//! functions do nothing. There, `SEXTANT_FAULT` says what happens at which stage:
//!
//! ```text
//! ACTION:STAGE[#N][@WHO] at the Nth time (from 1) that WHO reaches this stage: `parent`, the
//!                        process of the command, or `child`, one that it has cloned; or any
//!   fail                the stage fails and does nothing
//!   fail-after          it does its work, and fails
//!   die                 the process dies in place of the stage
//!   hold                it writes a record with the object "held" and waits until the file
//!                       of the records is made executable
//! ```
//!
//! Beside it, the plan in `SEXTANT_FAULTS` is read that shim and manager have as well (its grammar is that of
//! `sextant_proto::faults`): its entries `runtime:ACTION:STAGE[#N][%P/Q]`, where ACTION is `fail`,
//! `fail-after`, `delay=MS` or `die`.

use crate::contract::report::Stage;
use crate::report::{Outcome, Reporter};

/// Carries out a stage, or what the fault wants in its place.
pub(crate) fn around<T>(stage: Stage, report: &Reporter, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let fault = at(stage, report)?;
    let result = work();
    if fault == Then::Fail { failed("fail-after").and(result) } else { result }
}

/// What a fault does at the beginning of a stage.
pub(crate) fn before(stage: Stage, report: &Reporter) -> Outcome<()> {
    at(stage, report).map(drop)
}

/// What is left to do when the work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    #[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "never made there"))]
    Fail,
}

fn failed(action: &str) -> Outcome<()> {
    Err(crate::report::refuse("go on", format!("SEXTANT_FAULT says {action}")))
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
fn at(_: Stage, _: &Reporter) -> Outcome<Then> {
    Ok(Then::Nothing)
}

/// Reads the plan, if there is one.
///
/// # Errors
/// Naming the entry that is none.
#[cfg(feature = "faults")]
pub fn read_plan() -> Outcome<()> {
    plan::read().map_err(|because| crate::report::refuse("read the plan of faults", because))
}

/// There is none in this build.
///
/// # Errors
/// Never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn read_plan() -> Outcome<()> {
    Ok(())
}

/// The descriptor of the log of faults, which stays open until execve.
#[cfg(feature = "faults")]
pub(crate) fn log() -> Option<i32> {
    plan::log()
}

/// There is none in this build.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn log() -> Option<i32> {
    None
}

#[cfg(feature = "faults")]
mod plan;

#[cfg(feature = "faults")]
fn at(stage: Stage, report: &Reporter) -> Outcome<Then> {
    let place = stage.to_string();
    if let Some(action) = plan::at(&place) {
        return carry_out(&action, &place, report);
    }
    of_variable(&place, report)
}

/// What `SEXTANT_FAULT` says.
#[cfg(feature = "faults")]
fn of_variable(stage: &str, report: &Reporter) -> Outcome<Then> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static REACHED: AtomicU32 = AtomicU32::new(0);
    static COMMAND: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    // Whoever comes here first is the command: its first stage is ahead of any clone.
    let own = std::process::id();
    let who = if *COMMAND.get_or_init(|| own) == own { "parent" } else { "child" };
    let text = std::env::var("SEXTANT_FAULT").unwrap_or_default();
    let Some((action, place)) = text.split_once(':') else { return Ok(Then::Nothing) };
    let (place, wanted_who) = place.split_once('@').unwrap_or((place, who));
    let (wanted, nth) = place.split_once('#').unwrap_or((place, "1"));
    if stage != wanted
        || who != wanted_who
        || (REACHED.fetch_add(1, Ordering::Relaxed) + 1).to_string() != nth
    {
        return Ok(Then::Nothing);
    }
    carry_out(action, stage, report)
}

#[cfg(feature = "faults")]
fn carry_out(action: &str, stage: &str, report: &Reporter) -> Outcome<Then> {
    if let Some(time) = action.strip_prefix("delay=").and_then(|ms| ms.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_millis(time));
        return Ok(Then::Nothing);
    }
    match action {
        "fail" => failed(action).map(|()| Then::Nothing),
        "fail-after" => Ok(Then::Fail),
        "hold" => {
            let now = crate::report::now_ns();
            let pid = std::process::id().cast_signed();
            let object = "held".to_owned();
            report.write(&crate::contract::report::Record {
                stage: stage.parse().unwrap_or(crate::contract::report::StageKind::Load.into()),
                start_ns: now,
                end_ns: now,
                pid,
                object,
                failure: None,
            });
            wait_to_be_let_go(report);
            Ok(Then::Nothing)
        }
        _ => {
            // The kernel keeps a pid 1 from killing itself; it exits.
            crate::sys::signal::kill(std::process::id().cast_signed(), libc::SIGKILL).ok();
            crate::sys::process::exit_now(137)
        }
    }
}

/// For a minute at most: a test that has failed lets nobody go.
#[cfg(feature = "faults")]
fn wait_to_be_let_go(report: &Reporter) {
    use std::time::{Duration, Instant};
    const EXECUTABLE: libc::mode_t = 0o100;
    let end = Instant::now() + Duration::from_secs(60);
    let held = || report.mode().is_some_and(|mode| mode & EXECUTABLE == 0);
    while held() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}
