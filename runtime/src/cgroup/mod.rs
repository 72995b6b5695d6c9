//! The container's cgroup, on v1, hybrid and v2.

/// The cgroup that the plan wants.
#[derive(Clone, Debug, Default)]
pub struct CgroupPlan {}
