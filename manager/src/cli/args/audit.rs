//! `audit`.

use clap::Args;

/// `audit`.
///
/// Exit codes: 0 nothing is an orphan (any more), 1 there are orphans, or the request failed.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Remove each orphan, once it was proven again
    #[arg(long)]
    pub fix: bool,
    /// Show what has an owner as well
    #[arg(short, long)]
    pub all: bool,
    /// Print JSON, with the proofs
    #[arg(long)]
    pub json: bool,
}
