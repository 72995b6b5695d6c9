//! What the kernel's schedulers and its memory management are told of a process.

/// Attributes of the process beside its identity; all absent is the caller's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `process.scheduler`
    pub scheduler: Option<Scheduler>,
    /// `process.ioPriority`
    pub io_priority: Option<IoPriority>,
    /// `process.execCPUAffinity`: of processes that join the container later, not of its init.
    pub exec_affinity: ExecAffinity,
    /// `linux.personality`: domain and flags as personality(2) takes them.
    pub personality: Option<u32>,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<MemoryPolicy>,
}

/// Arguments of sched_setattr(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// The policy's name, for people.
    pub name: &'static str,
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// From -20 to 19.
    pub nice: i32,
    /// Static priority of the real-time policies.
    pub priority: u32,
    /// Of SCHED_DEADLINE, in nanoseconds.
    pub runtime: u64,
    /// Likewise.
    pub deadline: u64,
    /// Likewise.
    pub period: u64,
}

/// Arguments of ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority {
    /// The class's name, for people.
    pub name: &'static str,
    /// `IOPRIO_CLASS_*`
    pub class: u32,
    /// From 0 (highest) to 7.
    pub level: u32,
}

/// CPUs of a process that is executed in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecAffinity {
    /// Until it is in the container's cgroup.
    pub initial: Option<NumberSet>,
    /// From then on.
    pub last: Option<NumberSet>,
}

/// Arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// The mode's name, for people.
    pub name: &'static str,
    /// `MPOL_*`, its flags included.
    pub mode: u32,
    /// The memory nodes; empty where the mode has none.
    pub nodes: NumberSet,
}

/// A set of CPUs or memory nodes, as a bit mask of 64-bit words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet {
    words: Vec<u64>,
}

impl NumberSet {
    /// Adds one; what lies behind [`NumberSet::MOST`] is left out.
    pub fn insert(&mut self, number: u32) {
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), number % 64);
        if number >= Self::MOST {
            return;
        }
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(place) = self.words.get_mut(word) {
            *place |= 1 << bit;
        }
    }

    /// More than any kernel is built for (`CONFIG_NR_CPUS`, `MAX_NUMNODES`).
    pub const MOST: u32 = 8192;

    /// The words, lowest numbers first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

impl std::fmt::Display for NumberSet {
    /// As the kernel lists them: `0-3,7`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let holds = |n: u32| {
            let word = usize::try_from(n / 64).ok().and_then(|word| self.words.get(word));
            word.is_some_and(|word| word >> (n % 64) & 1 == 1)
        };
        let end = u32::try_from(self.words.len()).unwrap_or(0).saturating_mul(64);
        let (mut n, mut comma) = (0, "");
        while n < end {
            if !holds(n) {
                n += 1;
                continue;
            }
            let first = n;
            while holds(n + 1) {
                n += 1;
            }
            if first == n {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{n}")?;
            }
            comma = ",";
            n += 1;
        }
        Ok(())
    }
}

impl std::str::FromStr for NumberSet {
    type Err = String;

    /// The list format of cpuset(7): `0-3,7`; blanks around numbers are allowed.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.trim().parse::<u32>() {
            Ok(n) if n < Self::MOST && !digits.trim().starts_with('+') => Ok(n),
            _ => Err(format!("{text:?}: {digits:?} is not a number below {}", Self::MOST)),
        };
        let mut set = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{text:?}: {first} is greater than {last}"));
            }
            (first..=last).for_each(|n| set.insert(n));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::NumberSet;

    #[test]
    fn lists_are_read_and_printed() {
        for (text, words, printed) in [
            ("0", &[1][..], "0"),
            ("0-3,7", &[0x8f], "0-3,7"),
            (" 1 - 2 , 64", &[6, 1], "1-2,64"),
            ("63-64", &[1 << 63, 1], "63-64"),
        ] {
            let set: NumberSet = text.parse().unwrap();
            assert_eq!((set.words(), set.to_string().as_str()), (words, printed), "{text}");
        }
        for bad in ["", ",", "3-1", "a", "1-", "-1", "9999", "+1", "0 1"] {
            assert!(bad.parse::<NumberSet>().is_err(), "{bad}");
        }
    }
}
