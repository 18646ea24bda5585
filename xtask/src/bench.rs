//! Runs the measurements, in release.
//! What is measured, and against what, is the example `bench` of the crate `eidetica`.

use std::path::Path;

use crate::command::{Command, Failure};
use crate::process::Program;

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    arguments: "[NAME…] [--rows N] [--json FILE]",
    help: "measure speed, memory and bytes next to redb and SQLite; without a NAME everything, \
           and `history-curve` redraws the plot in docs",
    run: |workspace, arguments| program(arguments)?.show(workspace),
};

fn program(arguments: &[String]) -> Result<Program, Failure> {
    let mut call = vec![
        "run",
        "--release",
        "--package",
        "eidetica",
        "--example",
        "bench",
        "--",
    ];
    let mut file = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => {
                let path = rest.next().ok_or_else(|| COMMAND.unknown(argument))?;
                file = Some(absolute(path)?);
            }
            "--rows" => {
                let rows = rest.next().ok_or_else(|| COMMAND.unknown(argument))?;
                call.extend(["--rows", rows]);
            }
            flag if flag.starts_with('-') => return Err(COMMAND.unknown(argument)),
            name => call.push(name),
        }
    }
    if let Some(file) = &file {
        call.extend(["--json", file]);
    }
    Ok(Program::cargo(call))
}

/// A path as the caller means it; the program runs elsewhere.
fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(Path::new(path));
    let text = absolute
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok());
    text.ok_or_else(|| Failure::Usage(format!("`{path}` is no path of a file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> Result<String, Failure> {
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        program(&arguments).map(|program| program.line())
    }

    #[test]
    fn names_and_the_file_are_handed_on() {
        let line = line(&["--json", "/tmp/a.json", "commit"]).unwrap();
        assert!(
            line.ends_with("--example bench -- commit --json /tmp/a.json"),
            "{line}"
        );
    }

    #[test]
    fn rows_are_handed_on() {
        let line = line(&["table", "--rows", "1000"]).unwrap();
        assert!(line.ends_with("-- table --rows 1000"), "{line}");
    }

    #[test]
    fn json_without_a_file_is_wrong_usage() {
        assert!(matches!(line(&["--json"]), Err(Failure::Usage(_))));
    }
}
