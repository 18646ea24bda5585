//! Kills processes that write, or that move entries to each other, as often as asked for.
//! What is written or moved, and what must be left of it, is the tests' of `eidetica-store` and
//! `eidetica-cli`.

use crate::command::{Command, Failure};
use crate::process::Program;

pub(crate) const COMMAND: Command = Command {
    name: "crash",
    arguments: "[--kills N | --transfer N]",
    help: "kill processes N times (2,000) that write, or that transfer, and check what they left",
    run: |workspace, arguments| program(&asked(arguments)?).show(workspace),
};

const KILLS: u64 = 2_000;
/// Tests among which the kills are shared.
const TESTS: u64 = 2;

/// What is killed, and how often.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Writing(u64),
    Transferring(u64),
}

fn asked(arguments: &[String]) -> Result<Asked, Failure> {
    let number = |text: &String| text.parse().map_err(|_| COMMAND.unknown(text));
    match arguments {
        [] => Ok(Asked::Writing(KILLS)),
        [flag, kills] if flag == "--kills" => number(kills).map(Asked::Writing),
        [flag, kills] if flag == "--transfer" => number(kills).map(Asked::Transferring),
        [argument, ..] => Err(COMMAND.unknown(argument)),
    }
}

fn program(asked: &Asked) -> Program {
    let (arguments, variable, kills) = match asked {
        Asked::Writing(kills) => (
            "test --package eidetica-store --all-features --test it crash::",
            "EIDETICA_CRASH_KILLS",
            kills.div_ceil(TESTS),
        ),
        Asked::Transferring(kills) => (
            "test --package eidetica-cli --test it transfer_kills::",
            "EIDETICA_TRANSFER_KILLS",
            *kills,
        ),
    };
    Program::cargo(arguments.split(' ')).with_env(variable, kills.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: [&str; 2]) -> Result<Asked, Failure> {
        asked(&arguments.map(str::to_owned))
    }

    #[test]
    fn the_kills_are_shared_by_the_tests() {
        let line = program(&of(["--kills", "301"]).unwrap()).line();
        assert!(line.starts_with("EIDETICA_CRASH_KILLS=151 "), "{line}");
    }

    #[test]
    fn kills_during_transfers_are_those_of_the_command_line() {
        let line = program(&of(["--transfer", "100"]).unwrap()).line();
        assert!(line.starts_with("EIDETICA_TRANSFER_KILLS=100 "), "{line}");
        assert!(line.ends_with(" transfer_kills::"), "{line}");
    }

    #[test]
    fn kills_that_are_no_number_are_wrong_usage() {
        for flag in ["--kills", "--transfer"] {
            assert!(matches!(of([flag, "many"]), Err(Failure::Usage(_))));
        }
    }
}
