//! A chart over time, as SVG of a fixed size: small enough for a telephone, where it is shown as it is.
//!
//! What is drawn has a class; colours, dashes and patterns are the style sheet's. Each stretch has an invisible
//! surface whose `<title>` a browser shows on hover, without a script; neighbours that say the same have one.

use maud::{Markup, html};

use super::text::{moment, short, ticks};

pub(super) const WIDTH: f64 = 360.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 352.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 136.0;
const HEIGHT: f64 = 170.0;

/// The stretches that all charts of a page show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) width_ms: u64,
    /// The first stretch that is shown, and how many are.
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Axis {
    /// Where the stretch of that number begins, the first of those that are shown being 0.
    fn x(&self, index: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * index as f64 / self.count.max(1) as f64
    }

    fn start_ms(&self, index: usize) -> u64 {
        (self.first + index) as u64 * self.width_ms
    }

    /// What is shown of values by stretch; 0 where there are none.
    pub(super) fn window<B, V: Default>(&self, bins: &[B], value: impl Fn(&B) -> V) -> Vec<V> {
        (0..self.count).map(|index| bins.get(self.first + index).map(&value).unwrap_or_default()).collect()
    }

    /// From when until when the stretches from `from` to `to` last.
    fn told(&self, from: usize, to: usize) -> String {
        format!("{} to {}", moment(self.start_ms(from)), moment(self.start_ms(to)))
    }
}

/// One thing that a chart shows.
pub(super) struct Layer<'a> {
    /// What the style sheet calls it.
    pub(super) class: &'a str,
    pub(super) values: Vec<u64>,
    /// Filled from the bottom up; else a line.
    pub(super) filled: bool,
}

/// `layers` over each other, the last in front. `unit` says what is counted; `label` what it is about, for whoever
/// cannot see it; `told` what is shown on hover.
pub(super) fn chart(
    axis: &Axis,
    unit: &str,
    label: &str,
    layers: &[Layer<'_>],
    told: impl Fn(usize) -> String,
) -> Markup {
    let most = layers.iter().flat_map(|layer| &layer.values).copied().max().unwrap_or(0);
    let top = round_up(most);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top;
    let halves: &[f64] = if top >= 2.0 { &[0.0, 0.5, 1.0] } else { &[0.0, 1.0] };
    html! {
        svg viewBox={"0 0 " (WIDTH) " " (HEIGHT)} role="img" aria-label=(label) {
            @for half in halves {
                @let height = y(top * half);
                line.grid x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(height)) y2=(px(height)) {}
                text.tick.end x=(px(LEFT - 5.0)) y=(px(height + 4.0)) { (short(top * half)) }
            }
            text.unit x="0" y="11" { (unit) }
            (time_axis(axis, BOTTOM))
            @for layer in layers {
                path class=(layer.class) d=(steps(axis, &layer.values, layer.filled, y)) {}
            }
            (surfaces(axis, TOP, BOTTOM, told))
        }
    }
}

/// The share of a limit that is in use, in permille, below the line of all of it.
pub(super) fn strip(axis: &Axis, label: &str, permille: &[u64], told: impl Fn(usize) -> String) -> Markup {
    const TOP: f64 = 6.0;
    const BOTTOM: f64 = 46.0;
    const HEIGHT: f64 = 80.0;
    // Settled overage may take it beyond; the strip has room for a little.
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value.min(1_080.0) / 1_000.0;
    html! {
        svg viewBox={"0 0 " (WIDTH) " " (HEIGHT)} role="img" aria-label=(label) {
            line.full x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(TOP)) y2=(px(TOP)) {}
            text.tick.end x=(px(LEFT - 5.0)) y=(px(TOP + 4.0)) { "100%" }
            text.tick.end x=(px(LEFT - 5.0)) y=(px(BOTTOM + 1.0)) { "0" }
            path.fill d=(steps(axis, permille, true, y)) {}
            (time_axis(axis, BOTTOM))
            (surfaces(axis, 0.0, BOTTOM, told))
        }
    }
}

