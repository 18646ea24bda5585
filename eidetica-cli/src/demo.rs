//! Owns the demo: two devices, one database, from the first write to a kept conflict. What each
//! step does is `steps`'s.

mod steps;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor},
    path::Path,
};

use eidetica::Value;

use self::steps::Demo;
use crate::{
    failure::{Code, Failure},
    form,
    kind::StoreKind,
    output::Output,
    rows::{Keys, Rows},
    stop::stop_signal,
};

/// What is imported unless told otherwise: the history of redb, a row a commit.
const HISTORY: &str = include_str!("../data/redb-history.jsonl");
/// The field that names a row of it.
const HISTORY_KEY: &str = "commit";

/// Runs the demo in temporary folders, which are removed also when it fails or is interrupted.
pub(crate) async fn run(output: &Output, input: Option<&Path>) -> Result<Code, Failure> {
    let stop = stop_signal()?;
    let work = async {
        match input {
            None => {
                let keys = Keys::Field(HISTORY_KEY.to_owned());
                let rows = Rows::new(Cursor::new(HISTORY), keys, StoreKind::Doc);
                show(output, rows, "redb's history").await
            }
            Some(file) => {
                let name = file.display().to_string();
                let rows = open(file).map_err(|e| e.at(&name))?;
                let done = show(output, rows, &name).await;
                done.map_err(|e| e.at(&name))
            }
        }
    };
    tokio::select! {
        done = Box::pin(work) => done,
        () = stop => Err(Failure::new(Code::Failed, "interrupted")),
    }
}

fn open(file: &Path) -> Result<Rows<BufReader<File>>, Failure> {
    let text = || -> Result<_, io::Error> { Ok(BufReader::new(File::open(file)?)) };
    match Rows::new(text()?, Keys::New, StoreKind::Doc).check()? {
        0 => Err(Failure::new(Code::Failed, "there are no rows")),
        _ => Ok(Rows::new(text()?, Keys::New, StoreKind::Doc)),
    }
}

async fn show<R: BufRead>(output: &Output, rows: Rows<R>, name: &str) -> Result<Code, Failure> {
    let demo = Box::pin(Demo::start(output)).await?;
    Box::pin(demo.import(rows, name)).await?;
    demo.grant().await?;
    Box::pin(demo.join()).await?;
    Box::pin(demo.write_offline()).await?;
    Box::pin(demo.sync()).await?;
    let is_equal = demo.compare().await?;
    demo.end().await?;
    match is_equal {
        true => Ok(Code::Done),
        false => Err(Failure::new(Code::Failed, "the two devices differ")),
    }
}

/// Prints a step: what happened, and the facts of it.
fn step<const N: usize>(
    output: &Output,
    name: &str,
    text: &str,
    facts: [(&str, Value); N],
) -> Result<(), Failure> {
    let mut value = Value::from(facts);
    if let Value::Map(map) = &mut value {
        map.insert("step".to_owned(), name.into());
    }
    output.answer(&value, || format!("{name:<8}  {text}"))
}

/// A count with its noun, for the text of a step.
fn entries(n: u64) -> String {
    form::counted(n, "entry", "entries")
}
