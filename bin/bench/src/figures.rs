//! Figures, and how people and machines read them: one table and one JSON for everything that is measured.

use std::fmt::Write as _;

use serde::Serialize;

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Ours divided by the peer's is at most this: times, sizes.
    Ratio(f64),
    /// Ours divided by the peer's is at least this: rates.
    AtLeast(f64),
    /// Ours is at most this, in the figure's unit.
    Value(f64),
    /// Nothing; the figure is for information.
    Report,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct Figure {
    figure: String,
    ours: f64,
    peer: Option<String>,
    peer_value: Option<f64>,
    unit: &'static str,
    ratio: Option<f64>,
    target: Option<String>,
    met: Option<bool>,
}

impl Figure {
    /// Ours alone.
    pub fn alone(figure: impl Into<String>, ours: f64, unit: &'static str, target: Target) -> Figure {
        Figure::row(figure.into(), ours, None, unit, None, target)
    }

    /// Ours beside a peer's, the ratio as it was measured pair by pair.
    pub fn beside(
        figure: impl Into<String>,
        ours: f64,
        (peer, value): (&str, f64),
        unit: &'static str,
        ratio: f64,
        target: Target,
    ) -> Figure {
        Figure::row(figure.into(), ours, Some((peer.to_owned(), value)), unit, Some(ratio), target)
    }

    /// Ours beside a peer that could not be measured here.
    pub fn without(figure: impl Into<String>, ours: f64, peer: &str, unit: &'static str) -> Figure {
        let mut row = Figure::row(figure.into(), ours, None, unit, None, Target::Report);
        row.peer = Some(peer.to_owned());
        row
    }

    fn row(
        figure: String,
        ours: f64,
        peer: Option<(String, f64)>,
        unit: &'static str,
        ratio: Option<f64>,
        target: Target,
    ) -> Figure {
        let (peer, peer_value) = peer.unzip();
        let (told, met) = match target {
            Target::Ratio(most) => (Some(format!("<= {most} x")), ratio.map(|ratio| ratio <= most)),
            Target::AtLeast(least) => (Some(format!(">= {least} x")), ratio.map(|ratio| ratio >= least)),
            Target::Value(most) => (Some(format!("<= {most} {unit}")), Some(ours <= most)),
            Target::Report => (None, None),
        };
        Figure { figure, ours, peer, peer_value, unit, ratio, target: told, met }
    }
}

/// The middle of these; the mean of the two middle ones of an even number.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The value that 99 of 100 do not exceed.
pub fn p99(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of the ratios of what was measured side by side: what slows the machine down slows both.
pub fn paired(ours: &[f64], peers: &[f64]) -> f64 {
    median(&ours.iter().zip(peers).map(|(ours, peer)| ours / peer).collect::<Vec<_>>())
}

/// As people read it.
pub fn table(figures: &[Figure]) -> String {
    let head = ["figure", "ours", "unit", "peer", "peer's", "ratio", "target", "met"].map(str::to_owned);
    let rows = figures.iter().map(|row| {
        let short = |value: Option<f64>| value.map_or_else(|| "-".into(), number);
        [
            row.figure.clone(),
            number(row.ours),
            row.unit.to_owned(),
            row.peer.clone().unwrap_or_else(|| "-".into()),
            short(row.peer_value),
            row.ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            row.target.clone().unwrap_or_else(|| "-".into()),
            row.met.map_or("-", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]
    });
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Numbers to the right.
            let _ = match column {
                1 | 4 | 5 => write!(text, "{cell:>width$}  "),
                _ => write!(text, "{cell:<width$}  "),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size < 1.0 && size > 0.0 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_p99_the_last_but_one_percent() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(p99(&hundred), 99.0);
        assert_eq!(p99(&[7.0]), 7.0);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        assert_eq!(paired(&[1.0, 20.0, 3.0], &[1.0, 10.0, 1.0]), 2.0);
    }

    #[test]
    fn a_target_says_whether_it_is_met() {
        let missed = Figure::beside("f", 2.0, ("p", 1.0), "ms", 2.0, Target::Ratio(1.15));
        assert_eq!((missed.target.as_deref(), missed.met), (Some("<= 1.15 x"), Some(false)));
        let slow = Figure::beside("f", 4.0, ("p", 8.0), "M/s", 0.5, Target::AtLeast(0.6));
        assert_eq!((slow.target.as_deref(), slow.met), (Some(">= 0.6 x"), Some(false)));
        let met = Figure::alone("f", 0.0, "switches", Target::Value(0.0));
        assert_eq!((met.target.as_deref(), met.met), (Some("<= 0 switches"), Some(true)));
    }
}
