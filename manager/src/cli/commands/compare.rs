//! `stress compare`: reports beside each other; the exit code is 1 where something has become worse.

use crate::cli::args::CompareArgs;
use crate::cli::error::{EXIT_FAILURE, EXIT_USAGE, Error, Report as Said};
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::stress::compare::{Comparison, Row, Settings, compare};
use crate::stress::figures::whole;
use crate::stress::report::{self, Report};
use crate::stress::text;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, Error> {
    let CompareArgs { resamples, confidence, seed, paired, .. } = *args;
    let settings = Settings { resamples, confidence, seed, paired };
    if paired && args.base.len() != args.new.len() {
        let because =
            format!("{} reports of before and {} of now are no pairs", args.base.len(), args.new.len());
        let hint = "give as many --new as --base, in the order in which they were taken";
        return Err(Error::from(Said::other("compare", because, hint)).exits(EXIT_USAGE));
    }
    let pairs = match args.files.split_first() {
        None => vec![(args.base.clone(), args.new.clone())],
        Some((base, others)) => others.iter().map(|new| (vec![base.clone()], vec![new.clone()])).collect(),
    };
    let mut regressed = false;
    let mut all = Vec::new();
    for (base, new) in pairs {
        let compared = compare(&read(&base)?, &read(&new)?, args.max_ratio, &settings);
        regressed |= compared.regressed();
        if !args.json {
            output::print(&render(Paint::stdout(), &new, &compared, args))?;
        }
        all.push(compared);
    }
    if args.json {
        output::print_json(&all)?;
    }
    Ok(if regressed { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

fn read(files: &[PathBuf]) -> Result<Vec<Report>, Error> {
    let read = |file: &PathBuf| {
        report::read(file)
            .map_err(|because| Error::from(Said::other("compare", because, "")).exits(EXIT_USAGE))
    };
    files.iter().map(read).collect()
}

fn render(paint: Paint, new: &[PathBuf], compared: &Comparison, args: &CompareArgs) -> String {
    let names: Vec<String> = new.iter().map(|file| file.display().to_string()).collect();
    let mut lines = format!("{}\n", paint.colour(Colour::Bold, &names.join(", ")));
    for remark in &compared.remarks {
        lines += &format!("note: {remark}\n");
    }
    let rows: Vec<[Cell; 6]> = compared.rows.iter().map(|row| cells(row, args)).collect();
    let interval = format!("{:.0} % INTERVAL", args.confidence * 100.0);
    lines += &table::render(paint, ["FIGURE", "BASE", "NEW", "× WORSE", &interval, ""], &rows);
    lines += &match args.max_ratio {
        None => "\nno --max-ratio was given: no verdict\n\n".to_owned(),
        Some(gate) => {
            let worse: Vec<&str> =
                compared.rows.iter().filter(|row| row.regression).map(|row| row.figure.as_str()).collect();
            match worse.as_slice() {
                [] => format!("\nPASS: no interval lies above {gate}\n\n"),
                some => format!("\nFAIL: more than {gate} times worse: {}\n\n", some.join(", ")),
            }
        }
    };
    lines
}

fn cells(row: &Row, args: &CompareArgs) -> [Cell; 6] {
    let value = |value: f64| match row.unit {
        "time_ns" => text::time(whole(value)),
        "kib" => text::kib(whole(value)),
        "cpu_ms" => format!("{value:.2} ms"),
        _ => format!("{value:.1}/s"),
    };
    let interval = match row.interval {
        Some((low, high)) => format!("{low:.3} to {high:.3}"),
        None => "too little data".into(),
    };
    let verdict = match (row.regression, row.interval) {
        (true, _) => Cell::coloured("worse", Colour::Red),
        (false, Some((_, high))) if high < 1.0 => Cell::coloured("better", Colour::Green),
        (false, Some((low, _))) if low > 1.0 && args.max_ratio.is_some() => "within the gate".into(),
        (false, _) => "".into(),
    };
    [
        row.figure.as_str().into(),
        value(row.base).into(),
        value(row.new).into(),
        format!("{:.3}", row.ratio).into(),
        interval.into(),
        verdict,
    ]
}
