//! The cpuset controller: lists of CPUs and memory nodes (cpuset(7), "List format").

use super::Builder;
use oci_spec::runtime::LinuxCpu;

/// More than any kernel is built for (`CONFIG_NR_CPUS`, `MAX_NUMNODES`).
const MOST: u32 = 8192;

pub(super) fn plan(cpu: &LinuxCpu, builder: &mut Builder<'_>) {
    for (list, file, what, pointer) in [
        (cpu.cpus(), "cpuset.cpus", "CPU list", "/linux/resources/cpu/cpus"),
        (cpu.mems(), "cpuset.mems", "memory node list", "/linux/resources/cpu/mems"),
    ] {
        let Some(list) = list.as_deref().filter(|l| !l.is_empty()) else { continue };
        match check(list) {
            Err(message) => builder.refuse_hint(pointer, message, "such as 0-3,7"),
            Ok(()) => {
                if let Some(target) = builder.target("cpuset", pointer) {
                    builder.set(target, file, list, what, pointer);
                }
            }
        }
    }
}

/// `0-3,7`, or with a stride as `0-10:1/2`.
fn check(list: &str) -> Result<(), String> {
    for part in list.trim_end_matches('\n').split(',') {
        let (range, stride) = part.split_once(':').map_or((part, None), |(r, s)| (r, Some(s)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first, list)?, number(last, list)?);
        if first > last {
            return Err(format!("{list:?}: {first} is greater than {last}"));
        }
        if let Some(stride) = stride {
            let (used, group) = stride.split_once('/').ok_or(format!("{list:?}: {stride:?} is not N/M"))?;
            let (some, all) = (number(used, list)?, number(group, list)?);
            if all == 0 || some > all {
                return Err(format!("{list:?}: {used} of {group}"));
            }
        }
    }
    Ok(())
}

fn number(text: &str, list: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number < MOST => Ok(number),
        _ => Err(format!("{list:?}: {text:?} is not a number below {MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn lists() {
        for good in ["0", "0-3", "0-3,7", "0-10:1/2", "1,1"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ",", "3-1", "a", "1-", "-1", "0 1", "0-3:2", "0-3:3/2", "7:0/0", "9999", "+1", "1\n2"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
