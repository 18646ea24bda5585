//! Measures speed, memory and bytes, next to what redb alone takes for the same rows in the same
//! run: the command line and the list of measurements. Each measurement is in a module of its own.
//!
//! ```text
//! cargo xtask bench [NAME…] [--rows N] [--json FILE]
//! cargo xtask bench history-curve [--rows N]
//! ```
#![allow(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod beside;
mod bootstrap;
mod cold;
mod commits;
mod curve;
mod deltas;
mod entries;
mod group;
mod live;
mod measure;
mod past;
mod peers;
mod plot;
mod process;
mod raw;
mod reads;
mod sizes;
mod sqlite;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode};

use crate::measure::{Measure, print_table, to_json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What can be asked for by name.
const NAMES: [&str; 17] = [
    "bootstrap-quic",
    "bootstrap-http",
    "bootstrap-long",
    "commit",
    "commit-shared",
    "commit-sqlite",
    "second-sync",
    "sync-delta",
    "live-push-quic",
    "live-push-http",
    "idle-peer",
    "point-read",
    "table",
    "at-frontier",
    "cold-open",
    "wire-bytes",
    "disk-bytes",
];
/// What is plotted into the documentation, only by this name.
const CURVE: &str = "history-curve";
/// The least that can be asked for.
const LEAST: u64 = 1_000;
/// Entries of the longest history and rows of the largest view and table, unless told.
const MOST: u64 = 1_000_000;

/// What was asked for.
struct Asked {
    names: Vec<String>,
    /// Entries and rows at most.
    most: u64,
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((role, rest)) if role == process::SERVER => bootstrap::serve(rest).await,
        Some((role, rest)) if role == process::CLIENT => bootstrap::join(rest).await,
        Some((role, rest)) if role == process::HUB => peers::serve(rest).await,
        Some((role, rest)) if role == process::PEERS => peers::join(rest).await,
        Some((role, rest)) if role == process::WRITER => cold::write(rest).await,
        Some((role, rest)) if role == process::TABLE => table::work(rest).await,
        _ => match asked(&arguments) {
            Ok(asked) => run(&asked).await,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn asked(arguments: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        names: Vec::new(),
        most: MOST,
        json: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => {
                let file = arguments.next().ok_or("--json needs a file")?;
                asked.json = Some(file.into());
            }
            "--rows" => {
                let rows = arguments.next().and_then(|rows| rows.parse().ok());
                asked.most = rows
                    .filter(|rows| *rows >= LEAST)
                    .ok_or_else(|| format!("--rows needs a number, {LEAST} at least"))?;
            }
            name if name == CURVE || NAMES.contains(&name) => asked.names.push(name.to_owned()),
            other => {
                let known = NAMES.join(", ");
                return Err(format!(
                    "nothing is measured as `{other}`; there are {known}"
                ));
            }
        }
    }
    if asked.names.is_empty() {
        asked.names = NAMES.map(str::to_owned).to_vec();
    }
    Ok(asked)
}

async fn run(asked: &Asked) -> Outcome<()> {
    let mut measures = Vec::new();
    for name in &asked.names {
        eprintln!("measuring {name}");
        measures.extend(measure(name, asked.most).await?);
    }
    print_table(&measures);
    if let Some(file) = &asked.json {
        std::fs::write(file, to_json(&measures)?)?;
    }
    Ok(())
}

async fn measure(name: &str, most: u64) -> Outcome<Vec<Measure>> {
    match name {
        "bootstrap-quic" => bootstrap::measure_quic().await,
        "bootstrap-http" => bootstrap::measure_http().await,
        "bootstrap-long" => bootstrap::measure_long(most).await,
        "commit" => commits::measure(most).await,
        "commit-shared" => group::measure().await,
        "commit-sqlite" => beside::measure().await,
        CURVE => curve::measure(most).await,
        "second-sync" => deltas::measure_second().await,
        "live-push-quic" => live::measure("quic").await,
        "live-push-http" => live::measure("http").await,
        "idle-peer" => peers::measure().await,
        "sync-delta" => deltas::measure_delta().await,
        "point-read" => reads::measure(most).await,
        "table" => table::measure(most).await,
        "at-frontier" => past::measure(most).await,
        "cold-open" => cold::measure(most).await,
        "wire-bytes" => sizes::measure_wire().await,
        _ => sizes::measure_disk().await,
    }
}
