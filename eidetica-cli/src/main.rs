//! Owns the start and the end of the program: reading the command line, the runtime, the exit
//! code. What commands do is theirs.

mod args;
mod commands;
mod demo;
mod failure;
mod form;
mod home;
mod import;
mod kind;
mod measure;
mod output;
mod place;
mod progress;
mod rows;
mod run;
mod serve;
mod stop;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::Args,
    failure::{Code, Failure},
};

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(Box::pin(run::run(args)));
            // Nothing that is still at work holds anything that is not durable.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::from(error)),
    };
    done.unwrap_or_else(|failure| {
        if !failure.is_silent() {
            eprintln!("eidetica: {failure}");
        }
        failure.code()
    })
    .into()
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}
