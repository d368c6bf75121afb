//! The page's drawings, as SVG text: lines, a confusion matrix, ROC curves, a scatter plot.

use std::fmt::Write;

use lightwafer_runtime::dies::{CLASS_COUNT, Class};

/// A line through points.
pub(crate) struct Series {
    pub(crate) name: String,
    /// 1…6: the page's colours.
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether its points are marked.
    pub(crate) marked: bool,
}

/// The scale of a chart's vertical axis.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Axis {
    Linear,
    Log,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 58.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 26.0;
const RIGHT: f64 = 14.0;

/// The area of a chart and the values at its edges, in the measure of its axis.
struct Frame {
    axis: Axis,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    /// The frame around `series`; none without values.
    fn around(series: &[Series], axis: Axis) -> Option<Self> {
        let mut frame = Self {
            axis,
            x: (0.0, 0.0),
            y: (0.0, 0.0),
        };
        let points = || series.iter().flat_map(|s| s.points.iter().copied());
        let range = |of: &dyn Fn((f64, f64)) -> f64| {
            let finite = points().map(of).filter(|v| v.is_finite());
            finite.fold((f64::MAX, f64::MIN), |(low, high), v| {
                (low.min(v), high.max(v))
            })
        };
        let (x, (low, high)) = (range(&|p| p.0), range(&|p| frame.value(p.1)));
        if x.0 > x.1 {
            return None;
        }
        frame.x = x;
        frame.y = match high - low < 1e-9 {
            true => (low - 0.5, high + 0.5),
            false => (low, high),
        };
        Some(frame)
    }

    /// A value in the measure of the axis.
    fn value(&self, y: f64) -> f64 {
        match self.axis {
            Axis::Log => y.max(1e-12).log10(),
            Axis::Linear => y,
        }
    }

    fn place_x(&self, x: f64) -> f64 {
        let (low, high) = self.x;
        LEFT + (x - low) / (high - low).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn place_y(&self, y: f64) -> f64 {
        let (low, high) = self.y;
        HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP)
    }

    /// Grid lines, ticks and the name of the horizontal axis.
    fn axes(&self, x: &str) -> String {
        let mut svg = String::new();
        let marks = ticks(self.y.0, self.y.1, self.axis);
        let step = marks.get(1).map_or(1.0, |second| second - marks[0]);
        for tick in marks {
            let y = self.place_y(tick);
            let label = match self.axis {
                Axis::Log => short(10f64.powf(tick)),
                Axis::Linear => stepped(tick, step),
            };
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/>\
                 <text x=\"{}\" y=\"{:.1}\" class=\"tick end\">{label}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        for tick in ticks(self.x.0, self.x.1, Axis::Linear) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" class=\"tick middle\">{}</text>",
                self.place_x(tick),
                HEIGHT - BOTTOM + 15.0,
                short(tick)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" class=\"tick end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 5.0,
            escaped(x)
        );
        svg
    }

    /// A line with its marks.
    fn line(&self, series: &Series) -> String {
        let (mut svg, mut path) = (String::new(), String::new());
        for (x, y) in series.points.iter().filter(|p| p.1.is_finite()) {
            let (x, y) = (self.place_x(*x), self.place_y(self.value(*y)));
            let command = if path.is_empty() { "M" } else { "L" };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
            if series.marked {
                let colour = series.colour;
                let _ = write!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" class=\"f{colour}\"/>"
                );
            }
        }
        let colour = series.colour;
        let _ = write!(svg, "<path d=\"{path}\" class=\"line s{colour}\"/>");
        svg
    }
}

/// A chart of `series` over `x`; `borders` are the places of vertical lines.
pub(crate) fn lines(
    title: &str,
    x: &str,
    series: &[Series],
    axis: Axis,
    borders: &[f64],
) -> String {
    let title = escaped(title);
    let Some(frame) = Frame::around(series, axis) else {
        return format!(
            "<figure class=\"chart\"><figcaption>{title}: no values</figcaption></figure>"
        );
    };
    let mut svg = open(WIDTH, HEIGHT, &title);
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"15\" class=\"title\">{title}</text>"
    );
    svg += &frame.axes(x);
    for border in borders {
        let x = frame.place_x(*border);
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" class=\"border\"/>",
            HEIGHT - BOTTOM
        );
    }
    let mut legend = WIDTH - RIGHT;
    for series in series.iter().rev() {
        svg += &frame.line(series);
        let _ = write!(
            svg,
            "<text x=\"{legend}\" y=\"15\" class=\"tick end f{}\">{}</text>",
            series.colour,
            escaped(&series.name)
        );
        legend -= 7.0 * series.name.chars().count() as f64 + 14.0;
    }
    svg + "</svg></figure>"
}

