//! The systemd driver (`--systemd-cgroup`): the container's cgroup is that of a
//! transient unit, which a systemd manager makes, knows and ends.
//!
//! [`name`] reads `/linux/cgroupsPath`, [`properties`] says the limits of a
//! [`super::CgroupPlan`] in systemd's words, [`annotations`] what a config may
//! ask for beyond; all three are pure. [`mod@start`] and [`unit`] start, change and
//! stop the unit by D-Bus ([`manager`], [`address`]; [`connection`] over [`stream`],
//! its messages [`wire`] and [`message`]).
//! [`placeholder`] is the first process of a unit. What systemd has no property
//! for is written into the files by the rest of [`super`], as without it.
//!
//! Nothing here is reached without `--systemd-cgroup`. Nothing here waits without
//! a deadline, or takes a message of any length.

mod address;
mod annotations;
mod connection;
mod devices;
mod manager;
mod message;
mod name;
mod placeholder;
mod properties;
mod start;
mod stream;
mod syntax;
mod unit;
mod values;
mod wire;

pub use manager::{Instance, Manager};
pub(super) use name::plan;
pub(super) use start::Started;
pub use start::UnitPlan;
pub(super) use unit::Line;
pub use unit::Unit;
pub use wire::{Property, Value};
