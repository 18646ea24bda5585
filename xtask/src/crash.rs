//! Kills processes that write, as often as asked for.
//! What is written, and what must be left of it, is the tests' of `eidetica-store`.

use crate::command::{Command, Failure};
use crate::process::Program;

pub(crate) const COMMAND: Command = Command {
    name: "crash",
    arguments: "[--kills N]",
    help: "kill writing processes N times (2,000) and check what each of them left",
    run: |workspace, arguments| program(kills(arguments)?).show(workspace),
};

const KILLS: u64 = 2_000;
/// Tests among which the kills are shared.
const TESTS: u64 = 2;

fn kills(arguments: &[String]) -> Result<u64, Failure> {
    match arguments {
        [] => Ok(KILLS),
        [flag, number] if flag == "--kills" => number.parse().map_err(|_| COMMAND.unknown(number)),
        [argument, ..] => Err(COMMAND.unknown(argument)),
    }
}

fn program(kills: u64) -> Program {
    let arguments = "test --package eidetica-store --all-features --test it crash::";
    let each = kills.div_ceil(TESTS).to_string();
    Program::cargo(arguments.split(' ')).with_env("EIDETICA_CRASH_KILLS", each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_are_shared_by_the_tests() {
        let arguments = ["--kills".to_owned(), "301".to_owned()];
        let line = program(kills(&arguments).unwrap()).line();
        assert!(line.starts_with("EIDETICA_CRASH_KILLS=151 "), "{line}");
    }

    #[test]
    fn kills_that_are_no_number_are_wrong_usage() {
        let arguments = ["--kills".to_owned(), "many".to_owned()];
        assert!(matches!(kills(&arguments), Err(Failure::Usage(_))));
    }
}
