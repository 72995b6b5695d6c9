//! How the filter is loaded: its flags, and who is asked about calls with the
//! action NOTIFY. Called by [`super::rules`].

use super::rules::{BASE, Judge};
use super::{Filter, Listener};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};

/// A [`Filter`] that lacks only its program. `notifies` when a rule has the action NOTIFY.
pub(super) fn check(spec: &LinuxSeccomp, notifies: bool, judge: &mut Judge<'_>) -> Filter {
    let mut filter = Filter { flags: flags(spec), ..Filter::default() };
    filter.listener = listener(spec, notifies, judge);
    if filter.listener.is_some() && filter.flags & TSYNC != 0 {
        filter.flags |= TSYNC_ESRCH;
    }
    if filter.listener.is_none() && filter.flags & WAIT_KILLABLE_RECV != 0 {
        judge.warn(format!("{BASE}/flags"), "WAIT_KILLABLE_RECV has no effect without a rule that notifies");
        filter.flags &= !WAIT_KILLABLE_RECV;
    }
    filter
}

const TSYNC: u32 = 1;
const WAIT_KILLABLE_RECV: u32 = 32;
/// Lets TSYNC fail with an error, because a listener's descriptor is returned already.
const TSYNC_ESRCH: u32 = 16;

fn flags(spec: &LinuxSeccomp) -> u32 {
    spec.flags().iter().flatten().fold(0, |sum, flag| {
        sum | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => 2,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 4,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
        }
    })
}

fn listener(spec: &LinuxSeccomp, notifies: bool, judge: &mut Judge<'_>) -> Option<Listener> {
    let metadata = spec.listener_metadata().clone().unwrap_or_default();
    match spec.listener_path().as_ref().filter(|p| !p.as_os_str().is_empty()) {
        Some(path) if notifies => return Some(Listener { path: path.clone(), metadata }),
        Some(_) => judge.warn(format!("{BASE}/listenerPath"), "has no effect without a rule that notifies"),
        None if notifies => {
            judge.refuse(format!("{BASE}/listenerPath"), "is needed by a rule with SCMP_ACT_NOTIFY");
        }
        None if !metadata.is_empty() => {
            judge.refuse(format!("{BASE}/listenerMetadata"), "is set, but listenerPath is not");
        }
        None => {}
    }
    None
}
