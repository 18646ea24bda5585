//! What a developer command is and how it fails.
//! The table of commands is in `main.rs`.

use std::fmt;
use std::process::ExitCode;

use crate::workspace::Workspace;

/// One row of the table of commands.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) help: &'static str,
    pub(crate) run: fn(&Workspace, &[String]) -> Result<(), Failure>,
}

impl Command {
    pub(crate) fn usage(&self) -> String {
        let call = format!("Usage: cargo xtask {} {}", self.name, self.arguments);
        format!("{}\n\n{}", call.trim_end(), self.help)
    }

    /// Refuses arguments, for a command that takes none.
    pub(crate) fn expect_no_arguments(&self, arguments: &[String]) -> Result<(), Failure> {
        match arguments.first() {
            None => Ok(()),
            Some(argument) => Err(self.unknown(argument)),
        }
    }

    pub(crate) fn unknown(&self, argument: &str) -> Failure {
        Failure::Usage(format!("unknown argument `{argument}`\n\n{}", self.usage()))
    }
}

/// Why a command did not succeed, in words for the person who ran it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The call was wrong; nothing was done.
    Usage(String),
    /// A check failed or a program could not be run.
    Failed(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Failed(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Failed(text) => f.write_str(text.trim_end()),
        }
    }
}
