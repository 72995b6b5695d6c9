//! Plots as SVG: axes, lines and marks, stacked bars. Each has a title and a description for who does not see
//! it; lines differ by colour and by dashes.

use super::escape;
use std::fmt::Write;

/// Size of a plot, and the room around its area.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
/// Styles of lines that there are.
const STYLES: usize = 8;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
    /// Shares from 0 to below 1, the more room the closer to 1: each nine has as much.
    Nines,
}

/// One of the two axes.
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
    pub(super) show: fn(f64) -> String,
}

/// Some points with a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Points are not joined.
    pub(super) scattered: bool,
}

/// Where the values of an axis lie.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| scale != Scale::Log || *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() || !high.is_finite() {
            (low, high) = (1.0, 2.0);
        }
        match scale {
            Scale::Linear => low = 0.0f64.min(low),
            Scale::Log => (low, high) = (low / 1.15, high * 1.15),
            Scale::Nines => (low, high) = (0.0, high.max(0.9)),
        }
        if high <= low {
            high = low + 1.0;
        }
        Self { scale, low, high }
    }

    fn bent(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).ln(),
            Scale::Nines => -(1.0 - value.min(0.999_999)).log10(),
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let (low, high) = (self.bent(self.low), self.bent(self.high));
        ((self.bent(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let within = |value: &f64| *value >= self.low && *value <= self.high * (1.0 + 1e-9);
        match self.scale {
            Scale::Nines => [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999].into_iter().filter(within).collect(),
            Scale::Linear => {
                let step = round_step((self.high - self.low) / 5.0);
                let first = (self.low / step).ceil();
                (0..12).map(|n| (first + f64::from(n)) * step).filter(within).collect()
            }
            Scale::Log => {
                let decades = (-3..16).map(|power| 10f64.powi(power));
                let ones: Vec<f64> = decades.clone().filter(within).collect();
                if ones.len() >= 3 {
                    return ones;
                }
                decades.flat_map(|ten| [1.0, 2.0, 5.0].map(|of| of * ten)).filter(within).collect()
            }
        }
    }
}

/// 1, 2 or 5 of a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let ten = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|of| of * ten).find(|step| *step >= least).unwrap_or(least)
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn down(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// The style of the line of this number.
fn style(number: usize) -> usize {
    number % STYLES
}

/// The plot as a section with a legend. `id` is used once in a document.
pub(super) fn section(id: &str, plot: &Plot) -> String {
    let mut text = format!("<section><h2>{}</h2>\n", escape(plot.title));
    if plot.lines.iter().all(|line| line.points.is_empty()) {
        return text + "<p class=\"dim\">Nothing was measured.</p></section>\n";
    }
    text += &open(id, HEIGHT, plot.title, &plot.description);
    text += &body(plot);
    text += "</svg>\n";
    text += &legend(plot.lines.iter().map(|line| line.name.as_str()), plot.scattered);
    text + "</section>\n"
}

fn open(id: &str, height: f64, title: &str, description: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
        escape(title),
        escape(description)
    )
}

fn body(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let x = Range::of(plot.x.scale, points().map(|point| point.0));
    let y = Range::of(plot.y.scale, points().map(|point| point.1));
    let mut text = String::new();
    let (left, right, top, bottom) = (across(0.0), across(1.0), down(1.0), down(0.0));
    for tick in y.ticks() {
        let at = down(y.place(tick));
        text += &format!("<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        let label = escape(&(plot.y.show)(tick));
        text += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            left - 6.0,
            at + 4.0
        );
    }
    for tick in x.ticks() {
        let at = across(x.place(tick));
        text += &format!(
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>",
            bottom + 4.0
        );
        let label = escape(&(plot.x.show)(tick));
        text += &format!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
            bottom + 16.0
        );
    }
    text += &format!("<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{bottom}H{right}\"/>\n");
    let label = escape(&format!("{} against {}", plot.y.label, plot.x.label));
    text += &format!("<text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n", HEIGHT - 6.0);
    for (number, line) in plot.lines.iter().enumerate() {
        text += &drawn(line, style(number), &x, &y, plot.scattered);
    }
    text
}

