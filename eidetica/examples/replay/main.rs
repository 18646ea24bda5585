//! Replays the history of a real project: every commit becomes an entry of its author with the
//! commit's parents, and two further devices get them over QUIC and HTTP. What is done and
//! checked is in `devices`.
//!
//! ```text
//! cargo run --release -p eidetica --example replay -- eidetica/tests/data/history/automerge.jsonl.gz
//! ```
#![allow(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod devices;
mod history;

use std::path::Path;

use crate::{
    devices::{Outcome, replay},
    history::History,
};

#[tokio::main]
async fn main() -> Outcome<()> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        return Err(
            "name a file to replay, such as eidetica/tests/data/history/redb.jsonl.gz".into(),
        );
    }
    for file in files {
        let history = History::read(Path::new(&file))?;
        let folder = tempfile::tempdir()?;
        let done = replay(&history, folder.path()).await?;
        println!("{}", file.display());
        println!(
            "  wrote     {} entries of {} authors, {} of them merges, in {:.1?}",
            done.commits, done.authors, done.merges, done.writing
        );
        for (how, got) in [("QUIC", &done.over_quic), ("HTTP", &done.over_http)] {
            println!(
                "  got       {} entries over {how} in {} bytes and {:.1?}",
                got.received, got.bytes_in, got.elapsed
            );
        }
        println!(
            "  compared  three final trees and {} past ones in {:.1?}: all equal the file's",
            done.checked, done.checking
        );
    }
    Ok(())
}
