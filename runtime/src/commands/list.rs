//! `list`: the containers of a root.

use super::{Context, print, print_json};
use crate::cli::{self, ListFormat};
use crate::contract::state::State;
use crate::report::Outcome;
use crate::store::Directory;
use std::process::ExitCode;

/// Carries it out. A container that is being made or removed meanwhile is left out.
///
/// # Errors
/// When the root cannot be read.
pub fn run(context: &Context, args: &cli::List) -> Outcome<ExitCode> {
    let ids = Directory::list(&context.root)?;
    if args.quiet {
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    let states: Vec<State> = ids
        .iter()
        .filter_map(|id| Directory::open(&context.root, id).and_then(|d| d.read()).ok())
        .map(|stored| stored.state)
        .collect();
    match args.format {
        ListFormat::Json => print_json(&states),
        ListFormat::Table => print(&table(&states)),
    }
}

fn table(states: &[State]) -> String {
    let width = states.iter().map(|s| s.id.len()).max().unwrap_or(0).max(2);
    let mut text = format!("{:width$}  {:>7}  {:8}  {:30}  BUNDLE\n", "ID", "PID", "STATUS", "CREATED");
    for s in states {
        let line = (&s.id, s.pid, s.status, &s.created, s.bundle.display());
        text.push_str(&format!(
            "{:width$}  {:>7}  {:8}  {:30}  {}\n",
            line.0, line.1, line.2, line.3, line.4
        ));
    }
    text
}
