//! When units of load are to begin: the schedule of an open loop. It does not know how long
//! anything takes, so that whoever is slow does not slow down what comes.

use super::random::Random;
use std::time::Duration;

/// How far apart arrivals are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// All the same time apart.
    Even,
    /// As independent clients come: a Poisson process.
    Poisson,
}

/// How the rate changes with time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// It does not.
    Constant,
    /// From 0 to the whole rate within this time, then constant.
    Ramp(Duration),
    /// So many equal steps up to the whole rate, each of this length.
    Steps(u32, Duration),
}

/// The schedule: gives one intended start after the other, as times since the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Arrivals a second.
    rate: f64,
    shape: Shape,
    arrivals: Arrivals,
    random: Random,
    /// Arrivals so far, as an integral of the rate.
    so_far: f64,
    first: bool,
}

impl Pace {
    pub(crate) fn new(rate: f64, shape: Shape, arrivals: Arrivals, seed: u64) -> Self {
        Self { rate, shape, arrivals, random: Random::new(seed), so_far: 0.0, first: true }
    }

    /// When the next one is to begin.
    pub(crate) fn next(&mut self) -> Duration {
        self.so_far += match self.arrivals {
            Arrivals::Poisson => self.random.gap(),
            Arrivals::Even if self.first => 0.0,
            Arrivals::Even => 1.0,
        };
        self.first = false;
        Duration::try_from_secs_f64(self.time_of(self.so_far)).unwrap_or(Duration::MAX)
    }

    /// When `number` arrivals have come: the inverse of the integral of the rate, in seconds.
    fn time_of(&self, number: f64) -> f64 {
        match self.shape {
            Shape::Constant => number / self.rate,
            Shape::Ramp(ramp) => {
                let ramp = ramp.as_secs_f64();
                let within = self.rate * ramp / 2.0;
                if number < within {
                    (2.0 * ramp * number / self.rate).sqrt()
                } else {
                    ramp + (number - within) / self.rate
                }
            }
            Shape::Steps(steps, length) => {
                let length = length.as_secs_f64();
                let mut left = number;
                for step in 1..=steps {
                    let rate = self.rate * f64::from(step) / f64::from(steps);
                    if left < rate * length || step == steps {
                        return f64::from(step - 1) * length + left / rate;
                    }
                    left -= rate * length;
                }
                number / self.rate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(shape: Shape, arrivals: Arrivals, until: u64) -> Vec<f64> {
        let mut pace = Pace::new(100.0, shape, arrivals, 3);
        let end = Duration::from_secs(until);
        std::iter::from_fn(|| Some(pace.next()).filter(|at| *at < end)).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn an_even_rate_is_even() {
        let all = times(Shape::Constant, Arrivals::Even, 2);
        assert_eq!((all.len(), all[0], all[1]), (200, 0.0, 0.01));
    }

    #[test]
    fn a_ramp_has_half_of_the_arrivals_and_steps_rise() {
        assert_eq!(times(Shape::Ramp(Duration::from_secs(2)), Arrivals::Even, 2).len(), 100);
        assert_eq!(times(Shape::Ramp(Duration::from_secs(2)), Arrivals::Even, 4).len(), 300);
        let steps = times(Shape::Steps(4, Duration::from_secs(1)), Arrivals::Even, 4);
        let within = |second: f64| steps.iter().filter(|at| **at >= second && **at < second + 1.0).count();
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(within), [25, 50, 75, 100]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_differ() {
        let all = times(Shape::Constant, Arrivals::Poisson, 100);
        assert!(all.len().abs_diff(10_000) < 400, "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let short = gaps.iter().filter(|gap| **gap < 0.01).count() as f64 / gaps.len() as f64;
        // 1 - 1/e of an exponential distribution lies below its mean.
        assert!((short - 0.632).abs() < 0.03, "{short}");
    }
}
