//! Values of cgroup files in systemd's form.

/// No limit, as systemd has it.
pub(super) const INFINITY: u64 = u64::MAX;

/// A number, or no limit.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(INFINITY),
        digits => digits.parse().ok(),
    }
}

/// A quota in a period, in microseconds.
#[derive(Default)]
pub(super) struct Bandwidth {
    pub(super) quota: Option<u64>,
    pub(super) period: Option<u64>,
}

impl Bandwidth {
    /// Reads `QUOTA PERIOD`, as `cpu.max` has it.
    pub(super) fn read_v2(&mut self, value: &str) {
        let mut words = value.split_whitespace();
        self.quota = words.next().and_then(number);
        self.period = words.next().and_then(number).or(self.period);
    }

    /// The time in each second, and the period where one is set.
    pub(super) fn each_second(&self) -> (Option<u64>, Option<u64>) {
        const SECOND: u64 = 1_000_000;
        const DEFAULT_PERIOD: u64 = 100_000;
        // A unit's file has whole percents, so a part of one counts as one.
        const PERCENT: u64 = SECOND / 100;
        let period = self.period.unwrap_or(DEFAULT_PERIOD).max(1);
        let each_second = self.quota.map(|quota| match quota {
            INFINITY => INFINITY,
            _ => (quota.saturating_mul(SECOND) / period).div_ceil(PERCENT).saturating_mul(PERCENT),
        });
        (each_second, self.period)
    }
}

/// The bits of a list that was checked: `0-3,7`, or with a stride as `0-10:1/2`.
pub(super) fn bits(list: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n < 8192);
    for part in list.split(',') {
        let (range, stride) = part.split_once(':').unwrap_or((part, "1/1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (count(first), count(last)) else { continue };
        let (used, group) =
            stride.split_once('/').and_then(|(u, g)| Some((count(u)?, count(g)?))).unwrap_or((1, 1));
        for bit in (first..=last).filter(|bit| (bit - first) % group.max(1) < used) {
            if bytes.len() <= bit / 8 {
                bytes.resize(bit / 8 + 1, 0_u8);
            }
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    bytes
}
