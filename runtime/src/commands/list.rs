//! `list`: the containers of a root, in runc's columns.

use super::{Context, print};
use crate::cli::{self, ListFormat};
use crate::contract::ExitCode;
use crate::contract::state::State;
use crate::report::{Outcome, refuse};
use crate::store::Directory;

/// Narrowest column, and the space between two, as runc's table has them.
const NARROWEST: usize = 12;
const GAP: usize = 3;

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
        .map(|stored| State { owner: user_name(&stored.state.owner), ..stored.state })
        .collect();
    match args.format {
        ListFormat::Json => {
            let json = serde_json::to_string(&states).map_err(|e| refuse("print as JSON", e.to_string()))?;
            print(&format!("{json}\n"))
        }
        ListFormat::Table => print(&table(&states)),
    }
}

/// The user's name in the host's `/etc/passwd`; `#1234` for one without, as runc.
fn user_name(uid: &str) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&users, uid)
}

fn name_in(users: &str, uid: &str) -> String {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    };
    users.lines().find_map(name).unwrap_or_else(|| format!("#{uid}"))
}

fn table(states: &[State]) -> String {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |s: &State| {
        [
            s.id.clone(),
            s.pid.to_string(),
            s.status.to_string(),
            s.bundle.display().to_string(),
            s.created.clone(),
            s.owner.clone(),
        ]
    };
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(states.iter().map(row)).collect();
    let width = |column: usize| {
        let widest = rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
        widest.unwrap_or(0).saturating_add(GAP).max(NARROWEST)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let padded: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{name_in, table};

    #[test]
    fn owners_have_names() {
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(["0", "1000", "7"].map(|uid| name_in(users, uid)), ["root", "ann", "#7"]);
    }

    #[test]
    fn an_empty_table_has_runcs_heading() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }
}
