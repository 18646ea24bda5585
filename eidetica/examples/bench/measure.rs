//! Owns what a measurement says and how it is shown. How it is made is each module's.

use serde::Serialize;

use crate::Outcome;

/// One measured value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measure {
    name: String,
    value: f64,
    unit: &'static str,
    /// The same of the raw component, from the same run.
    raw: Option<f64>,
    /// Value to raw.
    ratio: Option<f64>,
    budget: Option<String>,
    /// Whether the budget is kept; also without one.
    ok: bool,
}

impl Measure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            raw: None,
            ratio: None,
            budget: None,
            ok: true,
        }
    }

    /// Sets the raw component's value.
    pub(crate) fn with_raw(mut self, raw: f64) -> Self {
        self.raw = Some(raw);
        self.ratio = Some(self.value / raw);
        self
    }

    pub(crate) fn at_least(self, least: f64) -> Self {
        let ok = self.value >= least;
        self.budgeted(format!("≥ {least}"), ok)
    }

    pub(crate) fn at_most(self, most: f64) -> Self {
        let ok = self.value <= most;
        self.budgeted(format!("≤ {most}"), ok)
    }

    pub(crate) fn ratio_at_least(self, least: f64) -> Self {
        let ok = self.ratio.is_some_and(|ratio| ratio >= least);
        self.budgeted(format!("ratio ≥ {least}"), ok)
    }

    pub(crate) fn ratio_at_most(self, most: f64) -> Self {
        let ok = self.ratio.is_some_and(|ratio| ratio <= most);
        self.budgeted(format!("ratio ≤ {most}"), ok)
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        self.ratio
    }

    fn budgeted(mut self, budget: String, ok: bool) -> Self {
        self.budget = Some(budget);
        self.ok = ok;
        self
    }

    fn cells(&self) -> [String; 7] {
        let or_dash = |n: Option<String>| n.unwrap_or_else(|| "-".to_owned());
        [
            self.name.clone(),
            number(self.value),
            self.unit.to_owned(),
            or_dash(self.raw.map(number)),
            or_dash(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            or_dash(self.budget.clone()),
            match (&self.budget, self.ok) {
                (None, _) => "-",
                (_, true) => "yes",
                (_, false) => "NO",
            }
            .to_owned(),
        ]
    }
}

/// Three significant digits or more.
fn number(n: f64) -> String {
    match n.abs() {
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

/// Prints the measures as a table that is also Markdown.
pub(crate) fn print_table(measures: &[Measure]) {
    let head = ["name", "value", "unit", "raw", "ratio", "budget", "ok"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(measures.iter().map(Measure::cells))
        .collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|i| width(i).unwrap_or_default());
    for (at, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
        if at == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}

/// The measures as a JSON array.
pub(crate) fn to_json(measures: &[Measure]) -> Outcome<String> {
    Ok(serde_json::to_string_pretty(measures)? + "\n")
}
