//! The manager.

pub mod cli;
