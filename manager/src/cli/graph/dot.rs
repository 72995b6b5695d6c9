//! The graph of namespaces in the language of Graphviz: who has namespaces are
//! boxes, those of a sandbox in a frame; each namespace that is shared is an
//! ellipse, with an edge to everybody who is in it. What somebody has alone
//! stands in its box; what the host has alone is left out.

use super::{Cell, KINDS, Row, telling};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The graph of these rows, for `dot`, `neato` and the like.
pub fn render(rows: &[Row]) -> String {
    let columns = telling(rows);
    let mut text = String::from(
        "graph namespaces {\n  graph [rankdir=LR, fontname=\"sans-serif\"];\n  node [fontname=\"sans-serif\"];\n",
    );
    let mut namespaces = BTreeSet::new();
    let mut edges = String::new();
    for (index, row) in rows.iter().enumerate() {
        for column in &columns {
            let (Some(cell), Some(kind)) = (row.cells.get(*column), KINDS.get(*column)) else { continue };
            let of_others =
                *cell == Cell::Host && rows.iter().filter(|r| r.cells.get(*column) == Some(cell)).count() > 1;
            if of_others || matches!(cell, Cell::Shared(_)) {
                let node = format!("{kind} {}", cell.word());
                // String's fmt::Write does not fail.
                writeln!(edges, "  n{index} -- {};", quoted(&node)).unwrap_or_default();
                namespaces.insert(node);
            }
        }
    }
    let mut open = None;
    for (index, row) in rows.iter().enumerate() {
        let frame = frame_of(row);
        if open != frame {
            if open.is_some() {
                text += "  }\n";
            }
            if let Some(name) = frame {
                let label = quoted(&format!("sandbox {name}"));
                writeln!(text, "  subgraph cluster_{index} {{\n    label={label};").unwrap_or_default();
            }
            open = frame;
        }
        let label = quoted(&label(row, &columns));
        writeln!(text, "    n{index} [shape=box, label={label}];").unwrap_or_default();
    }
    if open.is_some() {
        text += "  }\n";
    }
    for node in namespaces {
        writeln!(text, "  {} [shape=ellipse];", quoted(&node)).unwrap_or_default();
    }
    text + &edges + "}\n"
}

/// The sandbox in whose frame a row stands.
pub(super) fn frame_of(row: &Row) -> Option<&str> {
    if row.kind == "sandbox" { Some(&row.name) } else { row.sandbox.as_deref() }
}

fn label(row: &Row, columns: &[usize]) -> String {
    let own = columns.iter().filter(|column| row.cells.get(**column) == Some(&Cell::Own));
    let own: Vec<&str> = own.filter_map(|column| KINDS.get(*column).copied()).collect();
    let name = if row.kind == "host" { "host".to_owned() } else { format!("{} {}", row.kind, row.name) };
    if own.is_empty() { name } else { format!("{name}\nown: {}", own.join(", ")) }
}

/// A string of the language: quotes and backslashes would end or change it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let printable: String = escaped.chars().filter(|c| !c.is_control()).collect();
    format!("\"{printable}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_tied_to_what_it_shares() {
        let text = render(&super::super::tests::sample());
        for line in [
            "  subgraph cluster_1 {\n    label=\"sandbox pod\";\n    n1 [shape=box, label=\"sandbox pod\"];\n",
            "    n2 [shape=box, label=\"container a\\nown: pid\"];\n",
            "  \"network B\" [shape=ellipse];\n",
            "  n1 -- \"network B\";\n",
            "  n3 -- \"network B\";\n",
            "  n4 -- \"network host\";\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(!text.contains("uts"), "everybody has the host's: {text}");
        assert!(!text.contains("pid host"), "the host has it alone: {text}");
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\nd\u{7}"), "\"a\\\"b\\\\c\\nd\"");
    }
}
