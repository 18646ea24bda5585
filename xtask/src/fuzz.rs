//! Runs the fuzz targets on more inputs than CI tries. What they are is `eidetica-testkit`'s.

use crate::command::{Command, Failure};
use crate::process::Program;

pub(crate) const COMMAND: Command = Command {
    name: "fuzz",
    arguments: "[--runs N]",
    help: "try N inputs (1,000,000) on each fuzz target, the same ones each time",
    run: |workspace, arguments| program(runs(arguments)?).show(workspace),
};

const RUNS: u64 = 1_000_000;

fn runs(arguments: &[String]) -> Result<u64, Failure> {
    match arguments {
        [] => Ok(RUNS),
        [flag, number] if flag == "--runs" => number.parse().map_err(|_| COMMAND.unknown(number)),
        [argument, ..] => Err(COMMAND.unknown(argument)),
    }
}

fn program(runs: u64) -> Program {
    let arguments = "test --workspace --all-features --test it fuzz::";
    Program::cargo(arguments.split(' ')).with_env("EIDETICA_FUZZ_RUNS", runs.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_handed_on() {
        let arguments = ["--runs".to_owned(), "300".to_owned()];
        let line = program(runs(&arguments).unwrap()).line();
        assert!(line.starts_with("EIDETICA_FUZZ_RUNS=300 "), "{line}");
        let arguments = ["--runs".to_owned(), "many".to_owned()];
        assert!(matches!(runs(&arguments), Err(Failure::Usage(_))));
    }
}
