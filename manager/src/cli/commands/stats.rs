//! `stats`: what containers use, once or again and again.

use crate::cli::args::StatsArgs;
use crate::cli::client::Client;
use crate::cli::error::{Error, Report};
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::usage::{self, Sample};
use sextant_proto::v1::{self, StatsRequest, StreamStatsRequest};
use std::collections::BTreeMap;
use std::process::ExitCode;

const ATTEMPTED: &str = "ask what containers use";

pub(super) async fn run(client: &Client, args: StatsArgs) -> Result<ExitCode, Error> {
    let mut client = client.clone();
    let mut show = Show { json: args.json, before: BTreeMap::new() };
    if !args.stream {
        let answer = client.containers.stats(StatsRequest { ids: args.ids, ..Default::default() }).await;
        let samples = answer.map_err(Error::request(ATTEMPTED))?.into_inner().samples;
        show.once(samples)?;
        return Ok(ExitCode::SUCCESS);
    }
    let interval = args.interval.and_then(|interval| interval.try_into().ok());
    let request = StreamStatsRequest { ids: args.ids, interval, ..Default::default() };
    let answer = client.containers.stream_stats(request).await;
    let mut stream = answer.map_err(Error::request(ATTEMPTED))?.into_inner();
    loop {
        match stream.message().await {
            Ok(Some(answer)) => show.next(answer.samples)?,
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Err(status) => return Err(Report::request(ATTEMPTED, status).into()),
        }
    }
}

/// Shows one answer after the other.
struct Show {
    json: bool,
    /// CPU time and time of the sample before, by container: what makes a percentage.
    before: BTreeMap<String, (u64, f64)>,
}

impl Show {
    fn once(&mut self, samples: Vec<v1::Sample>) -> Result<(), Error> {
        if self.json {
            let samples: Vec<Sample> = samples.into_iter().map(Sample::from).collect();
            return output::print_json(&samples);
        }
        output::print(&self.render(Paint::stdout(), samples))
    }

    fn next(&mut self, samples: Vec<v1::Sample>) -> Result<(), Error> {
        if self.json {
            return samples.into_iter().try_for_each(|s| output::print_json_line(&Sample::from(s)));
        }
        output::print(&(self.render(Paint::stdout(), samples) + "\n"))
    }

    fn render(&mut self, paint: Paint, samples: Vec<v1::Sample>) -> String {
        let rows: Vec<_> = samples.into_iter().map(|sample| self.row(sample)).collect();
        table::render(paint, ["ID", "CPU %", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN"], &rows)
    }

    fn row(&mut self, sample: v1::Sample) -> [Cell; 8] {
        let percent = self.percent(&sample);
        let sample = Sample::from(sample);
        let number = |n: Option<u64>, show: fn(u64) -> String| n.map(show).unwrap_or_default();
        let (memory, io) = (sample.memory.as_ref(), sample.io.as_ref());
        let id = match &sample.stale {
            Some(_) => Cell::coloured(format!("{} ({:.0}s old)", sample.id, sample.age), Colour::Red),
            None => sample.id.as_str().into(),
        };
        [
            id,
            percent.map(|percent| format!("{percent:.1}")).unwrap_or_default().into(),
            sample.cpu.map(|cpu| format!("{:.2}s", usage::seconds(cpu.usage_ns))).unwrap_or_default().into(),
            number(memory.map(|m| m.working_set_bytes), usage::bytes).into(),
            number(memory.and_then(|m| m.limit_bytes), usage::bytes).into(),
            number(sample.pids.as_ref().map(|pids| pids.current), |n| n.to_string()).into(),
            number(io.and_then(|io| io.read_bytes), usage::bytes).into(),
            number(io.and_then(|io| io.written_bytes), usage::bytes).into(),
        ]
    }

    /// Of one CPU, since the sample before.
    fn percent(&mut self, sample: &v1::Sample) -> Option<f64> {
        let (cpu, at) = (sample.cpu.as_ref()?.usage_ns, usage::time(sample.at.as_ref()?));
        let (before, since) = self.before.insert(sample.id.clone(), (cpu, at))?;
        let used = usage::seconds(cpu.checked_sub(before)?);
        (at > since).then(|| 100.0 * used / (at - since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_blank_and_a_percentage_takes_two() {
        let sample = |seconds, usage_ns| v1::Sample {
            id: "a".into(),
            at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            cpu: Some(v1::CpuStats { usage_ns, ..Default::default() }),
            memory: Some(v1::MemoryStats { working_set_bytes: 3 << 19, ..Default::default() }),
            ..Default::default()
        };
        let mut show = Show { json: false, before: BTreeMap::new() };
        let first = show.render(Paint::Plain, vec![sample(10, 500_000_000)]);
        assert_eq!(
            first.lines().last().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["a", "0.50s", "1.5MiB"]
        );
        let second = show.render(Paint::Plain, vec![sample(12, 1_500_000_000)]);
        assert!(second.contains("50.0"), "{second}");
    }
}
