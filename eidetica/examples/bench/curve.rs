//! Measures what a commit and a read cost as history grows while what is live does not, and puts
//! the result into the documentation: as a table in `docs/performance.md` and a plot beside it.

use std::{fs, path::Path};

use tokio::time::Instant;

use crate::{
    Outcome, commits,
    entries::{STORE, note, open},
    measure::Measure,
    plot::{Panel, Series, svg},
};

/// Values that are live, whatever the length of history.
const PLACES: u64 = 100;
/// Reads that are timed.
const READS: u64 = 20_000;
/// The greatest cost at one length to that at another.
const SPREAD: f64 = 1.3;
/// Between these lines of the document stand the table and the plot.
const BEGIN: &str = "<!-- history-curve: begin -->\n";
const IMAGE: &str =
    "![cost of a commit and of a read against entries of history](history-curve.svg)\n";
const END: &str = "<!-- history-curve: end -->\n";

/// Microseconds at one length of history.
struct Point {
    length: u64,
    commit: f64,
    raw: f64,
    read: f64,
}

pub(crate) async fn measure(most: u64) -> Outcome<Vec<Measure>> {
    let mut points = Vec::new();
    for length in commits::LENGTHS
        .into_iter()
        .filter(|length| *length <= most)
    {
        eprintln!("history of {length}");
        points.push(point(length).await?);
    }
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    fs::write(docs.join("history-curve.svg"), plot(&points))?;
    let document = docs.join("performance.md");
    let text = fs::read_to_string(&document)?;
    fs::write(document, with_table(&text, &table(&points))?)?;

    let spread = |of: fn(&Point) -> f64| {
        let values = points.iter().map(of);
        let greatest = values.clone().fold(f64::MIN, f64::max);
        greatest / values.fold(f64::MAX, f64::min)
    };
    Ok(vec![
        Measure::new(
            "history-commit-spread",
            spread(|p| p.commit / p.raw),
            "of ratios",
        )
        .at_most(SPREAD),
        Measure::new("history-read-spread", spread(|p| p.read), "of times").at_most(SPREAD),
    ])
}

async fn point(length: u64) -> Outcome<Point> {
    let folder = tempfile::tempdir()?;
    let id = commits::prepare(folder.path(), length, PLACES).await?;
    let took = commits::commit(folder.path(), id).await?;
    let instance = open(&folder.path().join(commits::OURS)).await?;
    let notes = instance.database(id).await?.doc(STORE)?;
    let began = Instant::now();
    for n in 0..READS {
        let value = notes.get(note(n % PLACES).as_str()).await?;
        value.ok_or("the value is there")?;
    }
    Ok(Point {
        length,
        commit: took.micros(),
        raw: took.raw_micros(),
        read: began.elapsed().as_secs_f64() * 1e6 / READS as f64,
    })
}

fn plot(points: &[Point]) -> String {
    let line = |name, of: fn(&Point) -> f64| Series {
        name,
        points: points.iter().map(|p| (p.length as f64, of(p))).collect(),
    };
    svg(
        "entries of history",
        &[
            Panel {
                title: "durable commit, µs",
                series: vec![
                    line("Eidetica", |p| p.commit),
                    line("redb, the same rows", |p| p.raw),
                ],
            },
            Panel {
                title: "read of a value, µs",
                series: vec![line("Eidetica", |p| p.read)],
            },
        ],
    )
}

fn table(points: &[Point]) -> String {
    let mut text = "| entries | commit, µs | redb, µs | ratio of rates | read, µs |\n".to_owned();
    text += "|---|---|---|---|---|\n";
    for p in points {
        let ratio = p.raw / p.commit;
        text += &format!(
            "| {} | {:.0} | {:.0} | {ratio:.2} | {:.2} |\n",
            p.length, p.commit, p.raw, p.read
        );
    }
    text
}

/// The document with another table.
fn with_table(document: &str, table: &str) -> Outcome<String> {
    let missing = "docs/performance.md has no place for the curve";
    let (before, rest) = document.split_once(BEGIN).ok_or(missing)?;
    let (_, after) = rest.split_once(END).ok_or(missing)?;
    Ok([before, BEGIN, "\n", table, "\n", IMAGE, "\n", END, after].concat())
}
