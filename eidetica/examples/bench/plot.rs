//! Owns drawing curves as SVG: the horizontal axis by powers of ten, the vertical one from zero.

use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
/// Around a panel, for what is written there.
const MARGIN: f64 = 50.0;
const COLOURS: [&str; 3] = ["#1f6feb", "#8b949e", "#d29922"];
/// Lines across a panel.
const STEPS: u32 = 4;

/// One diagram.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) series: Vec<Series>,
}

/// One curve.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Panels side by side, over one kind of horizontal axis.
pub(crate) fn svg(axis: &str, panels: &[Panel]) -> String {
    let width = (WIDTH + 2.0 * MARGIN) * panels.len() as f64;
    let height = HEIGHT + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (place, panel) in panels.iter().enumerate() {
        let left = MARGIN + (WIDTH + 2.0 * MARGIN) * place as f64;
        out += &format!("<g transform=\"translate({left} {MARGIN})\">\n");
        out += &draw(axis, panel);
        out += "</g>\n";
    }
    out + "</svg>\n"
}

fn draw(axis: &str, panel: &Panel) -> String {
    let points = || panel.series.iter().flat_map(|series| &series.points);
    let powers = || points().map(|(x, _)| x.log10());
    let (first, last) = (
        powers().fold(f64::MAX, f64::min),
        powers().fold(f64::MIN, f64::max),
    );
    let top = points().map(|(_, y)| *y).fold(f64::MIN, f64::max) * 1.1;
    let x = |x: f64| (x.log10() - first) / (last - first).max(1.0) * WIDTH;
    let y = |y: f64| HEIGHT - y / top * HEIGHT;
    let mut out = text(0.0, -15.0, "start", panel.title);
    let digits = if top < 20.0 { 1 } else { 0 };
    for step in 0..=STEPS {
        let value = top * f64::from(step) / f64::from(STEPS);
        let at = y(value);
        out += &format!("<path d=\"M0 {at:.1}H{WIDTH}\" stroke=\"#d0d7de\"/>\n");
        out += &text(-6.0, at + 4.0, "end", &format!("{value:.digits$}"));
    }
    for power in first.round() as i32..=last.round() as i32 {
        let at = x(10_f64.powi(power));
        out += &text(at, HEIGHT + 18.0, "middle", &format!("10^{power}"));
    }
    out += &text(WIDTH / 2.0, HEIGHT + 38.0, "middle", axis);
    for (n, (series, colour)) in panel.series.iter().zip(COLOURS).enumerate() {
        let mut line = String::new();
        for (px, py) in &series.points {
            // Writing to a string cannot fail.
            let _ = write!(line, "{:.1},{:.1} ", x(*px), y(*py));
        }
        let points = line.trim_end();
        out += &format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
        );
        let from_bottom = 12.0 + 18.0 * n as f64;
        out += &format!("<g fill=\"{colour}\">");
        out += &text(WIDTH - 6.0, HEIGHT - from_bottom, "end", series.name);
        out += "</g>\n";
    }
    out
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}
