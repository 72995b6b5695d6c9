//! `ns`: who shares which namespace with whom; and of one container or sandbox,
//! its namespaces beside the host's, and what is different inside each.

pub(in crate::cli) mod one;

use crate::cli::args::NsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::graph::{self, KINDS, Row};
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::view::sandbox::Owner;
use sextant_proto::v1::NamespacesRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: NsArgs) -> Result<ExitCode, Error> {
    if let Some(id) = args.id {
        return one::run(client, id, args.json).await;
    }
    let answer = client.clone().containers.namespaces(NamespacesRequest::default()).await;
    let owners = answer.map_err(Error::request("show the namespaces of all"))?.into_inner().owners;
    let owners: Vec<Owner> = owners.into_iter().map(Owner::from).collect();
    if args.json {
        output::print_json(&owners)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = graph::rows(&owners);
    output::print(&match () {
        () if args.dot => graph::dot::render(&rows),
        () if args.svg => graph::svg::render(&rows),
        () => render(Paint::stdout(), &rows),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The same letter in a column is the same namespace.
fn render(paint: Paint, rows: &[Row]) -> String {
    let line = |row: &Row| -> [Cell; KINDS.len() + 2] {
        let indent = if row.kind == "container" && row.sandbox.is_some() { "  " } else { "" };
        let [user, pid, network, uts, ipc, mount, cgroup, time] = row.cells.each_ref().map(cell);
        let name = Cell::from(format!("{indent}{}", row.name));
        [name, row.kind.into(), user, pid, network, uts, ipc, mount, cgroup, time]
    };
    let rows: Vec<_> = rows.iter().map(line).collect();
    let heading = ["NAME", "KIND", "USER", "PID", "NETWORK", "UTS", "IPC", "MOUNT", "CGROUP", "TIME"];
    let legend = "A letter is a namespace that is shared: the same letter, the same namespace.";
    format!("{}\n{}\n", table::render(paint, heading, &rows), paint.colour(Colour::Dim, legend))
}

fn cell(cell: &graph::Cell) -> Cell {
    let colour = match cell {
        graph::Cell::Host => Colour::Yellow,
        graph::Cell::Shared(_) => Colour::Bold,
        graph::Cell::Own | graph::Cell::None => Colour::Dim,
    };
    let word = if *cell == graph::Cell::None { "-" } else { cell.word() };
    Cell::coloured(word, colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_letter_for_each_shared_namespace() {
        let text = render(Paint::Plain, &graph::tests::sample());
        assert_eq!(
            text,
            "NAME   KIND       USER  PID   NETWORK  UTS   IPC   MOUNT  CGROUP  TIME\n\
             host   host       host  host  host     host  host  host   host    host\n\
             pod    sandbox    A     -     B        -     C     -      -       -\n\
             \u{20} a    container  A     own   B        host  host  host   host    host\n\
             \u{20} b<   container  A     own   B        host  host  host   host    host\n\
             alone  container  own   own   host     host  host  host   host    host\n\
             \n\
             A letter is a namespace that is shared: the same letter, the same namespace.\n"
        );
    }
}
