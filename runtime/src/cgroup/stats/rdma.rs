//! RDMA devices: lines `mlx4_0 hca_handle=1 hca_object=20`, the same on both versions.

use super::super::handle::Cgroup;
use super::{Files, pairs};
use crate::contract::report::Failure;
use crate::contract::stats::Rdma;
use std::collections::BTreeMap;

pub(super) fn read(cgroup: &Cgroup) -> Result<BTreeMap<String, Rdma>, Failure> {
    let mut devices: BTreeMap<String, Rdma> = BTreeMap::new();
    let Some(files) = Files::of(cgroup, "rdma") else { return Ok(devices) };
    let (current, limit) = (files.text("rdma.current")?, files.text("rdma.max")?);
    for (name, rest) in lines(&current) {
        devices.entry(name.into()).or_default().current = pairs(rest);
    }
    for (name, rest) in lines(&limit) {
        devices.entry(name.into()).or_default().limit = pairs(rest);
    }
    Ok(devices)
}

fn lines(text: &Option<String>) -> impl Iterator<Item = (&str, &str)> {
    text.as_deref().unwrap_or_default().lines().filter_map(|line| line.split_once(' '))
}
