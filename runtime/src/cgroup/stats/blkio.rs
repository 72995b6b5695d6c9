//! Block I/O. On version 1 BFQ's numbers are taken where it schedules a device,
//! else those of throttling, which sees every request.

use super::super::handle::Cgroup;
use super::{Detail, Files, pairs, psi};
use crate::contract::report::Failure;
use crate::contract::stats::{Blkio, BlkioEntry};

pub(super) fn read(cgroup: &Cgroup, detail: Detail) -> Result<Blkio, Failure> {
    match Files::of(cgroup, "blkio") {
        None => Ok(Blkio::default()),
        Some(files) if files.is_v2() => {
            let mut blkio = version_2(&files.text("io.stat")?.unwrap_or_default());
            blkio.psi = psi::read(files, "io.pressure")?;
            Ok(blkio)
        }
        Some(files) => version_1(files, detail),
    }
}

fn version_1(files: Files<'_>, detail: Detail) -> Result<Blkio, Failure> {
    let entries = |file: &str| Ok(files.text(file)?.as_deref().map(lines).unwrap_or_default());
    let either = |name: &str| match entries(&format!("blkio.bfq.{name}"))? {
        bfq if !bfq.is_empty() => Ok(bfq),
        _ => entries(&format!("blkio.throttle.{name}")),
    };
    let bfq = |name: &str| detail.all(|| entries(&format!("blkio.bfq.{name}")));
    Ok(Blkio {
        io_service_bytes_recursive: either("io_service_bytes_recursive")?,
        io_serviced_recursive: either("io_serviced_recursive")?,
        io_queue_recursive: bfq("io_queued_recursive")?,
        io_service_time_recursive: bfq("io_service_time_recursive")?,
        io_wait_time_recursive: bfq("io_wait_time_recursive")?,
        io_merged_recursive: bfq("io_merged_recursive")?,
        io_time_recursive: bfq("time_recursive")?,
        sectors_recursive: bfq("sectors_recursive")?,
        psi: None,
    })
}

/// Lines `8:0 Read 4096` or `8:0 4096`; the sum over all devices is left out.
fn lines(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let (op, value) = match (words.next()?, words.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry { major, minor, op: op.into(), value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines `8:0 rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…`.
fn version_2(text: &str) -> Blkio {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        let (Some((major, minor)), fields) = (device(name), pairs(rest)) else { continue };
        for (op, bytes, requests) in
            [("Read", "rbytes", "rios"), ("Write", "wbytes", "wios"), ("Discard", "dbytes", "dios")]
        {
            let entry = |value: u64| BlkioEntry { major, minor, op: op.into(), value };
            blkio.io_service_bytes_recursive.extend(fields.get(bytes).map(|value| entry(*value)));
            blkio.io_serviced_recursive.extend(fields.get(requests).map(|value| entry(*value)));
        }
    }
    blkio
}

#[cfg(test)]
mod tests {
    use super::{lines, version_2};

    #[test]
    fn version_1_lines() {
        let got = lines("8:0 Read 4096\n8:0 Total 4096\n8:16 77\nTotal 4096\n");
        let got: Vec<_> = got.iter().map(|e| (e.major, e.minor, e.op.as_str(), e.value)).collect();
        assert_eq!(got, [(8, 0, "Read", 4096), (8, 0, "Total", 4096), (8, 16, "", 77)]);
    }

    #[test]
    fn version_2_lines() {
        let blkio = version_2("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:0 \n");
        let values = |list: &[super::BlkioEntry]| list.iter().map(|e| e.value).collect::<Vec<_>>();
        assert_eq!(values(&blkio.io_service_bytes_recursive), [1, 2, 0]);
        assert_eq!(values(&blkio.io_serviced_recursive), [3, 4, 0]);
    }
}
