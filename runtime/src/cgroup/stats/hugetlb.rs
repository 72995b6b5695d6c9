//! Huge pages: those reserved where the kernel counts them, else those in use.

use super::super::handle::Cgroup;
use super::Files;
use crate::contract::report::Failure;
use crate::contract::stats::Hugetlb;
use std::collections::BTreeMap;

pub(super) fn read(cgroup: &Cgroup) -> Result<BTreeMap<String, Hugetlb>, Failure> {
    let mut sizes = BTreeMap::new();
    let Some(files) = Files::of(cgroup, "hugetlb") else { return Ok(sizes) };
    for size in page_sizes() {
        for name in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
            if let Some(entry) = one(files, &size, &name)? {
                sizes.insert(size, entry);
                break;
            }
        }
    }
    Ok(sizes)
}

fn one(files: Files<'_>, size: &str, name: &str) -> Result<Option<Hugetlb>, Failure> {
    if files.is_v2() {
        let Some(usage) = files.number(&format!("{name}.current"))? else { return Ok(None) };
        let events = files.table(&format!("hugetlb.{size}.events"))?;
        return Ok(Some(Hugetlb { usage, max: 0, failcnt: events.get("max").copied().unwrap_or(0) }));
    }
    let Some(usage) = files.number(&format!("{name}.usage_in_bytes"))? else { return Ok(None) };
    Ok(Some(Hugetlb {
        usage,
        max: files.count(&format!("{name}.max_usage_in_bytes"))?,
        failcnt: files.count(&format!("{name}.failcnt"))?,
    }))
}

/// The sizes that the kernel has, as cgroup files name them: `2MB`.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().filter_map(Result::ok);
    let kilobytes = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok();
    entries.filter_map(|e| kilobytes(e.file_name().to_str()?)).map(size_name).collect()
}

fn size_name(kilobytes: u64) -> String {
    match kilobytes {
        k if k >= 1 << 20 => format!("{}GB", k >> 20),
        k if k >= 1 << 10 => format!("{}MB", k >> 10),
        k => format!("{k}KB"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_named_as_the_files_are() {
        assert_eq!([64, 2048, 1 << 20].map(super::size_name), ["64KB", "2MB", "1GB"]);
    }
}
