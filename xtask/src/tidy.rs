//! The rules for files that no other tool checks, and the walk over the files they apply to.
//! Each rule is in a module below; layers are checked by `layers`.

mod packages;
mod rust;
mod source;
mod text;

use crate::command::{Command, Failure};
use crate::problem::{Problem, conclude};
use crate::workspace::Workspace;

pub(crate) const COMMAND: Command = Command {
    name: "tidy",
    arguments: "",
    help: "check the rules for files that no other tool checks",
    run: |workspace, arguments| {
        COMMAND.expect_no_arguments(arguments)?;
        run(workspace)
    },
};

fn run(workspace: &Workspace) -> Result<(), Failure> {
    let files = workspace.files()?;
    let mut problems = Vec::new();
    for path in &files {
        problems.extend(check_file(workspace, path)?);
    }
    for package in workspace.packages()? {
        problems.extend(packages::check(&package, &files));
    }
    match workspace.read("CHANGELOG.md") {
        Ok(changelog) => problems.extend(packages::check_changelog(&changelog)),
        Err(failure) => problems.push(Problem::new("CHANGELOG.md", failure.to_string())),
    }
    conclude("tidy", &problems)?;
    println!("tidy: {} files in order", files.len());
    Ok(())
}

fn check_file(workspace: &Workspace, path: &str) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    if !text::is_written_by_hand(path) {
        return Ok(problems);
    }
    let content = workspace.read(path)?;
    problems.extend(text::check(path, &content));
    if path.ends_with(".rs") {
        problems.extend(rust::check(path, &content));
    }
    Ok(problems)
}
