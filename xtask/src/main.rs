//! The developer commands of this workspace: one table, and how a command is found in it.
//! What each command does is in the module named after it.
#![allow(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod bench;
mod ci;
mod command;
mod crash;
mod fuzz;
mod golden;
mod layers;
mod problem;
mod process;
mod readme;
mod sim;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::command::{Command, Failure};
use crate::workspace::Workspace;

const COMMANDS: &[Command] = &[
    ci::COMMAND,
    layers::COMMAND,
    tidy::COMMAND,
    golden::COMMAND,
    readme::COMMAND,
    bench::COMMAND,
    crash::COMMAND,
    fuzz::COMMAND,
    sim::COMMAND,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(help()));
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", help());
        return Ok(());
    }
    let command = find(name)?;
    if rest
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{}", command.usage());
        return Ok(());
    }
    (command.run)(&Workspace::locate()?, rest)
}

fn find(name: &str) -> Result<&'static Command, Failure> {
    COMMANDS
        .iter()
        .find(|command| command.name == name)
        .ok_or_else(|| Failure::Usage(format!("unknown command `{name}`\n\n{}", help())))
}

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask <command>\n\nCommands:\n");
    for command in COMMANDS {
        let call = format!("{} {}", command.name, command.arguments);
        text += &format!("  {:<18} {}\n", call.trim_end(), command.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command() {
        for command in COMMANDS {
            assert!(help().contains(command.help), "{}", command.name);
        }
    }

    #[test]
    fn an_unknown_command_is_wrong_usage() {
        let failure = find("no-such-command").unwrap_err();
        assert!(matches!(&failure, Failure::Usage(text) if text.contains("no-such-command")));
    }

    #[test]
    fn no_command_is_wrong_usage() {
        assert!(matches!(dispatch(&[]), Err(Failure::Usage(_))));
    }

    #[test]
    fn an_unknown_argument_is_wrong_usage() {
        for command in COMMANDS {
            let arguments = [command.name.to_owned(), "--no-such-flag".to_owned()];
            let result = dispatch(&arguments);
            assert!(matches!(result, Err(Failure::Usage(_))), "{}", command.name);
        }
    }
}
