//! A diagnosis for people: a line for each subject, below it what limits, and the estimate. No line is wider
//! than it is told, but for a word that is.

use super::{Check, Diagnosis, LEVELS, View};
use crate::cli::output::{Colour, Paint};
use crate::cli::usage::{bytes, grouped};
use crate::cli::width::{self, printable};

/// Bounds that the estimate names.
const BOUNDS: usize = 3;
/// Columns of a subject's name, and of a level's.
const NAME: usize = 11;
const LEVEL: usize = 8;

/// The text, newline at its end.
pub fn render(paint: Paint, diagnosis: &Diagnosis, all: bool, columns: usize) -> String {
    let mut text = heading(diagnosis, columns);
    let mut subjects: Vec<&str> = diagnosis.checks.iter().map(|check| check.subject.as_str()).collect();
    subjects.dedup();
    for subject in subjects {
        let checks: Vec<&Check> = diagnosis.checks.iter().filter(|check| check.subject == subject).collect();
        text += &summary(paint, subject, &checks);
        let shown = |check: &&&Check| all || matches!(check.level, "limited" | "missing");
        text += &checks.iter().filter(shown).map(|check| one(paint, check, columns)).collect::<String>();
    }
    text + &capacity(paint, diagnosis, columns)
}

fn heading(diagnosis: &Diagnosis, columns: usize) -> String {
    let d = diagnosis;
    let cpus = if d.cpus == 1 { "CPU" } else { "CPUs" };
    let host = format!(
        "Linux {}, cgroups {}, {} {cpus}, {} of memory",
        d.kernel,
        d.cgroup,
        d.cpus,
        bytes(d.memory_bytes)
    );
    let view = match &d.view {
        View::Daemon => format!(
            "As sextantd {} sees it: {}, pid {}. --local shows it as this process does.",
            d.version, d.user, d.pid
        ),
        View::Local { because } => format!("As this process sees it: {}; {because}.", d.user),
    };
    format!("{}{}\n", fill(&host, 0, columns), fill(&view, 0, columns))
}

fn colour(level: &str) -> Colour {
    match level {
        "ok" => Colour::Green,
        "note" => Colour::Dim,
        "limited" => Colour::Yellow,
        _ => Colour::Red,
    }
}

/// A word in colour, and blanks up to `columns` behind it.
fn padded(paint: Paint, colour: Colour, text: &str, columns: usize) -> String {
    let text = printable(text);
    paint.colour(colour, &text) + &" ".repeat(columns.saturating_sub(width::of(&text)))
}

fn summary(paint: Paint, subject: &str, checks: &[&Check]) -> String {
    let of = |level: &str| checks.iter().filter(|check| check.level == level).count();
    let worst = LEVELS.iter().rev().copied().find(|level| of(level) > 0).unwrap_or("ok");
    let counts: Vec<String> = LEVELS
        .iter()
        .rev()
        .filter(|level| of(level) > 0)
        .map(|level| format!("{} {}", of(level), plural(level, of(level))))
        .collect();
    let level = if worst == "note" { "ok" } else { worst };
    format!(
        "{}{}{}\n",
        padded(paint, Colour::Bold, subject, NAME),
        padded(paint, colour(level), level, LEVEL),
        counts.join(", ")
    )
}

/// A level, of so many checks.
fn plural(level: &str, count: usize) -> &str {
    match (level, count) {
        ("note", 2..) => "notes",
        _ => level,
    }
}

fn one(paint: Paint, check: &Check, columns: usize) -> String {
    let head = format!("{}: {}", check.name, check.found);
    let indent = 2 + LEVEL;
    let filled = fill(&head, indent, columns);
    let mut text =
        format!("  {}{}", padded(paint, colour(check.level), check.level, LEVEL), filled.trim_start());
    if check.level == "ok" {
        return text;
    }
    text += &fill(&check.follows, indent, columns);
    for line in &check.remedy {
        text += &command(line, indent, columns);
    }
    let from = match check.basis.is_empty() {
        true => check.source.clone(),
        false => format!("{}; {}", check.source, check.basis),
    };
    let filled = fill(&format!("({from})"), indent, columns);
    text + &filled.lines().map(|line| paint.colour(Colour::Dim, line) + "\n").collect::<String>()
}

