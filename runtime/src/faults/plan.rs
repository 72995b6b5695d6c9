//! The plan of faults that all programs share, as far as the runtime is concerned. It may import nothing of
//! ours, so the grammar stands here a second time; each process draws numbers of its own.

use crate::contract::report::Stage;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "SEXTANT_FAULTS";
const PROGRAMS: [&str; 3] = ["runtime", "shim", "manager"];

static PLAN: OnceLock<Plan> = OnceLock::new();
static LOG: OnceLock<Option<File>> = OnceLock::new();

#[derive(Debug, Default)]
struct Plan {
    entries: Vec<Entry>,
    random: AtomicU64,
    log: Option<String>,
}

#[derive(Debug)]
struct Entry {
    action: String,
    stage: String,
    nth: u64,
    odds: Option<(u64, u64)>,
    reached: AtomicU64,
}

/// Reads it once, from the environment.
pub(super) fn read() -> Result<(), String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    let text = match text.strip_prefix('@') {
        None => text,
        Some(file) => std::fs::read_to_string(file).map_err(|e| format!("{VARIABLE}: read {file}: {e}"))?,
    };
    let plan = parse(&text)?;
    PLAN.set(plan).map_err(|_| "it is read twice".into())
}

/// What happens now at this stage, if anything; it is written down.
pub(super) fn at(stage: &str) -> Option<String> {
    let plan = PLAN.get()?;
    // Opened by the process of the command: one in a user namespace may not reach it.
    let log = LOG.get_or_init(|| plan.open());
    let here = plan.entries.iter().filter(|entry| entry.stage == stage);
    let due: Vec<&Entry> = here.filter(|entry| plan.is_due(entry)).collect();
    let action = due.first()?.action.clone();
    if log.is_some() {
        use std::io::Write;
        let (kind, now) = (action.split('=').next().unwrap_or_default(), crate::report::now_ns());
        // Its words, so that it is known whose container this is about.
        let words: Vec<String> =
            std::env::args().skip(1).map(|word| word.replace(char::is_whitespace, "_")).collect();
        let line = format!("runtime {kind} {stage} {now} {}\n", words.join(" "));
        log.as_ref().map_or(Ok(()), |mut file| file.write_all(line.as_bytes())).unwrap_or_default();
    }
    Some(action)
}

/// The descriptor of the log, once it is open.
pub(super) fn log() -> Option<i32> {
    LOG.get()?.as_ref().map(File::as_raw_fd)
}

impl Plan {
    fn open(&self) -> Option<File> {
        File::options().append(true).create(true).open(self.log.as_ref()?).ok()
    }

    fn is_due(&self, entry: &Entry) -> bool {
        let time = entry.reached.fetch_add(1, Ordering::Relaxed) + 1;
        match entry.odds {
            None => time == entry.nth,
            Some((of, all)) => time >= entry.nth && self.next() % all < of,
        }
    }

    /// The next number (xorshift64); there is one thread.
    fn next(&self) -> u64 {
        let mut state = self.random.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.store(state, Ordering::Relaxed);
        state
    }
}

fn parse(text: &str) -> Result<Plan, String> {
    let (mut plan, mut seed) = (Plan::default(), 0_u64);
    for entry in text.split(['\n', ';']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let wrong = |why: String| format!("{VARIABLE}: the entry {entry:?}: {why}");
        if let Some(number) = entry.strip_prefix("seed=") {
            seed = number.parse().map_err(|e| wrong(format!("{e}")))?;
        } else if let Some(path) = entry.strip_prefix("log=") {
            plan.log = Some(path.to_owned());
        } else {
            plan.entries.extend(parse_entry(entry).map_err(wrong)?);
        }
    }
    let own = format!("{seed} {:?} {}", std::env::args_os(), std::process::id());
    // FNV-1a, mixed once more, and no zero, from which xorshift does not come away.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = own.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    plan.random = AtomicU64::new((hash ^ (hash >> 33)) | 1);
    Ok(plan)
}

/// One entry; `None` when it is about another program, which knows its own points.
fn parse_entry(entry: &str) -> Result<Option<Entry>, String> {
    let parts: Vec<&str> = entry.splitn(3, ':').collect();
    let [program, action, place] = parts.as_slice() else {
        return Err("it is not PROGRAM:ACTION:POINT[#N][%P/Q], seed=N or log=FILE".into());
    };
    if !PROGRAMS.contains(program) {
        return Err(format!("no program is called {program:?}: there are {}", PROGRAMS.join(", ")));
    }
    if *program != "runtime" {
        return Ok(None);
    }
    let (place, odds) = match place.split_once('%') {
        None => (*place, None),
        Some((place, odds)) => {
            let parsed =
                odds.split_once('/').and_then(|(of, all)| Some((of.parse().ok()?, all.parse().ok()?)));
            let parsed: Option<(u64, u64)> = parsed.filter(|(_, all)| *all > 0);
            (place, Some(parsed.ok_or_else(|| format!("%{odds} is not %P/Q with Q above 0"))?))
        }
    };
    let (stage, nth) = place.split_once('#').unwrap_or((place, "1"));
    let nth =
        nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(|| format!("#{nth} is no number from 1 on"))?;
    // It says itself which stages there are.
    let stage = stage.parse::<Stage>()?.to_string();
    let delay = action.strip_prefix("delay=").is_some_and(|ms| ms.parse::<u64>().is_ok());
    if !delay && !["fail", "fail-after", "die"].contains(action) {
        return Err(format!("{action:?} is no action: there are fail, fail-after, delay=MS, die"));
    }
    Ok(Some(Entry { action: (*action).to_owned(), stage, nth, odds, reached: AtomicU64::new(0) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_runtime_is_taken_and_the_rest_left() {
        let plan = parse("seed=3; runtime:die:mount/0#2\nshim:fail:journal.append;runtime:delay=5:exec%1/2")
            .unwrap();
        assert_eq!(plan.entries.len(), 2);
        let due = |n: usize| plan.is_due(&plan.entries[n]);
        assert_eq!([due(0), due(0), due(0)], [false, true, false]);
        let met = (0..1000).filter(|_| due(1)).count();
        assert!((350..650).contains(&met), "{met}");
    }

    #[test]
    fn a_mistake_names_its_entry_and_what_there_is() {
        for (text, words) in [
            ("runtime:die", "PROGRAM:ACTION:POINT"),
            ("x:die:load", "runtime, shim, manager"),
            ("runtime:short:load", "fail, fail-after, delay=MS, die"),
            ("runtime:die:lode", "namespace-open"),
            ("runtime:die:load#x", "no number"),
            ("runtime:die:load%2", "%P/Q"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words) && error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }
}
