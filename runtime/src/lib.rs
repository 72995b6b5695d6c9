//! An OCI runtime: `config.json → bundle → plan → create ⇄ init → store`.
//!
//! Synchronous and single-threaded. A shim may rely on [`contract`], a manager
//! on [`contract`] and [`plan`]; the rest is for the binary of this crate.

pub mod cgroup;
pub mod contract;
pub mod plan;
pub mod seccomp;
pub mod sys;