fn capacity(paint: Paint, diagnosis: &Diagnosis, columns: usize) -> String {
    let capacity = &diagnosis.capacity;
    let about = format!("about {} more containers fit here", rounded(capacity.containers));
    let mut text = format!("{}{about}\n", padded(paint, Colour::Bold, "capacity", NAME));
    let amount =
        |n: u64, unit: &str| if unit == "bytes" { bytes(n) } else { format!("{} {unit}", grouped(n)) };
    let line = |bound: &super::Bound, mark: &str| {
        let each = if bound.unit == "bytes" { bytes(bound.each) } else { bound.each.to_string() };
        let what = format!(
            "{} for {}: {} left, {each} each",
            bound.name,
            rounded(bound.containers),
            amount(bound.left, &bound.unit),
        );
        hang(&format!("{mark} {what}"), NAME, NAME + 6, columns)
    };
    let counting = capacity.bounds.iter().filter(|bound| bound.refuses);
    for (bound, mark) in counting.zip(["first", "then ", "then "]).take(BOUNDS) {
        text += &line(bound, mark);
    }
    // What comes before the first of those, and does not keep containers from being made.
    for bound in capacity.bounds.iter().filter(|b| !b.refuses && b.containers < capacity.containers) {
        let what = format!("but   {} for {}, see limits", bound.name, rounded(bound.containers));
        text += &hang(&what, NAME, NAME + 6, columns);
    }
    text
}

/// Three digits of a number, the rest is not known so exactly.
fn rounded(number: u64) -> String {
    let unit = 10_u64.pow(number.checked_ilog10().unwrap_or(0).saturating_sub(2));
    grouped(number / unit * unit)
}

/// Words in lines of at most `columns`, each behind `indent` blanks.
fn fill(text: &str, indent: usize, columns: usize) -> String {
    hang(text, indent, indent, columns)
}

/// The same, with `hanging` blanks before all lines but the first.
fn hang(text: &str, indent: usize, hanging: usize, columns: usize) -> String {
    let mut lines = vec![String::new()];
    for word in printable(text).split(' ') {
        let room = columns.saturating_sub(if lines.len() == 1 { indent } else { hanging });
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width::of(line) + 1 + width::of(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let line = |(n, line): (usize, &String)| {
        let blanks = if n == 0 { indent } else { hanging };
        format!("{}{line}\n", " ".repeat(blanks))
    };
    lines.iter().enumerate().map(line).collect()
}

/// A command that can be typed: longer ones go on behind a backslash, between arguments only.
fn command(text: &str, indent: usize, columns: usize) -> String {
    let text = printable(text);
    if let Some(comment) = text.strip_prefix("# ") {
        let filled = fill(comment, indent + 2, columns);
        let line = |line: &str| format!("{}# {}\n", " ".repeat(indent), line.trim_start());
        return filled.lines().map(line).collect();
    }
    if let Some((alone, comment)) = text.split_once("   # ") {
        return command(&format!("# {comment}"), indent, columns) + &command(alone, indent, columns);
    }
    let room = columns.saturating_sub(indent + 4).max(1);
    let mut lines = vec![String::new()];
    for argument in arguments(&text) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&argument),
            Some(line) if width::of(line) + 1 + width::of(&argument) <= room => {
                line.push(' ');
                line.push_str(&argument);
            }
            _ => lines.push(argument),
        }
    }
    let blank = " ".repeat(indent);
    let last = lines.len().saturating_sub(1);
    let line = |(n, line): (usize, &String)| {
        let prompt = if n == 0 { "$ " } else { "    " };
        let more = if n == last { "" } else { " \\" };
        format!("{blank}{prompt}{line}{more}\n")
    };
    lines.iter().enumerate().map(line).collect()
}

