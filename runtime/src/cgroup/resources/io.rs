//! The blkio controller of version 1, which is io on version 2.

use super::{Builder, Target};
use crate::cgroup::layout::Version;
use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

const BASE: &str = "/linux/resources/blockIO";

pub(super) fn plan(io: &LinuxBlockIo, builder: &mut Builder<'_>) {
    let Some(target) = target(builder, io) else { return };
    if io.leaf_weight().is_some_and(|w| w != 0) {
        builder.refuse(&format!("{BASE}/leafWeight"), "no kernel since 5.0 has leaf weights");
    }
    if let Some(weight) = io.weight().filter(|w| *w != 0) {
        let pointer = format!("{BASE}/weight");
        if builder.in_range(&pointer, weight.into(), 10..=1000) {
            set_weight(target, None, weight, &pointer, builder);
        }
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let pointer = format!("{BASE}/weightDevice/{index}");
        let Some(number) = device_number(device.major(), device.minor(), &pointer, builder) else { continue };
        if device.leaf_weight().is_some_and(|w| w != 0) {
            builder.refuse(&format!("{pointer}/leafWeight"), "no kernel since 5.0 has leaf weights");
        }
        let Some(weight) = device.weight().filter(|w| *w != 0) else { continue };
        if builder.in_range(&format!("{pointer}/weight"), weight.into(), 10..=1000) {
            set_weight(target, Some(&number), weight, &pointer, builder);
        }
    }
    for (list, name, file, key) in [
        (io.throttle_read_bps_device(), "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
        (io.throttle_write_bps_device(), "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
        (
            io.throttle_read_iops_device(),
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
        ),
        (
            io.throttle_write_iops_device(),
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ] {
        for (index, device) in list.iter().flatten().enumerate() {
            throttle(target, device, file, key, &format!("{BASE}/{name}/{index}"), builder);
        }
    }
}

/// The controller, if any field needs it.
fn target(builder: &mut Builder<'_>, io: &LinuxBlockIo) -> Option<Target> {
    if *io == LinuxBlockIo::default() {
        return None;
    }
    let name = if builder.host.find("blkio").is_some() { "blkio" } else { "io" };
    builder.target(name, BASE)
}

/// The weight of one device, or the default of all. BFQ's file comes first:
/// it takes the config's numbers as they are; `io.weight` has another range.
fn set_weight(target: Target, device: Option<&str>, weight: u16, pointer: &str, builder: &mut Builder<'_>) {
    let (files, values) = match target.version {
        Version::V1 => (
            [
                device.map_or("blkio.bfq.weight", |_| "blkio.bfq.weight_device"),
                device.map_or("blkio.weight", |_| "blkio.weight_device"),
            ],
            [u32::from(weight); 2],
        ),
        Version::V2 => (["io.bfq.weight", "io.weight"], [u32::from(weight), io_weight(weight)]),
    };
    let [first, second] = values.map(|value| match (device, target.version) {
        (Some(device), _) => format!("{device} {value}"),
        (None, Version::V1) => value.to_string(),
        (None, Version::V2) => format!("default {value}"),
    });
    builder.set(target, files[0], first, "block I/O weight", pointer);
    builder.amend(|setting| setting.otherwise = Some((files[1].into(), second)));
}

/// 10 to 1000 as 1 to 10000, linearly.
fn io_weight(weight: u16) -> u32 {
    1 + (u32::from(weight).saturating_sub(10)) * 9999 / 990
}

fn throttle(
    target: Target,
    device: &LinuxThrottleDevice,
    file: &str,
    key: &str,
    pointer: &str,
    builder: &mut Builder<'_>,
) {
    let Some(number) = device_number(device.major(), device.minor(), pointer, builder) else { return };
    let rate = device.rate();
    match target.version {
        // 0 takes a limit away again.
        Version::V1 => builder.set(target, file, format!("{number} {rate}"), "block I/O limit", pointer),
        Version::V2 => {
            let rate = if rate == 0 { "max".into() } else { rate.to_string() };
            builder.set(target, "io.max", format!("{number} {key}={rate}"), "block I/O limit", pointer);
        }
    }
}

fn device_number(major: i64, minor: i64, pointer: &str, builder: &mut Builder<'_>) -> Option<String> {
    let good = (0..1 << 12).contains(&major) && (0..1 << 20).contains(&minor);
    if !good {
        builder.refuse(pointer, format!("{major}:{minor} is not a device number"));
    }
    good.then(|| format!("{major}:{minor}"))
}

#[cfg(test)]
mod tests {
    use super::io_weight;

    #[test]
    fn weights_span_both_ranges() {
        assert_eq!([10, 100, 1000].map(io_weight), [1, 910, 10_000]);
    }
}
