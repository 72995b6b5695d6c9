//! `audit`: what there is of all that the daemon has made, and what is nobody's.

use crate::cli::args::AuditArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::usage::grouped;
use crate::cli::view::audit::{Audit, Count, Finding};
use crate::cli::width::printable;
use sextant_proto::v1::AuditRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: AuditArgs) -> Result<ExitCode, Error> {
    let AuditArgs { fix, all, json } = args;
    let answer = client.clone().system.audit(AuditRequest { fix, all }).await;
    let audit = Audit::from(answer.map_err(Error::request("look at what there is"))?.into_inner());
    if json {
        output::print_json(&audit)?;
    } else {
        output::print(&render(Paint::stdout(), &audit))?;
    }
    let left = audit.counts.iter().any(|count| count.orphans > 0);
    Ok(if left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn render(paint: Paint, audit: &Audit) -> String {
    let (orphans, owned): (Vec<&Finding>, Vec<&Finding>) =
        audit.findings.iter().partition(|finding| finding.owner.is_none());
    let mut text = String::new();
    if !owned.is_empty() {
        let row = |finding: &&Finding| -> [Cell; 3] {
            let owner = finding.owner.clone().unwrap_or_default();
            [finding.kind.as_str().into(), owner.into(), finding.object.as_str().into()]
        };
        let rows: Vec<_> = owned.iter().map(row).collect();
        text += &format!("{}\n", table::render(paint, ["KIND", "OWNER", "OBJECT"], &rows));
    }
    if !orphans.is_empty() {
        text += &paint.colour(Colour::Bold, "ORPHAN               OBJECT, AND WHY IT IS ONE\n");
        text.extend(orphans.iter().map(|orphan| render_orphan(paint, orphan)));
        text += "\n";
    }
    if audit.left_off > 0 {
        text += &format!("and {} that do not fit into the answer\n", audit.left_off);
    }
    text + &summary(&audit.counts, &orphans)
}

/// Paths are long: what is said of an orphan stands below it.
fn render_orphan(paint: Paint, orphan: &Finding) -> String {
    let indent = " ".repeat(21);
    let kind = format!("{:<21}", printable(&orphan.kind));
    let reason = orphan.reason.as_deref().unwrap_or_default();
    let mut text = format!("{}{}\n", paint.colour(Colour::Red, &kind), printable(&orphan.object));
    text += &format!("{indent}{}\n", printable(reason));
    let told = match (&orphan.fix_failure, orphan.fixed) {
        (_, true) => paint.colour(Colour::Green, "removed"),
        (Some(because), false) => paint.colour(Colour::Red, &format!("stays: {}", printable(because))),
        (None, false) => {
            let command = printable(orphan.command.as_deref().unwrap_or_default());
            let remedy = orphan.remedy.as_deref().unwrap_or_default();
            // A long command can be copied whole from a line of its own.
            match indent.len() + remedy.len() + command.len() + 2 {
                ..=80 => format!("{remedy}: {command}"),
                _ => format!("{remedy}:\n  {command}"),
            }
        }
    };
    text + &format!("{indent}{told}\n")
}

fn summary(counts: &[Count], orphans: &[&Finding]) -> String {
    let there = |count: &&Count| count.owned + count.orphans > 0;
    let kinds = counts.iter().filter(there).count();
    let objects: u64 = counts.iter().map(|count| count.owned + count.orphans).sum();
    let of = match kinds {
        1 => "1 kind".to_owned(),
        kinds => format!("{kinds} kinds"),
    };
    let left: u64 = counts.iter().map(|count| count.orphans).sum();
    let removed = orphans.iter().filter(|orphan| orphan.fixed).count();
    let mut text = match objects {
        0 if removed > 0 => return format!("nothing is there any more; {removed} removed\n"),
        0 => return "nothing is there: no container, and nothing left of one\n".into(),
        1 => format!("1 object of {of}"),
        objects => format!("{} objects of {of}", grouped(objects)),
    };
    text += &match left {
        0 => ", all with an owner".to_owned(),
        1 => ", one of them an orphan".into(),
        left => format!(", {} of them orphans", grouped(left)),
    };
    if removed > 0 {
        text += &format!("; {removed} removed");
    } else if left > 0 {
        text += "; --json has the proofs, --fix removes them";
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(kind: &str, owned: u64, orphans: u64) -> Count {
        Count { kind: kind.into(), owned, orphans }
    }

    fn orphan() -> Finding {
        Finding {
            kind: "shim".into(),
            object: "4711 sextant-shim".into(),
            owner: None,
            reason: Some("there is no container web".into()),
            proofs: vec!["a".into(), "b".into()],
            remedy: Some("kill it".into()),
            command: Some("kill -9 4711".into()),
            fixable: true,
            fixed: false,
            fix_failure: None,
        }
    }

    fn rendered(findings: Vec<Finding>, counts: Vec<Count>) -> String {
        render(Paint::Plain, &Audit { findings, counts, left_off: 0, looks: 1, took_seconds: 0.1 })
    }

    #[test]
    fn all_is_well_in_one_line() {
        let counts = vec![count("shim", 1000, 0), count("cgroup", 204, 0), count("mount", 0, 0)];
        assert_eq!(rendered(vec![], counts), "1,204 objects of 2 kinds, all with an owner\n");
    }

    #[test]
    fn an_orphan_says_why_and_what_removes_it() {
        let text = rendered(vec![orphan()], vec![count("shim", 2, 1)]);
        assert_eq!(
            text,
            "ORPHAN               OBJECT, AND WHY IT IS ONE\n\
             shim                 4711 sextant-shim\n                     there is no container web\n\
             \x20                    kill it: kill -9 4711\n\n\
             3 objects of 1 kind, one of them an orphan; --json has the proofs, --fix removes them\n"
        );
        let removed = Finding { fixed: true, ..orphan() };
        let stays = Finding { fix_failure: Some("it is busy".into()), ..orphan() };
        let text = rendered(vec![removed, stays], vec![count("shim", 2, 1)]);
        assert!(text.contains(" removed\n") && text.contains("stays: it is busy\n"), "{text}");
        assert!(text.ends_with("3 objects of 1 kind, one of them an orphan; 1 removed\n"), "{text}");
    }

    #[test]
    fn what_does_not_fit_stands_on_a_line_of_its_own() {
        let long = Finding { command: Some(format!("rm -r /{}", "x".repeat(60))), ..orphan() };
        let text = rendered(vec![long], vec![count("socket", 0, 1)]);
        assert!(text.contains("                     kill it:\n  rm -r /xxx"), "{text}");
        assert!(rendered(vec![], vec![count("shim", 0, 0)]).starts_with("nothing is there: "));
        let removed = rendered(vec![Finding { fixed: true, ..orphan() }], vec![count("shim", 0, 0)]);
        assert!(removed.ends_with("\nnothing is there any more; 1 removed\n"), "{removed}");
    }

    #[test]
    fn owners_are_shown_where_they_are_asked_for() {
        let owned = Finding { owner: Some("container web".into()), ..orphan() };
        let text = rendered(vec![owned], vec![count("shim", 1, 0)]);
        assert!(
            text.starts_with("KIND  OWNER          OBJECT\nshim  container web  4711 sextant-shim\n"),
            "{text}"
        );
    }
}
