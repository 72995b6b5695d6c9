//! Times, and the table that they are printed as.

use std::time::Duration;

/// What one subject took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) name: String,
    taken: Vec<Duration>,
}

impl Times {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.into(), taken: Vec::new() }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.taken.push(time);
    }

    pub(crate) fn extend(&mut self, other: impl IntoIterator<Item = Duration>) {
        self.taken.extend(other);
    }

    /// The time that `thousandths` of all took at most, in milliseconds.
    pub(crate) fn at(&mut self, thousandths: usize) -> f64 {
        self.taken.sort_unstable();
        let index = self.taken.len().saturating_sub(1) * thousandths / 1000;
        self.taken.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// Rows of medians; the first is what the others are measured by.
pub(crate) fn table(subjects: &mut [Times]) -> String {
    let mut lines = vec![
        "| | median ms | fastest | p90 | p99 | × first |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut first = None;
    for subject in subjects {
        let [fastest, median, p90, p99] = [0, 500, 900, 990].map(|at| subject.at(at));
        let first = *first.get_or_insert(median);
        lines.push(format!(
            "| {} | {median:.2} | {fastest:.2} | {p90:.2} | {p99:.2} | {:.2} |",
            subject.name,
            median / first
        ));
    }
    lines.join("\n")
}

/// A line of `/proc/PID/smaps_rollup` or `status`, in KiB.
pub(crate) fn kib(path: &str, line: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|l| l.strip_prefix(line));
    found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// CPU time that a process has used, its children that were waited for included: clock ticks of
/// `/proc/PID/stat`, of which Linux has 100 a second.
pub(crate) fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or("");
    after.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}