/// The arguments of a command, with quotes as they are; a redirection and its file are one.
fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, ' ')
                if arguments.last().is_some_and(|last| last.starts_with('>') && last.ends_with('>')) =>
            {
                arguments.last_mut().into_iter().for_each(|last| last.push(' '));
            }
            (None, ' ') => arguments.push(String::new()),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        if (quote, c) != (None, ' ')
            && let Some(last) = arguments.last_mut()
        {
            last.push(c);
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_proto::v1;

    #[test]
    fn words_are_filled_and_commands_stay_commands() {
        assert_eq!(fill("one two three", 2, 9), "  one two\n  three\n");
        let long = "printf '[a]\\nb c d\\n' > /etc/file";
        let shown = command(long, 2, 24);
        assert_eq!(shown, "  $ printf \\\n      '[a]\\nb c d\\n' \\\n      > /etc/file\n");
        assert_eq!(command("# one two three", 2, 12), "  # one two\n  # three\n");
        assert_eq!(command("ls /   # why", 2, 12), "  # why\n  $ ls /\n");
    }

    fn diagnosis() -> Diagnosis {
        let check = |level: v1::check::Level, name: &str| v1::Check {
            subject: "limits".into(),
            name: name.into(),
            level: level.into(),
            found: "1024 \u{1b}[31mleft".into(),
            source: "/proc/self/limits".into(),
            follows: "It ends early, which takes a sentence that is longer than the line has room for."
                .into(),
            remedy: "ulimit -n 1048576\nsystemctl daemon-reload && systemctl restart sextantd".into(),
            basis: "getrlimit(2)".into(),
        };
        let bound = |name: &str, containers, refuses| v1::Bound {
            name: name.into(),
            containers,
            refuses,
            unit: "bytes".into(),
            left: 3 << 30,
            each: 1 << 20,
            ..v1::Bound::default()
        };
        let checks = [
            (v1::check::Level::Ok, "fine"),
            (v1::check::Level::Note, "aside"),
            (v1::check::Level::Limited, "few"),
        ];
        let bounds =
            vec![bound("memory", 3072, true), bound("disk", 9000, true), bound("inotify", 126, false)];
        let answer = v1::DoctorResponse {
            able: true,
            checks: checks.map(|(level, name)| check(level, name)).to_vec(),
            capacity: Some(v1::Capacity { containers: 3072, bounds }),
            user: "root (uid 0)".into(),
            ..v1::DoctorResponse::default()
        };
        Diagnosis::new(View::Daemon, answer)
    }

    #[test]
    fn only_what_limits_is_shown_unless_all_is_asked_for() {
        let text = render(Paint::Plain, &diagnosis(), false, 60);
        assert!(text.contains("limits     limited 1 limited, 1 note, 1 ok\n  limited few: 1024"), "{text}");
        assert!(!text.contains("aside") && text.contains("      $ ulimit -n 1048576\n"), "{text}");
        assert!(text.contains("capacity   about 3,070 more containers fit here\n"), "{text}");
        assert!(text.contains("first memory for 3,070: 3.0GiB left, 1.0MiB each\n"), "{text}");
        assert!(text.contains("but   inotify for 126, see limits\n"), "{text}");
        let all = render(Paint::Plain, &diagnosis(), true, 60);
        assert!(all.contains("  ok      fine: ") && all.contains("  note    aside: "), "{all}");
        assert!(!all.contains('\u{1b}'), "{all:?}");
        for columns in [60, 80, 100] {
            let text = render(Paint::Plain, &diagnosis(), true, columns);
            assert!(text.lines().all(|line| width::of(line) <= columns), "{columns}: {text}");
        }
    }

    #[test]
    fn numbers_for_people() {
        for (number, text) in [(0, "0"), (7, "7"), (126, "126"), (2845, "2,840"), (1_234_567, "1,230,000")] {
            assert_eq!(rounded(number), text);
        }
    }
}
