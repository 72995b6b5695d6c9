//! `state`: what is remembered of a container, with its status of now.

use super::{Context, print_json};
use crate::contract::ExitCode;
use crate::report::Outcome;
use crate::store::Directory;

/// Carries it out.
///
/// # Errors
/// Refused when there is no such container.
pub fn run(context: &Context, id: &str) -> Outcome<ExitCode> {
    print_json(&Directory::open(&context.root, id)?.read()?.state)
}
