//! Measures speed, memory and bytes, next to what redb alone takes for the same rows in the same
//! run: the command line and the list of measurements. Each measurement is in a module of its own.
//!
//! ```text
//! cargo xtask bench [NAME…] [--json FILE]
//! ```
#![allow(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod bootstrap;
mod commits;
mod deltas;
mod entries;
mod measure;
mod process;
mod raw;
mod reads;
mod sizes;

use std::{error::Error, path::PathBuf, process::ExitCode};

use crate::measure::{Measure, print_table, to_json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What can be asked for by name.
const NAMES: [&str; 8] = [
    "bootstrap-quic",
    "bootstrap-http",
    "commit",
    "second-sync",
    "sync-delta",
    "point-read",
    "wire-bytes",
    "disk-bytes",
];

/// What was asked for.
struct Asked {
    names: Vec<String>,
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((role, rest)) if role == process::SERVER => bootstrap::serve(rest).await,
        Some((role, rest)) if role == process::CLIENT => bootstrap::join(rest).await,
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
        json: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => {
                let file = arguments.next().ok_or("--json needs a file")?;
                asked.json = Some(file.into());
            }
            name if NAMES.contains(&name) => asked.names.push(name.to_owned()),
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
        measures.extend(measure(name).await?);
    }
    print_table(&measures);
    if let Some(file) = &asked.json {
        std::fs::write(file, to_json(&measures)?)?;
    }
    Ok(())
}

async fn measure(name: &str) -> Outcome<Vec<Measure>> {
    match name {
        "bootstrap-quic" => bootstrap::measure("quic").await,
        "bootstrap-http" => bootstrap::measure("http").await,
        "commit" => commits::measure().await,
        "second-sync" => deltas::measure_second().await,
        "sync-delta" => deltas::measure_delta().await,
        "point-read" => reads::measure().await,
        "wire-bytes" => sizes::measure_wire().await,
        _ => sizes::measure_disk().await,
    }
}