fn drawn(line: &Line, style: usize, x: &Range, y: &Range, scattered: bool) -> String {
    let places = line.points.iter().map(|(at, value)| (across(x.place(*at)), down(y.place(*value))));
    if scattered || line.points.len() == 1 {
        let mark = |(x, y)| format!("<circle class=\"mark s{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        return places.map(mark).collect::<String>() + "\n";
    }
    let mut path = String::new();
    for (number, (x, y)) in places.enumerate() {
        let verb = if number == 0 { 'M' } else { 'L' };
        // Writing to a String does not fail.
        write!(path, "{verb}{x:.1} {y:.1}").unwrap_or_default();
    }
    format!("<path class=\"line s{style}\" d=\"{path}\"/>\n")
}

fn legend<'a>(names: impl Iterator<Item = &'a str>, filled: bool) -> String {
    let mut text = String::from("<ul class=\"legend\">");
    for (number, name) in names.enumerate() {
        let style = style(number);
        let sample = match filled {
            true => format!("<rect class=\"mark s{style}\" width=\"14\" height=\"10\" x=\"6\"/>"),
            false => format!("<path class=\"line s{style}\" d=\"M0 5H26\"/>"),
        };
        text += &format!(
            "<li><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\">{sample}</svg>{}</li>",
            escape(name)
        );
    }
    text + "</ul>\n"
}

/// A bar that consists of parts.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(String, f64)>,
}

/// Bars below each other, as long as the sums of their parts.
pub(super) fn stacked(
    id: &str,
    title: &str,
    description: &str,
    bars: &[Bar],
    show: fn(f64) -> String,
) -> String {
    let sum = |bar: &Bar| bar.parts.iter().map(|(_, value)| value).sum::<f64>();
    let longest = bars.iter().map(sum).fold(0.0, f64::max);
    let mut text = format!("<section><h2>{}</h2>\n", escape(title));
    if longest <= 0.0 {
        return text + "<p class=\"dim\">Nothing was measured.</p></section>\n";
    }
    let (row, height) = (46.0, 46.0 * f64::from(u32::try_from(bars.len()).unwrap_or(1)));
    text += &open(id, height, title, description);
    let mut number = 0;
    let mut names = Vec::new();
    for (line, bar) in (0u32..).zip(bars) {
        let top = f64::from(line) * row;
        let label = format!("{}: {}", bar.name, show(sum(bar)));
        text += &format!("<text x=\"0\" y=\"{:.1}\">{}</text>", top + 12.0, escape(&label));
        let mut left = 0.0;
        for (name, value) in &bar.parts {
            let width = value / longest * WIDTH;
            text += &format!(
                "<rect class=\"bar s{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"22\">\
                 <title>{}: {}</title></rect>",
                style(number),
                top + 17.0,
                escape(name),
                escape(&show(*value))
            );
            left += width;
            number += 1;
            names.push(format!("{name} {}", show(*value)));
        }
    }
    text += "</svg>\n";
    text += &legend(names.iter().map(String::as_str), true);
    text + "</section>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let linear = Range::of(Scale::Linear, [3.0, 47.0].into_iter());
        assert_eq!(linear.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        let log = Range::of(Scale::Log, [1e6, 4e9].into_iter());
        assert_eq!(log.ticks(), [1e6, 1e7, 1e8, 1e9]);
        let nines = Range::of(Scale::Nines, [0.0, 0.9999].into_iter());
        assert_eq!(nines.ticks(), [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999]);
        assert!((nines.place(0.9) - 0.25).abs() < 1e-9);
        assert!(!Range::of(Scale::Log, std::iter::empty()).ticks().is_empty());
    }

    #[test]
    fn a_plot_is_named_for_who_does_not_see_it_and_nothing_of_it_is_markup() {
        let axis = || Axis { label: "x", scale: Scale::Linear, show: |value| value.to_string() };
        let lines = vec![Line { name: "<a>".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }];
        let (title, description) = ("A", "b & c".to_owned());
        let plot = Plot { title, description, x: axis(), y: axis(), lines, scattered: false };
        let text = section("p", &plot);
        assert!(text.contains("role=\"img\" aria-labelledby=\"p-t p-d\"") && text.contains("b &amp; c"));
        assert!(text.contains("&lt;a&gt;") && !text.contains("<a>"), "{text}");
    }
}
