//! Lets simulated worlds live, as many as asked for.
//! What happens in them, and what must hold, is `eidetica-testkit`'s.

use crate::command::{Command, Failure};
use crate::process::Program;

pub(crate) const COMMAND: Command = Command {
    name: "sim",
    arguments: "[--seeds N] [--seed S]",
    help: "let N simulated worlds (10,000) live, from seed S (0) on; S alone shows that world",
    run: |workspace, arguments| program(Worlds::read(arguments)?).show(workspace),
};

const SEEDS: u64 = 10_000;

/// Which worlds live.
#[derive(Debug, PartialEq, Eq)]
struct Worlds {
    first: u64,
    count: u64,
}

impl Worlds {
    fn read(arguments: &[String]) -> Result<Self, Failure> {
        let (mut first, mut count) = (None, None);
        for pair in arguments.chunks(2) {
            let place = match pair[0].as_str() {
                "--seed" => &mut first,
                "--seeds" => &mut count,
                _ => return Err(COMMAND.unknown(&pair[0])),
            };
            let number = pair.get(1).and_then(|number| number.parse().ok());
            *place = Some(number.ok_or_else(|| COMMAND.unknown(&pair[pair.len() - 1]))?);
        }
        Ok(Self {
            count: count.unwrap_or(if first.is_some() { 1 } else { SEEDS }),
            first: first.unwrap_or(0),
        })
    }
}

fn program(worlds: Worlds) -> Program {
    let test = "sim::devices_come_to_agree_whatever_happens";
    let arguments = format!("test --package eidetica-sync --all-features --test it {test}");
    Program::cargo(arguments.split(' '))
        .with_env("EIDETICA_SIM_FIRST", worlds.first.to_string())
        .with_env("EIDETICA_SIM_SEEDS", worlds.count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Result<Worlds, Failure> {
        let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        Worlds::read(&arguments)
    }

    #[test]
    fn a_seed_alone_is_one_world() {
        let worlds = |first, count| Worlds { first, count };
        assert_eq!(read("").unwrap(), worlds(0, SEEDS));
        assert_eq!(read("--seed 7").unwrap(), worlds(7, 1));
        assert_eq!(read("--seeds 20 --seed 7").unwrap(), worlds(7, 20));
    }

    #[test]
    fn what_is_no_number_is_wrong_usage() {
        for arguments in ["--seeds", "--seed many", "--many 3"] {
            assert!(matches!(read(arguments), Err(Failure::Usage(_))));
        }
    }
}
