//! Intervals of ratios, by drawing the data anew.

use super::series::{Kind, Series, Slice};
use crate::stress::random::Random;

/// Seconds of a block at most.
const LONGEST: usize = 10;

/// How intervals are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Times that the data are drawn.
    pub(crate) resamples: u32,
    /// Share of intervals that hold the true ratio.
    pub(crate) confidence: f64,
    pub(crate) seed: u64,
    /// The runs of both sides are pairs, which are drawn together: what both of a pair had to bear is no difference.
    pub(crate) paired: bool,
}

/// Where the ratio of `new` to `base` is likely to lie, as [`Kind::worse`] counts it.
pub(super) fn interval(base: &Series, new: &Series, kind: &Kind, settings: &Settings) -> Option<(f64, f64)> {
    let mut random = Random::new(settings.seed);
    let mut counts = Vec::new();
    let mut ratios: Vec<f64> = (0..settings.resamples)
        .filter_map(|_| {
            let before = picks(base, &mut random);
            let now = if settings.paired { before.clone() } else { picks(new, &mut random) };
            let was = base.figure(&mut drawn(base, &before, &mut random).into_iter(), &mut counts)?;
            let is = new.figure(&mut drawn(new, &now, &mut random).into_iter(), &mut counts)?;
            kind.worse(was, is)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let tail = (1.0 - settings.confidence) / 2.0;
    Some((at(&ratios, tail)?, at(&ratios, 1.0 - tail)?))
}

/// The value below which this share of the sorted values lies.
fn at(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let index = crate::stress::figures::whole(last as f64 * share);
    sorted.get(usize::try_from(index).ok()?.min(last)).copied()
}

/// Numbers of runs, drawn. Of several runs one less is drawn than there are: with so few, as many would
/// vary less than runs do.
fn picks(series: &Series, random: &mut Random) -> Vec<usize> {
    let runs = series.runs.len();
    (0..runs.saturating_sub(1).max(1)).map(|_| random.below(runs)).collect()
}

/// Slices of these runs, in blocks that are drawn.
fn drawn<'a>(series: &'a Series, picks: &[usize], random: &mut Random) -> Vec<&'a Slice> {
    let mut slices = Vec::new();
    for run in picks.iter().filter_map(|pick| series.runs.get(*pick)) {
        blocks(run, random, &mut slices);
    }
    slices
}

/// As many slices as the run has, in blocks that go on at its beginning where they reach its end.
fn blocks<'a>(run: &'a [Slice], random: &mut Random, slices: &mut Vec<&'a Slice>) {
    let length = block_length(run.len());
    let end = slices.len() + run.len();
    while slices.len() < end {
        let begin = random.below(run.len());
        let block = run.iter().cycle().skip(begin).take(length.min(end - slices.len()));
        slices.extend(block);
    }
}

/// The third root of the number of slices, and a half more: as dependence fades within a few seconds.
fn block_length(slices: usize) -> usize {
    let root = (slices as f64).cbrt() * 1.5;
    usize::try_from(crate::stress::figures::whole(root)).unwrap_or(1).clamp(1, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_run_and_fill_it() {
        assert_eq!([5, 60, 600, 100_000].map(block_length), [3, 6, 10, 10]);
        let run: Vec<Slice> = (0..7).map(|n| Slice::Quotient(f64::from(n), 1.0)).collect();
        let mut slices = Vec::new();
        blocks(&run, &mut Random::new(3), &mut slices);
        assert_eq!(slices.len(), 7);
        assert_eq!((at(&[1.0, 2.0, 3.0], 0.5), at(&[], 0.5)), (Some(2.0), None));
    }
}
