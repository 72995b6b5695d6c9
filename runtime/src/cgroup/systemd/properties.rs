//! Limits as properties of a unit. They are taken from the settings of a plan,
//! file by file, so that what the config says by its fields and what it says by
//! `unified` come out alike. What systemd has no property for is left to the file
//! alone; it writes only files that it has properties for.

use super::values::{Bandwidth, INFINITY, bits, number};
use super::wire::{Property, Value};
use crate::cgroup::plan::Setting;

/// Files with one number, or `max`: the property, and since which version of systemd.
const NUMBERS: [(&str, &str, u32); 14] = [
    ("cpu.shares", "CPUShares", 213),
    ("cpu.weight", "CPUWeight", 232),
    ("memory.limit_in_bytes", "MemoryLimit", 213),
    ("memory.low", "MemoryLow", 231),
    ("memory.min", "MemoryMin", 240),
    ("memory.high", "MemoryHigh", 231),
    ("memory.max", "MemoryMax", 231),
    ("memory.swap.max", "MemorySwapMax", 232),
    ("memory.zswap.max", "MemoryZSwapMax", 253),
    ("pids.max", "TasksMax", 227),
    ("blkio.bfq.weight", "BlockIOWeight", 213),
    ("blkio.weight", "BlockIOWeight", 213),
    ("io.bfq.weight", "IOWeight", 230),
    ("io.weight", "IOWeight", 230),
];

/// Keys of `io.max`.
const RATES: [(&str, &str); 4] = [
    ("rbps", "IOReadBandwidthMax"),
    ("wbps", "IOWriteBandwidthMax"),
    ("riops", "IOReadIOPSMax"),
    ("wiops", "IOWriteIOPSMax"),
];

/// The properties for these settings, in a systemd of this version.
pub(super) fn of_settings(settings: &[Setting], version: u32) -> Vec<Property> {
    let mut found = Found { version, properties: Vec::new() };
    let mut quota = Bandwidth::default();
    for setting in settings {
        // The second file has the range that systemd's weights have.
        let (file, value) = match &setting.otherwise {
            Some((file, value)) if setting.file == "io.bfq.weight" => (file.as_str(), value.as_str()),
            _ => (setting.file.as_str(), setting.value.as_str()),
        };
        match file {
            "cpu.max" => quota.read_v2(value),
            "cpu.cfs_quota_us" => quota.quota = Some(number(value).unwrap_or(INFINITY)),
            "cpu.cfs_period_us" => quota.period = number(value),
            "cpuset.cpus" => found.mask("AllowedCPUs", value),
            "cpuset.mems" => found.mask("AllowedMemoryNodes", value),
            "cpu.idle" if value == "1" => found.set("CPUWeight", 252, Value::U64(0)),
            "io.max" => found.rates(value),
            _ => found.number(file, value),
        }
    }
    let (each_second, period) = quota.each_second();
    if let Some(period) = period {
        found.set("CPUQuotaPeriodUSec", 242, Value::U64(period));
    }
    if let Some(each_second) = each_second {
        found.set("CPUQuotaPerSecUSec", 213, Value::U64(each_second));
    }
    found.properties
}

/// Properties so far.
struct Found {
    version: u32,
    properties: Vec<Property>,
}

impl Found {
    /// The last one said holds, as with files.
    fn set(&mut self, name: &'static str, since: u32, value: Value) {
        if self.version >= since {
            self.properties.retain(|(other, _)| *other != name);
            self.properties.push((name, value));
        }
    }

    fn number(&mut self, file: &str, value: &str) {
        let Some((_, name, since)) = NUMBERS.iter().find(|(known, _, _)| *known == file) else { return };
        // A weight of one device has its number in front; systemd's is that of all.
        let Some(number) = number(value.strip_prefix("default ").unwrap_or(value)) else { return };
        match *name {
            // It knows no limit of 0: the file has it.
            "TasksMax" => self.set(name, *since, Value::U64(number.max(1))),
            _ => self.set(name, *since, Value::U64(number)),
        }
    }

    /// A list of CPUs or memory nodes as bits. Version 1 writes the same file name;
    /// there systemd takes the property and does nothing.
    fn mask(&mut self, name: &'static str, list: &str) {
        self.set(name, 244, Value::Bytes(bits(list)));
    }

