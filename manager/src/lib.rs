//! The manager: `sextantd` serves `sextant.v1` to clients and talks to one shim
//! per container.
//!
//! A request goes [`api`] → [`engine`] → [`shims`]; an exit comes back the same
//! way. [`daemon`] puts the parts together; [`model`] is the language that they
//! share. Disk is the truth and memory a cache: `kill -9` is a normal way to
//! stop, and starting is reconciling with the shims that live. [`cli`] is the
//! other side of the socket, and shares nothing with the rest but the wire; [`stress`] is its instrument.

pub mod api;
pub mod audit;
pub mod bundle;
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod engine;
pub mod faults;
pub mod files;
pub mod info;
pub mod logs;
pub mod metrics;
pub mod model;
pub mod namespaces;
pub mod placement;
pub mod processes;
pub mod selector;
pub mod sharing;
pub mod shims;
pub mod stress;
mod sys;
#[cfg(feature = "otel")]
pub mod telemetry;
