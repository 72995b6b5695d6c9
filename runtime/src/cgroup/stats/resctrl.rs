//! Cache and memory bandwidth of the container's group in resctrl; empty
//! where the container has none.

use crate::contract::stats::{CmtStats, IntelRdt, L3CacheInfo, MbmStats, MemBwInfo};
use std::fs;
use std::path::Path;

pub(super) fn read(group: &Path) -> IntelRdt {
    read_at(Path::new(crate::resctrl::ROOT), group)
}

fn read_at(root: &Path, group: &Path) -> IntelRdt {
    let group = root.join(group);
    if !group.join("schemata").exists() {
        return IntelRdt::default();
    }
    let (all, own) = (text(&root.join("schemata")), text(&group.join("schemata")));
    let schema = |text: &str, resource: &str| {
        let line = text.lines().map(str::trim).find(|l| l.starts_with(resource));
        line.unwrap_or_default().to_owned()
    };
    IntelRdt {
        l3_cache_info: l3_cache_info(&root.join("info/L3")),
        l3_cache_schema_root: schema(&all, "L3"),
        l3_cache_schema: schema(&own, "L3"),
        mem_bw_info: mem_bw_info(&root.join("info/MB")),
        mem_bw_schema_root: schema(&all, "MB"),
        mem_bw_schema: schema(&own, "MB"),
        mbm_stats: by_node(&group, "mbm_total_bytes", |node| MbmStats {
            mbm_total_bytes: count(&node.join("mbm_total_bytes")),
            mbm_local_bytes: count(&node.join("mbm_local_bytes")),
        }),
        cmt_stats: by_node(&group, "llc_occupancy", |node| CmtStats {
            llc_occupancy: count(&node.join("llc_occupancy")),
        }),
    }
}

fn l3_cache_info(dir: &Path) -> Option<L3CacheInfo> {
    dir.is_dir().then(|| L3CacheInfo {
        cbm_mask: text(&dir.join("cbm_mask")).trim().to_owned(),
        min_cbm_bits: count(&dir.join("min_cbm_bits")),
        num_closids: count(&dir.join("num_closids")),
    })
}

fn mem_bw_info(dir: &Path) -> Option<MemBwInfo> {
    dir.is_dir().then(|| MemBwInfo {
        bandwidth_gran: count(&dir.join("bandwidth_gran")),
        delay_linear: count(&dir.join("delay_linear")),
        min_bandwidth: count(&dir.join("min_bandwidth")),
        num_closids: count(&dir.join("num_closids")),
    })
}

/// One value a node of `mon_data`, where the nodes have `file`.
fn by_node<T>(group: &Path, file: &str, value: impl Fn(&Path) -> T) -> Option<Vec<T>> {
    let entries = fs::read_dir(group.join("mon_data")).ok()?.filter_map(Result::ok);
    let mut nodes: Vec<_> = entries.map(|e| e.path()).filter(|node| node.join(file).exists()).collect();
    nodes.sort();
    (!nodes.is_empty()).then(|| nodes.iter().map(|node| value(node)).collect())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn count(path: &Path) -> u64 {
    text(path).trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_its_nodes() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, value: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        assert_eq!(read_at(dir.path(), Path::new("c")), IntelRdt::default());
        write("schemata", "    MB:0=100\n    L3:0=fff\n");
        write("c/schemata", "    MB:0=50\n    L3:0=f\n");
        write("info/L3/cbm_mask", "fff\n");
        write("c/mon_data/mon_L3_00/mbm_total_bytes", "7\n");
        write("c/mon_data/mon_L3_00/mbm_local_bytes", "5\n");
        let got = read_at(dir.path(), Path::new("c"));
        assert_eq!((got.l3_cache_schema.as_str(), got.mem_bw_schema_root.as_str()), ("L3:0=f", "MB:0=100"));
        assert_eq!(got.l3_cache_info.unwrap().cbm_mask, "fff");
        assert_eq!(got.mbm_stats.unwrap(), [MbmStats { mbm_total_bytes: 7, mbm_local_bytes: 5 }]);
        assert_eq!((got.mem_bw_info, got.cmt_stats), (None, None));
    }
}