/// The confusion matrix: rows are true classes, columns predicted ones; colour is the share of the row.
pub(crate) fn confusion(matrix: &[Vec<u64>]) -> String {
    const CELL: f64 = 19.0;
    const LABELS: f64 = 74.0;
    let side = LABELS + CELL * CLASS_COUNT as f64 + 4.0;
    // Room for the last label, which leans over the edge.
    let mut svg = open(side + 44.0, side, "confusion matrix");
    for class in Class::all() {
        let at = LABELS + CELL * f64::from(class.index());
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" class=\"tick end\">{label}</text>\
             <text transform=\"translate({:.1} {}) rotate(-60)\" class=\"tick\">{label}</text>",
            LABELS - 5.0,
            at + 13.0,
            at + 11.0,
            LABELS - 6.0,
            label = class.label()
        );
    }
    for (row, counts) in matrix.iter().enumerate() {
        let all: u64 = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            let (x, y) = (LABELS + CELL * column as f64, LABELS + CELL * row as f64);
            let share = count as f64 / all.max(1) as f64;
            let class = if row == column { "right" } else { "wrong" };
            // Errors are few: their square root shows them.
            let opacity = if count == 0 {
                0.0
            } else if row == column {
                share
            } else {
                share.sqrt().max(0.25)
            };
            let name = |i: usize| Class::new(i as u8).map_or("?", Class::label);
            let _ = write!(
                svg,
                "<g><title>{} taken for {}: {count} of {all}</title>\
                 <rect x=\"{x}\" y=\"{y}\" width=\"{c}\" height=\"{c}\" class=\"cell\"/>",
                name(row),
                name(column),
                c = CELL - 1.0
            );
            if count > 0 {
                let _ = write!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{c}\" height=\"{c}\" class=\"{class}\" opacity=\"{opacity:.2}\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\" class=\"count middle\">{count}</text>",
                    x + CELL / 2.0 - 0.5,
                    y + 13.0,
                    c = CELL - 1.0
                );
            }
            svg += "</g>";
        }
    }
    svg + "</svg></figure>"
}

/// Points of a one-vs-rest ROC curve: shares of false and of true positives.
pub(crate) fn roc(scores: &[f32], positive: &[bool]) -> Vec<(f64, f64)> {
    let mut ranked: Vec<_> = scores.iter().zip(positive).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(a.0));
    let positives = positive.iter().filter(|p| **p).count().max(1) as f64;
    let negatives = (positive.len() as f64 - positives).max(1.0);
    let (mut points, mut right, mut wrong) = (vec![(0.0, 0.0)], 0.0, 0.0);
    for (i, (score, positive)) in ranked.iter().enumerate() {
        *(if **positive { &mut right } else { &mut wrong }) += 1.0;
        let tied = ranked.get(i + 1).is_some_and(|next| next.0 == *score);
        if !tied {
            points.push((wrong / negatives, right / positives));
        }
    }
    points
}

/// The mean of curves over false positives, on a grid that is finer near zero, where the curves bend.
pub(crate) fn mean_roc(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let at = |curve: &[(f64, f64)], x: f64| {
        let reached = curve.iter().take_while(|p| p.0 <= x);
        reached.last().map_or(0.0, |p| p.1)
    };
    let grid = (0..=200).map(|i| (f64::from(i) / 200.0).powi(3));
    let mean =
        |x: f64| curves.iter().map(|curve| at(curve, x)).sum::<f64>() / curves.len().max(1) as f64;
    grid.map(|x| (x, mean(x))).collect()
}

