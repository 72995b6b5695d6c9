use super::*;
use crate::stress::figures::{Buckets, quantile, whole};
use crate::stress::random::Random;
use crate::stress::report::{Operation, Run, Second};
use crate::stress::sampler::Sample;

const SETTINGS: Settings = Settings { resamples: 300, confidence: 0.95, seed: 7, paired: false };
const SECONDS: usize = 60;

/// A run whose latencies drift for seconds at a time, as those of a true one do, and are `slower` by a factor.
fn run(seed: u64, slower: f64) -> Report {
    let mut random = Random::new(seed);
    let mut drift = 0.0;
    let seconds: Vec<Second> = (0..SECONDS)
        .map(|_| {
            drift = 0.8 * drift + 0.05 * (random.fraction() - 0.5);
            let mut buckets = Buckets::default();
            for _ in 0..100 {
                // A body and a tail: now and then something takes longer.
                let tail = if random.below(50) == 0 { 3.0 } else { 0.0 };
                let ms = slower * (1.0 + drift) * (4.0 + random.fraction() + tail + 0.3 * random.gap());
                buckets.add(whole(ms * 1e6));
            }
            let histogram = buckets.pairs();
            let (p50_ns, p99_ns) = (quantile(&histogram, 0.5), quantile(&histogram, 0.99));
            Second { count: 100, errors: 0, p50_ns, p99_ns, histogram }
        })
        .collect();
    let sample = |second: usize| {
        let units = u64::try_from(second * 100).unwrap();
        let target_cpu_ms = whole(slower * units as f64 * 2.0) + u64::try_from(random.below(20)).unwrap();
        Sample {
            at: second as f64,
            units,
            target_cpu_ms,
            shim_pss_kib: Some(150 + u64::try_from(random.below(5)).unwrap()),
            ..Sample::default()
        }
    };
    let samples = (0..=SECONDS).map(sample).collect();
    let create = Operation { count: 6000, rate: 100.0, seconds, ..Operation::default() };
    Report {
        run: Run { seconds: SECONDS as f64, ..Run::default() },
        operations: [("create".to_owned(), create)].into(),
        samples,
        ..Report::default()
    }
}

fn row<'a>(comparison: &'a Comparison, figure: &str) -> &'a Row {
    let found = comparison.rows.iter().find(|row| row.figure == figure);
    found.unwrap_or_else(|| panic!("{figure}: {comparison:#?}"))
}

#[test]
fn a_regression_of_a_fifth_is_found() {
    let compared = compare(&[run(1, 1.0)], &[run(2, 1.2)], Some(1.1), &SETTINGS);
    for figure in ["create p50", "CPU of the target, each unit"] {
        let row = row(&compared, figure);
        let (low, high) = row.interval.unwrap();
        assert!(row.regression && low > 1.1 && low < 1.21 && high > 1.19, "{row:?}");
    }
    // What has not become worse is not called so.
    assert!(!row(&compared, "PSS of a shim").regression && !row(&compared, "create rate").regression);
    assert!(compared.regressed());
}

#[test]
fn an_improvement_is_no_regression() {
    let compared = compare(&[run(1, 1.2)], &[run(2, 1.0)], Some(1.0), &SETTINGS);
    assert!(!row(&compared, "create p50").regression);
    assert!(row(&compared, "create p50").interval.unwrap().1 < 0.95);
}

#[test]
fn ten_pairs_of_the_same_give_no_alarm() {
    for pair in 0..10 {
        let compared = compare(&[run(100 + pair, 1.0)], &[run(200 + pair, 1.0)], Some(1.05), &SETTINGS);
        assert!(!compared.regressed(), "{pair}: {compared:#?}");
    }
}

#[test]
fn runs_that_differ_among_themselves_widen_the_interval() {
    // Each run is as slow as its day: 20 % between days, and nothing between the sides.
    let base = [run(1, 1.0), run(2, 1.2), run(3, 1.1)];
    let new = [run(4, 1.15), run(5, 1.3), run(6, 1.05)];
    let one = compare(&base[..1], &new[..1], Some(1.1), &SETTINGS);
    let all = compare(&base, &new, Some(1.1), &SETTINGS);
    let width = |comparison: &Comparison| {
        let (low, high) = row(comparison, "create p50").interval.unwrap();
        high - low
    };
    assert!(width(&all) > 2.0 * width(&one), "{} {}", width(&all), width(&one));
    assert!(!row(&all, "create p50").regression);
    let slower = [run(7, 1.5), run(8, 1.65), run(9, 1.6)];
    assert!(row(&compare(&base, &slower, Some(1.1), &SETTINGS), "create p50").regression);
}

#[test]
fn what_both_runs_of_a_pair_had_to_bear_is_no_difference() {
    // As the host had more or less to do: up to 30 % between pairs, and a fifth between the sides.
    let hosts = [1.0, 1.3, 1.1, 1.25, 1.05];
    let side = |seeds: std::ops::Range<u64>, slower: f64| -> Vec<Report> {
        seeds.zip(hosts).map(|(seed, host)| run(seed, host * slower)).collect()
    };
    let (base, same, slower) = (side(1..6, 1.0), side(11..16, 1.0), side(21..26, 1.2));
    let paired = Settings { paired: true, ..SETTINGS };
    let found = |new: &[Report], settings: &Settings| {
        row(&compare(&base, new, Some(1.1), settings), "create p50").regression
    };
    assert_eq!(
        (found(&slower, &SETTINGS), found(&slower, &paired), found(&same, &paired)),
        (false, true, false)
    );
}

#[test]
fn too_little_data_gives_no_interval_and_no_alarm() {
    let short = |seed, slower| {
        let mut report = run(seed, slower);
        for operation in report.operations.values_mut() {
            operation.seconds.truncate(3);
        }
        report
    };
    let compared = compare(&[short(1, 1.0)], &[short(2, 2.0)], Some(1.1), &SETTINGS);
    let row = row(&compared, "create p50");
    assert!(row.interval.is_none() && !row.regression && row.ratio > 1.8, "{row:?}");
    assert!(compared.remarks.iter().any(|remark| remark.contains("one run only")));
}

#[test]
fn what_differs_is_remarked() {
    let mut other = run(2, 1.0);
    other.host.cpus = 64;
    let remarks = compare(&[run(1, 1.0)], &[other], None, &SETTINGS).remarks;
    assert!(remarks.iter().any(|remark| remark == "numbers of processors differ: 0 and 64"), "{remarks:?}");
}
