//! `explain`: the plan of a bundle as typed steps; nothing is changed.

use super::{Context, print, print_json};
use crate::cli;
use crate::contract::ExitCode;
use crate::report::Outcome;

/// Carries it out.
///
/// # Errors
/// All mistakes of the config.
pub fn run(context: &Context, args: &cli::Explain) -> Outcome<ExitCode> {
    let plan = crate::create::plan(&args.bundle, &args.id, context.driver, &context.report)?;
    if args.json {
        print_json(&crate::plan::explain(&plan))
    } else {
        print(&crate::plan::explain::text(&plan))
    }
}
