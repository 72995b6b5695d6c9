//! What stays of a journal that has grown to its bound: all that the manager has not
//! yet put into its own, and of what is older whatever a shim or a manager that takes
//! over has to know: the current life, how the one before ended, and the execs that
//! are remembered. Numbers stay as they are, so that a reader sees where some are
//! missing. The file is written anew beside the old one and takes its name: whenever
//! the shim is killed, one of the two is there, and whole.

use super::Reader;
use sextant_proto::journal::encode;
use sextant_proto::shim::event::What;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Ends of execs that are kept, at most: as many as are remembered.
const EXECS: usize = 128;

/// Copies the records that stay from one file to another; how many stay.
pub(super) fn copy(mut from: Reader, to: &File, told: u64) -> io::Result<u64> {
    let needed = needed(&mut from)?;
    from.offset = 0;
    let mut to = BufWriter::new(to);
    let mut kept = 0;
    while let Some(event) = from.next()? {
        if event.seq > told || needed.contains(&event.seq) {
            let record = encode(&event).map_err(|size| io::Error::other(format!("{size} bytes")))?;
            to.write_all(&record)?;
            kept += 1;
        }
    }
    to.flush()?;
    Ok(kept)
}

/// Numbers of the records that stay, whoever knows them.
fn needed(journal: &mut Reader) -> io::Result<BTreeSet<u64>> {
    let mut needs = Needs::default();
    while let Some(event) = journal.next()? {
        needs.learn(event.seq, event.what);
    }
    Ok(needs.into_seqs())
}

#[derive(Debug, Default)]
struct Needs {
    /// Of the current life, whatever happens seldom.
    life: BTreeSet<u64>,
    /// The last record of each kind that comes again and again.
    paused: Option<u64>,
    oom: Option<u64>,
    adopted: Option<u64>,
    failed: Option<u64>,
    /// The end of this life, and that of the one before.
    ended: Option<u64>,
    before: Option<u64>,
    /// Start and end of each exec, by its name.
    execs: BTreeMap<String, (u64, Option<u64>)>,
    /// The last record: numbers go on from it.
    last: Option<u64>,
}

impl Needs {
    fn learn(&mut self, seq: u64, what: Option<What>) {
        self.last = Some(seq);
        match what {
            Some(What::Created(_)) => {
                let (execs, before) = (std::mem::take(&mut self.execs), self.ended.or(self.before));
                *self = Self { life: [seq].into(), before, execs, last: self.last, ..Self::default() };
            }
            Some(What::Started(_) | What::Deleted(_)) => drop(self.life.insert(seq)),
            Some(What::Exited(_)) => self.ended = Some(seq),
            Some(What::Paused(_) | What::Resumed(_)) => self.paused = Some(seq),
            Some(What::Oom(_)) => self.oom = Some(seq),
            Some(What::Adopted(_)) => self.adopted = Some(seq),
            Some(What::CreateFailed(_) | What::StartFailed(_)) => self.failed = Some(seq),
            Some(What::ExecStarted(started)) => drop(self.execs.insert(started.exec, (seq, None))),
            Some(What::ExecExited(exited)) => {
                if let Some((_, end)) = self.execs.get_mut(&exited.exec) {
                    *end = Some(seq);
                }
            }
            Some(What::Updated(_)) | None => {}
        }
    }

    fn into_seqs(self) -> BTreeSet<u64> {
        let mut ends: Vec<u64> = self.execs.values().filter_map(|(_, end)| *end).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        // The end of the oldest that is kept; of those that run, all are.
        let oldest = ends.get(EXECS - 1).copied().unwrap_or(0);
        let execs = self.execs.into_values().filter(|(_, end)| end.is_none_or(|end| end >= oldest));
        let execs = execs.flat_map(|(start, end)| [Some(start), end]);
        let last_ones =
            [self.paused, self.oom, self.adopted, self.failed, self.ended, self.before, self.last];
        execs.chain(last_ones).flatten().chain(self.life).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_proto::shim;

    fn kept(records: &[What]) -> Vec<u64> {
        let mut needs = Needs::default();
        for (seq, what) in (1..).zip(records) {
            needs.learn(seq, Some(what.clone()));
        }
        needs.into_seqs().into_iter().collect()
    }

    fn created() -> What {
        What::Created(shim::Created::default())
    }

    fn exec(name: &str) -> [What; 2] {
        let started = shim::ExecStarted { exec: name.into(), ..Default::default() };
        let exited = shim::ExecExited { exec: name.into(), ..Default::default() };
        [What::ExecStarted(started), What::ExecExited(exited)]
    }

    #[test]
    fn of_a_life_that_is_over_only_its_end_stays() {
        let started = What::Started(shim::Started::default());
        let exited = What::Exited(shim::Exited::default());
        let life = [created(), started, exited];
        assert_eq!(kept(&life), [1, 2, 3]);
        assert_eq!(kept(&[&life[..], &life[..]].concat()), [3, 4, 5, 6]);
        let [running, _] = exec("a");
        assert_eq!(kept(&[&life[..], &[running], &life[..2]].concat()), [3, 4, 5, 6]);
    }

    #[test]
    fn of_what_comes_again_and_again_the_last_stays() {
        let paused = || What::Paused(shim::Paused {});
        let oom = || What::Oom(shim::Oom { kills: 1 });
        let failed = || What::StartFailed(shim::StartFailed::default());
        let all = [created(), paused(), oom(), failed(), oom(), paused(), failed()];
        assert_eq!(kept(&all), [1, 5, 6, 7]);
    }

    #[test]
    fn execs_that_are_remembered_stay_and_those_that_run() {
        let [running, _] = exec("runs");
        let mut all = vec![created(), running];
        for n in 0..130 {
            all.extend(exec(&n.to_string()));
        }
        let kept = kept(&all);
        assert_eq!(kept.len(), 2 + 2 * 128);
        assert!(kept.starts_with(&[1, 2, 7, 8]), "{kept:?}");
    }
}