/// Points on a plane, coloured by class.
pub(crate) fn scatter(places: &[[f32; 2]], classes: &[u8], titles: &[String]) -> String {
    const SIDE: f64 = 620.0;
    let finite = || places.iter().filter(|p| p.iter().all(|v| v.is_finite()));
    let most = finite()
        .flatten()
        .fold(1e-6f32, |most, v| most.max(v.abs()));
    let mut svg = open(SIDE, SIDE, "embedding map");
    let mut centres = vec![([0.0f64; 2], 0.0f64); CLASS_COUNT];
    for ((place, &class), title) in places.iter().zip(classes).zip(titles) {
        if !place.iter().all(|v| v.is_finite()) {
            continue;
        }
        let [x, y] = place.map(|v| SIDE / 2.0 + f64::from(v / most) * (SIDE / 2.0 - 24.0));
        let (sum, count) = &mut centres[usize::from(class)];
        (sum[0], sum[1], *count) = (sum[0] + x, sum[1] + y, *count + 1.0);
        let _ = write!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{}\"><title>{}</title></circle>",
            colour(class),
            escaped(title)
        );
    }
    for class in Class::all() {
        let ([x, y], count) = centres[usize::from(class.index())];
        if count > 0.0 {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"label middle\">{}</text>",
                x / count,
                y / count,
                class.label()
            );
        }
    }
    svg + "</svg></figure>"
}

/// A colour for each class: hues by golden ratio, two lightnesses.
fn colour(class: u8) -> String {
    let hue = (f64::from(class) * 137.508).rem_euclid(360.0);
    format!(
        "hsl({hue:.0} 65% {}%)",
        if class.is_multiple_of(2) { 48 } else { 60 }
    )
}

/// The begin of a drawing; `label` is escaped.
fn open(width: f64, height: f64, label: &str) -> String {
    format!(
        "<figure class=\"chart\"><svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" aria-label=\"{label}\">"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Round values between two, in the axis's own measure.
fn ticks(from: f64, to: f64, axis: Axis) -> Vec<f64> {
    if axis == Axis::Log {
        let whole: Vec<f64> = ((from.ceil() as i64)..=(to.floor() as i64))
            .map(|v| v as f64)
            .collect();
        if whole.len() >= 2 {
            return whole;
        }
        // Less than two decades: round values of the figure itself.
        let round = ticks(10f64.powf(from), 10f64.powf(to), Axis::Linear).into_iter();
        return round.filter(|v| *v > 0.0).map(f64::log10).collect();
    }
    let raw = (to - from).max(1e-9) / 6.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        .find(|s| *s >= raw);
    let step = step.unwrap_or(raw);
    let first = (from / step).ceil() as i64;
    (first..)
        .map(|i| i as f64 * step)
        .take_while(|v| *v <= to + step * 1e-6)
        .take(12)
        .collect()
}

/// A number with the digits that tell it from its neighbours a `step` away.
fn stepped(value: f64, step: f64) -> String {
    if !(1e-6..1e5).contains(&step) {
        return short(value);
    }
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// A number in few characters.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&size) {
        let digits = (3 - size.log10().floor() as i32).clamp(0, 5) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').into()
        } else {
            text
        }
    } else {
        format!("{value:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roc_curve_by_hand() {
        let points = roc(&[0.9, 0.8, 0.8, 0.1], &[true, false, true, false]);
        assert_eq!(points, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        let mean = mean_roc(&[points]);
        assert_eq!(mean.last(), Some(&(1.0, 1.0)));
        assert_eq!(mean[0], (0.0, 0.5));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.2, Axis::Linear).len(), 7);
        assert_eq!(
            (stepped(0.99995, 5e-5), stepped(20.0, 20.0)),
            ("0.99995".into(), "20".into())
        );
        assert_eq!(ticks(-3.2, 0.1, Axis::Log), [-3.0, -2.0, -1.0, 0.0]);
        assert_eq!(
            (short(0.25), short(1500.0), short(1e-5)),
            ("0.25".into(), "1500".into(), "1e-5".into())
        );
    }

    #[test]
    fn charts_of_nothing_or_of_one_value_are_drawn() {
        let series = |points| Series {
            name: "a<b".into(),
            colour: 1,
            points,
            marked: true,
        };
        assert!(lines("t", "x", &[series(vec![])], Axis::Log, &[]).contains("no values"));
        let svg = lines(
            "t",
            "x",
            &[series(vec![(1.0, 2.0), (2.0, f64::NAN)])],
            Axis::Linear,
            &[1.0],
        );
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"), "{svg}");
        assert!(!scatter(&[[f32::NAN, 0.0]], &[3], &["x".into()]).contains("NaN"));
    }
}