fn time_axis(axis: &Axis, bottom: f64) -> Markup {
    let (from_ms, to_ms) = (axis.start_ms(0), axis.start_ms(axis.count));
    let (ticks, unit) = ticks(from_ms, to_ms);
    let length = (to_ms - from_ms).max(1) as f64;
    html! {
        line.axis x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(bottom)) y2=(px(bottom)) {}
        @for (at_ms, number) in ticks {
            @let x = LEFT + (RIGHT - LEFT) * (at_ms - from_ms) as f64 / length;
            line.axis x1=(px(x)) x2=(px(x)) y1=(px(bottom)) y2=(px(bottom + 4.0)) {}
            text.tick.middle x=(px(x)) y=(px(bottom + 15.0)) { (number) }
        }
        text.unit.end x=(px(RIGHT)) y=(px(bottom + 30.0)) { (unit) " since the start" }
    }
}

/// The outline of values that hold for a stretch each.
fn steps(axis: &Axis, values: &[u64], filled: bool, y: impl Fn(f64) -> f64) -> String {
    let mut path = format!("M{}", px(axis.x(0)));
    let first = values.first().copied().unwrap_or(0);
    path += &if filled {
        format!(" {}V{}", px(y(0.0)), px(y(first as f64)))
    } else {
        format!(" {}", px(y(first as f64)))
    };
    let mut last = first;
    for (index, value) in values.iter().enumerate() {
        if *value != last {
            path += &format!("H{}V{}", px(axis.x(index)), px(y(*value as f64)));
            last = *value;
        }
    }
    path += &format!("H{}", px(axis.x(values.len())));
    if filled {
        path += &format!("V{}Z", px(y(0.0)));
    }
    path
}

/// What is told on hover.
fn surfaces(axis: &Axis, top: f64, bottom: f64, told: impl Fn(usize) -> String) -> Markup {
    let mut runs: Vec<(usize, usize, String)> = Vec::new();
    for index in 0..axis.count {
        let text = told(index);
        match runs.last_mut() {
            Some((_, to, same)) if *same == text => *to = index + 1,
            _ => runs.push((index, index + 1, text)),
        }
    }
    html! {
        g.hover {
            @for (from, to, text) in runs {
                rect x=(px(axis.x(from))) y=(px(top)) width=(px(axis.x(to) - axis.x(from))) height=(px(bottom - top)) {
                    title { (axis.told(from, to)) ": " (text) }
                }
            }
        }
    }
}

/// The next number that is good for the end of an axis, and its half for the middle.
fn round_up(most: u64) -> f64 {
    let most = (most as f64).max(1.0);
    let scale = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * scale).find(|top| *top >= most).unwrap_or(most)
}

/// A length to a tenth of a pixel.
fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(
            [0, 1, 3, 17, 100, 101, 4_500].map(round_up),
            [1.0, 1.0, 4.0, 20.0, 100.0, 200.0, 6_000.0]
        );
    }

    #[test]
    fn neighbours_that_say_the_same_are_told_once() {
        let axis = Axis { width_ms: 3_600_000, first: 2, count: 4 };
        let told = |index: usize| ["a", "a", "<b>", "a"][index].to_owned();
        let text = surfaces(&axis, 0.0, 1.0, told).into_string();
        assert_eq!(text.matches("<title>").count(), 3);
        assert!(text.contains("day 0, 02:00 to day 0, 04:00: a<") && text.contains("&lt;b&gt;"), "{text}");
    }

    #[test]
    fn a_path_has_a_corner_where_a_value_changes() {
        let axis = Axis { width_ms: 60_000, first: 0, count: 3 };
        let path = steps(&axis, &[1, 1, 0], true, |value| 10.0 - value);
        assert_eq!(path, "M40 10V9H248V10H352V10Z");
    }
}
