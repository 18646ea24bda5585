//! Runs the tests that compare golden bytes, or has them write the bytes anew.
//! What is golden, and where it is kept, is each crate's own business.

use crate::command::{Command, Failure};
use crate::process::Program;
use crate::workspace::Workspace;

pub(crate) const COMMAND: Command = Command {
    name: "golden",
    arguments: "[--bless]",
    help: "run the tests named `golden`; --bless rewrites what they compare with",
    run: |workspace, arguments| match arguments {
        [] => run(workspace, &tests()),
        [flag] if flag == "--bless" => bless(workspace),
        [flag, argument, ..] if flag == "--bless" => Err(COMMAND.unknown(argument)),
        [argument, ..] => Err(COMMAND.unknown(argument)),
    },
};

/// Without this crate, whose tests of this module are named after it.
fn tests() -> Program {
    let arguments = "test --workspace --exclude xtask --all-features --lib --bins --tests golden";
    Program::cargo(arguments.split(' '))
}

fn bless(workspace: &Workspace) -> Result<(), Failure> {
    run(workspace, &tests().with_env("EIDETICA_BLESS", "1"))?;
    println!("golden: rewritten; a changed byte is a changed format, so read `git diff`");
    Ok(())
}

fn run(workspace: &Workspace, program: &Program) -> Result<(), Failure> {
    let output = program.tee(workspace)?;
    match tests_run(&output) {
        0 => Err(Failure::Failed(
            "no test has `golden` in its name".to_owned(),
        )),
        count => {
            println!("golden: {count} tests");
            Ok(())
        }
    }
}

/// How many tests the output of `cargo test` says have been run.
fn tests_run(output: &str) -> usize {
    let words: Vec<&str> = output.lines().flat_map(str::split_whitespace).collect();
    words
        .windows(3)
        .filter(|window| window[0] == "running" && window[2].starts_with("test"))
        .filter_map(|window| window[1].parse::<usize>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_all_binaries_are_counted() {
        let output = "running 2 tests\ntest a ... ok\n\nrunning 0 tests\n\nrunning 1 test\n";
        assert_eq!(tests_run(output), 3);
        assert_eq!(tests_run("Finished\n"), 0);
    }
}
