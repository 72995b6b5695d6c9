//! An OCI runtime: `config.json → bundle → plan → create ⇄ init → store`.
//!
//! Synchronous and single-threaded. A shim may rely on [`contract`], a manager
//! on [`contract`], [`plan`] and [`observe`]; the rest is for the binary of this crate.

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod contract;
pub mod create;
mod criu;
pub mod exec;
pub mod faults;
pub mod handshake;
pub mod hooks;
pub mod init;
pub mod listener;
pub mod log;
pub mod namespaces;
pub mod observe;
pub mod pass;
pub mod pidfile;
pub mod plan;
pub mod procfs;
pub mod report;
pub mod resctrl;
pub mod rootfs;
pub mod seal;
pub mod seccomp;
pub mod store;
pub mod sys;