    /// `8:0 rbps=1 wbps=max`, device by device.
    fn rates(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(device) = words.next() else { return };
        let path = format!("/dev/block/{device}");
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Some((_, name)) = RATES.iter().find(|(known, _)| *known == key) else { continue };
            let Some(rate) = number(value) else { continue };
            match self.properties.iter_mut().find(|(other, _)| other == name) {
                Some((_, Value::TextNumbers(pairs))) => {
                    pairs.retain(|(other, _)| *other != path);
                    pairs.push((path.clone(), rate));
                }
                _ => self.set(name, 230, Value::TextNumbers(vec![(path.clone(), rate)])),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::manager::Instance;
    use super::*;
    use crate::cgroup::plan_on;
    use serde_json::json;

    fn of(resources: serde_json::Value, version: u32) -> Vec<Property> {
        let spec = json!({"ociVersion": "1.3.0", "linux": {"resources": resources}});
        let host = super::super::name::sample(Instance::System, version);
        let plan = plan_on(&serde_json::from_value(spec).unwrap(), "c", &host, &mut Vec::new()).unwrap();
        of_settings(&plan.settings, version)
    }

    // proves: limits as properties of systemd
    #[test]
    fn limits_of_the_config_are_properties() {
        let properties = of(
            json!({
                "memory": {"limit": 8 << 20, "swap": 12 << 20, "reservation": 4 << 20},
                "cpu": {"shares": 1024, "quota": 25_000, "period": 50_000, "cpus": "0-1,3", "mems": "0"},
                "pids": {"limit": 0},
                "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}],
                            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            }),
            252,
        );
        let expected = [
            ("MemoryMax", Value::U64(8 << 20)),
            ("MemorySwapMax", Value::U64(4 << 20)),
            ("MemoryLow", Value::U64(4 << 20)),
            ("AllowedCPUs", Value::Bytes(vec![0b1011])),
            ("AllowedMemoryNodes", Value::Bytes(vec![1])),
            ("CPUWeight", Value::U64(100)),
            ("TasksMax", Value::U64(1)),
            ("IOWeight", Value::U64(910)),
            ("IOReadBandwidthMax", Value::TextNumbers(vec![("/dev/block/8:0".into(), 7)])),
            ("IOWriteBandwidthMax", Value::TextNumbers(vec![("/dev/block/8:0".into(), 9)])),
            ("CPUQuotaPeriodUSec", Value::U64(50_000)),
            ("CPUQuotaPerSecUSec", Value::U64(500_000)),
        ];
        assert_eq!(properties, expected);
    }

    #[test]
    fn unified_says_the_same() {
        let files = json!({"memory.high": "4096000", "cpu.max": "max", "cpu.weight": "7", "pids.max": "max",
                           "memory.oom.group": "1", "cpuset.cpus": "0-14:1/7"});
        let properties = of(json!({"unified": files}), 252);
        let expected = [
            ("CPUWeight", Value::U64(7)),
            ("AllowedCPUs", Value::Bytes(vec![0b1000_0001, 0b0100_0000])),
            ("MemoryHigh", Value::U64(4_096_000)),
            ("TasksMax", Value::U64(INFINITY)),
            ("CPUQuotaPerSecUSec", Value::U64(INFINITY)),
        ];
        assert_eq!(properties, expected);
    }

    #[test]
    fn an_older_systemd_gets_only_what_it_knows() {
        let cpu = json!({"cpu": {"quota": 1_234, "period": 100_000, "cpus": "0", "idle": 1}});
        assert_eq!(
            of(cpu.clone(), 241),
            [("CPUQuotaPerSecUSec", Value::U64(20_000))],
            "a part of a percent is one"
        );
        let newer = of(cpu, 252);
        assert!(newer.contains(&("CPUWeight", Value::U64(0))), "{newer:?}");
    }

    #[test]
    fn a_limit_that_is_taken_back_is_said() {
        let setting = |file: &str, value: &str| Setting {
            directory: 0,
            file: file.into(),
            value: value.into(),
            otherwise: None,
            usage: None,
            what: String::new(),
            pointer: String::new(),
        };
        let before =
            [setting("memory.max", "max"), setting("io.max", "8:0 rbps=max"), setting("cpuset.cpus", "")];
        let expected = [
            ("MemoryMax", Value::U64(INFINITY)),
            ("IOReadBandwidthMax", Value::TextNumbers(vec![("/dev/block/8:0".into(), INFINITY)])),
            ("AllowedCPUs", Value::Bytes(Vec::new())),
        ];
        assert_eq!(of_settings(&before, 252), expected);
    }
}
