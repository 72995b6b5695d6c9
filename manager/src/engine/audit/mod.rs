//! An audit: the engine's part of [`crate::audit`]. Records, lists, records again, and what seems to be nobody's
//! is looked at further times; whatever is still there, the same and nobody's, is an orphan. [`fix`] removes
//! them, one by one, each of which is proven once more before.
//!
//! All reading happens on threads for blocking work: no actor is asked, and nobody waits for it.

mod fix;

use super::error::Error;
use super::{Context, Engine, blocking};
use crate::audit::records::{Container, Marks, Readings, Records};
use crate::audit::{Count, Finding, Fixed, Kind, Object, Orphan, Owner, Report, judge, lists};
use crate::model::Phase;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks until something that is nobody's is an orphan.
const LOOKS: u32 = 3;
/// The time between two of them: what is just going away has gone by then, mostly.
const BETWEEN: Duration = Duration::from_millis(300);

impl Engine {
    /// All that there is of what this daemon has made: the orphans, and with `all` also what has an owner; with
    /// `fix`, after an attempt to remove each orphan.
    ///
    /// # Errors
    /// [`Error::Io`] when a list of the kernel, or a directory of the daemon, cannot be read.
    pub async fn audit(&self, all: bool, fix: bool) -> Result<Report, Error> {
        let begun = Instant::now();
        // One after the other: they would suspect each other's threads.
        let _alone = self.context.auditing.lock().await;
        let (mut findings, looks) = look(&self.context).await?;
        findings.sort_by(|a, b| (a.whose.is_ok(), &a.object).cmp(&(b.whose.is_ok(), &b.object)));
        if fix {
            fix::all(&self.context, &mut findings).await;
        }
        let counts = count(&findings);
        findings.retain(|finding| all || finding.whose.is_err());
        Ok(Report { findings, counts, looks, took: begun.elapsed() })
    }
}

/// What a suspect was in the look before.
type Suspects = BTreeMap<Object, String>;

/// All objects, judged; and after how many looks.
async fn look(context: &Arc<Context>) -> Result<(Vec<Finding>, u32), Error> {
    let mut suspects: Option<Suspects> = None;
    for number in 1.. {
        let context = Arc::clone(context);
        let (judged, found) = blocking(move || once(&context)).await?;
        let same = |object: &Object| {
            let before = suspects.as_ref().map(|suspects| suspects.get(object));
            // At the first look, everybody is.
            before.is_none_or(|before| before.is_some() && before == found.get(object))
        };
        let left: Suspects =
            found.iter().filter(|(object, _)| same(object)).map(|(o, i)| (o.clone(), i.clone())).collect();
        if left.is_empty() || number >= LOOKS {
            let findings = judged.into_iter().filter_map(|(object, whose)| finding(object, whose, &left));
            return Ok((findings.collect(), number));
        }
        suspects = Some(left);
        tokio::time::sleep(BETWEEN).await;
    }
    Err(Error::Stopping)
}

/// What is told of an object at the end; `None` of one that came, or changed, while it was looked.
fn finding(object: Object, whose: Result<Owner, Orphan>, left: &Suspects) -> Option<Finding> {
    let whose = match whose {
        Ok(owner) => Ok(owner),
        Err(mut orphan) => {
            let identity = left.get(&object)?;
            let seconds = (BETWEEN * (LOOKS - 1)).as_secs_f32();
            orphan.proofs.push(format!(
                "{LOOKS} looks within {seconds:.1} s found it the same ({})",
                lists::words_of(&object.place, identity)
            ));
            Err(orphan)
        }
    };
    Some(Finding { object, whose, fixed: Fixed::No })
}

type Judged = Vec<(Object, Result<Owner, Orphan>)>;

/// One look: what is judged, and what the suspects among it are.
fn once(context: &Context) -> Result<(Judged, Suspects), Error> {
    let marks = marks(context);
    let before = records(context);
    let mut lists = lists::read(&marks).map_err(Error::io("look at what there is on this host"))?;
    let after = records(context);
    // Those that were handed out, and are still.
    lists.objects.extend(before.taken.intersection(&after.taken).map(|first| lists::range(*first)));
    let readings = Readings { before, after };
    let mut judged: Judged = Vec::with_capacity(lists.objects.len());
    let mut suspects = Suspects::new();
    for judge::Judged { object, whose } in judge::judge(&marks, lists, &readings) {
        if whose.is_err() {
            // What has gone since is none.
            let Some(identity) = lists::identity(&object.place) else { continue };
            suspects.insert(object.clone(), identity);
        }
        judged.push((object, whose));
    }
    Ok((judged, suspects))
}

pub(super) fn marks(context: &Context) -> Marks {
    let settings = &context.settings;
    Marks {
        root: settings.root.clone(),
        state: settings.state.clone(),
        runtime_root: settings.runtime_root(),
        runtime: settings.runtime.clone(),
        daemon: nix::unistd::getpid().as_raw(),
    }
}

fn records(context: &Context) -> Records {
    let container = |handle: super::directory::Handle| {
        handle.look(|snapshot| {
            let changing = matches!(snapshot.phase, Phase::Creating | Phase::Deleting | Phase::Failed);
            let changing = changing || snapshot.degraded.is_some();
            (snapshot.id.clone(), Container { shim: snapshot.shim_pid, ids: snapshot.ids, changing })
        })
    };
    Records {
        containers: context.directory.all().into_iter().map(container).collect(),
        sandboxes: context.sandboxes.ids(),
        names: context.directory.names(),
        taken: context.ranges.taken().into_iter().collect(),
        kept: context.kept.all(),
    }
}

/// Of each kind, without those that were removed.
fn count(findings: &[Finding]) -> Vec<Count> {
    let of = |kind| {
        let of_kind = || findings.iter().filter(|finding| finding.object.kind == kind);
        let orphans = of_kind().filter(|f| f.whose.is_err() && f.fixed != Fixed::Yes).count();
        Count { kind, owned: of_kind().filter(|finding| finding.whose.is_ok()).count(), orphans }
    };
    Kind::ALL.into_iter().map(of).collect()
}
