//! The systemd driver (`--systemd-cgroup`): the container's cgroup is that of a
//! transient unit, which a systemd manager makes, knows and ends.
//!
//! [`name`] reads `/linux/cgroupsPath`, [`properties`] says the limits of a
//! [`super::CgroupPlan`] in systemd's words, [`annotations`] what a config may
//! ask for beyond; all three are pure. [`unit`] starts, changes and stops the
//! unit by D-Bus ([`manager`], [`connection`], [`address`], [`wire`]).
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
mod unit;
mod wire;

pub use manager::{Instance, Manager};
pub(super) use name::plan;
pub(super) use unit::{Line, Started};
pub use unit::{Unit, UnitPlan};
pub use wire::{Property, Value};
