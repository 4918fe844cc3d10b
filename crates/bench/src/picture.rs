//! The ratios that have a target, as bars with their spread: an SVG for `ops/benchmarks.md`. Pure.

use std::fmt::Write as _;

use crate::row::{Must, Row, figure};

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
const TOP: f64 = 62.0;
const ROW: f64 = 38.0;
/// The scale is logarithmic: twice as much and half as much are as far from the line at 1.
const LEAST: f64 = 1.0 / 32.0;
const MOST: f64 = 32.0;

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .small { font-size: 10px; fill: #57606a }
  .grid { stroke: #d0d7de }
  .one { stroke: #24292f }
  .met { fill: #1a7f37 }
  .missed { fill: #bc4c00 }
  .spread { stroke: #24292f; stroke-width: 1.5 }
  .target { stroke: #8250df; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .grid { stroke: #30363d } .one, .spread { stroke: #e6edf3 }
    .met { fill: #3fb950 } .missed { fill: #f0883e } .target { stroke: #ab7df8 }
  }
";

/// `measured` says when and where.
pub(crate) fn svg(rows: &[Row], measured: &str) -> String {
    let bars: Vec<Bar> = rows.iter().filter_map(Bar::of).collect();
    let height = TOP + ROW * bars.len() as f64 + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>Each ratio that has a target, with its spread</title>\n<style>{STYLE}</style>\n"
    );
    let mut draw = |element: String| _ = writeln!(svg, "{element}");
    draw(text(
        MARGIN,
        18.0,
        "",
        "Ours / baseline. The violet mark is the target, and the line is the spread of the pairs.",
    ));
    draw(text(MARGIN, 34.0, "small", measured));
    for power in -5..=5 {
        let (x, class) = (place(2_f64.powi(power)), if power == 0 { "one" } else { "grid" });
        draw(line(class, (x, TOP - 6.0), (x, height - MARGIN)));
        draw(text(x - 8.0, TOP - 10.0, "small", &scale(power)));
    }
    for (n, bar) in bars.iter().enumerate() {
        bar.draw(TOP + ROW * n as f64, &mut draw);
    }
    svg + "</svg>\n"
}

struct Bar {
    label: String,
    ratio: f64,
    spread: [f64; 2],
    target: Option<(f64, &'static str)>,
    met: bool,
}

impl Bar {
    /// `None` for a row without a ratio or a target.
    fn of(row: &Row) -> Option<Self> {
        let (ratio, must, met) = (row.ratio?, row.must?, row.met?);
        let target = match must {
            Must::RatioAtLeast(least) => Some((least, "at least")),
            Must::RatioAtMost(most) => Some((most, "at most")),
            Must::OursAtMost(_) | Must::AboveBaselineAtMost(_) => None,
        };
        Some(Self { label: row.label(), ratio, spread: row.spread.unwrap_or([ratio; 2]), target, met })
    }

    fn draw(&self, top: f64, draw: &mut impl FnMut(String)) {
        let target = self.target.map_or_else(String::new, |(target, kind)| format!(", {kind} {target}"));
        draw(text(MARGIN, top + 12.0, "", &format!("{}: {}{target}", self.label, figure(self.ratio))));
        let (from, to) = (place(self.ratio.min(1.0)), place(self.ratio.max(1.0)));
        let (class, width) = (if self.met { "met" } else { "missed" }, (to - from).max(1.0));
        draw(format!(
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"9\"/>",
            top + 18.0
        ));
        let [least, most] = self.spread.map(place);
        draw(line("spread", (least, top + 22.5), (most, top + 22.5)));
        if let Some((target, _)) = self.target {
            draw(line("target", (place(target), top + 15.0), (place(target), top + 30.0)));
        }
    }
}

/// From the left edge, for a ratio. What is beyond the scale is drawn at its end.
fn place(ratio: f64) -> f64 {
    let part = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    MARGIN + part * (WIDTH - 2.0 * MARGIN)
}

fn scale(power: i32) -> String {
    let of = 2_u32.pow(power.unsigned_abs());
    if power < 0 { format!("1/{of}") } else { of.to_string() }
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    )
}

fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Pairs;

    /// Guards the picture's truth: a row with a target has one bar, as long as its ratio, and a missed one looks different.
    #[test]
    fn each_row_with_a_target_has_its_bar() {
        let row = |ours: f64, must: Option<Must>| {
            let mut pairs = Pairs::default();
            [0.9, 1.0, 1.1].into_iter().for_each(|factor| pairs.push(ours * factor, 10.0));
            let row = Row::of_pairs("line", "ms", &pairs).with("beside", "a<b & c");
            must.map_or(row.clone(), |must| row.must(must))
        };
        let rows = [
            row(40.0, Some(Must::RatioAtLeast(2.5))),
            row(5.0, Some(Must::RatioAtLeast(0.8))),
            row(5000.0, Some(Must::RatioAtMost(1.0))),
            row(20.0, None),
            Row::alone("memory", "MB", 50.0).must(Must::OursAtMost(64.0)),
        ];
        let svg = svg(&rows, "today");
        assert_eq!((svg.matches("class=\"met\"").count(), svg.matches("class=\"missed\"").count()), (1, 2));
        assert_eq!(svg.matches("class=\"target\"").count(), 3);
        assert!(svg.contains("line, beside a&lt;b &amp; c: 4.00, at least 2.5"), "{svg}");
        // Four is two of ten doublings to the right of the middle.
        assert_eq!((place(1.0), place(4.0), place(500.0)), (380.0, 524.0, 740.0));
        assert!(svg.contains("x=\"380.0\" y=\"80.0\" width=\"144.0\""), "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}
