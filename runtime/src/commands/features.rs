//! `features` (runtime-spec, "Features Structure"): made from the tables that
//! the planner itself uses.

use super::{Context, print_json};
use crate::report::Outcome;
use std::process::ExitCode;

/// Carries it out.
///
/// # Errors
/// As write(2).
pub fn run(_context: &Context) -> Outcome<ExitCode> {
    print_json(&crate::plan::features::features())
}
