//! Lists of CPUs and memory nodes: those of `resources.cpu` are checked as the
//! kernel reads them; those that become bit masks are what they say, and print
//! to what parses to the same.

use oci_spec::runtime::Spec;
use serde_json::json;
use sextant_runtime::cgroup::plan_on;
use sextant_runtime::plan::{Host, NumberSet};
use std::collections::BTreeSet;

pub(super) fn target(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    mask(text);
    let config = json!({"ociVersion": "1.3.0", "linux": {"resources": {"cpu": {"cpus": text}}}});
    let Ok(spec) = serde_json::from_value::<Spec>(config) else { return };
    let plan = plan_on(&spec, "fuzz", &Host::sample().cgroups, &mut Vec::new());
    let parsed = numbers(text.trim_end_matches('\n'), Strides::Allowed);
    match plan {
        Err(problems) => {
            assert!(parsed.is_none(), "{text:?} is refused: {problems:?}");
            assert_eq!(problems[0].pointer, "/linux/resources/cpu/cpus");
        }
        Ok(_) if text.is_empty() => {}
        Ok(plan) => {
            assert!(parsed.is_some(), "{text:?} is taken");
            let setting = plan.settings.iter().find(|s| s.file == "cpuset.cpus").expect("it is set");
            assert_eq!(setting.value, text);
        }
    }
}

fn mask(text: &str) {
    let blanks: String = text.split(['-', ',']).map(str::trim).collect::<Vec<_>>().join("-");
    match text.parse::<NumberSet>() {
        Err(_) => {
            let plain = numbers(text, Strides::Refused);
            assert!(plain.is_none(), "{text:?} is refused");
        }
        Ok(set) => {
            let held: BTreeSet<u32> =
                (0..NumberSet::MOST).filter(|n| word(&set, *n) >> (n % 64) & 1 == 1).collect();
            assert_eq!(set.to_string().parse(), Ok(set.clone()), "{text:?} prints as {set}");
            // Blanks around numbers are none to the kernel's own parser.
            if blanks.len() == text.len() {
                assert_eq!(Some(held), numbers(text, Strides::Refused), "{text:?}");
            }
        }
    }
}

fn word(set: &NumberSet, number: u32) -> u64 {
    set.words().get(number as usize / 64).copied().unwrap_or(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strides {
    Allowed,
    Refused,
}

/// What the kernel makes of a list (lib/bitmap-str.c, `bitmap_parselist`), as far
/// as it is accepted here: numbers, ranges, ranges with strides.
fn numbers(text: &str, strides: Strides) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (range, stride) = match part.split_once(':') {
            Some((range, stride)) if strides == Strides::Allowed => {
                let (used, group) = stride.split_once('/')?;
                (range, (number(used)?, number(group)?))
            }
            Some(_) => return None,
            None => (part, (1, 1)),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        let (used, group) = stride;
        if first > last || used > group || group == 0 {
            return None;
        }
        all.extend((first..=last).filter(|n| (n - first) % group < used));
    }
    Some(all)
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n < 8192)
}
