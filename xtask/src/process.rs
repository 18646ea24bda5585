//! Running other programs from the repository root, shown or with their output kept.
//! Which programs, and in what order, is the commands' business.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

use crate::command::Failure;
use crate::workspace::Workspace;

/// A program to run: what to call it with, and what to set in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    name: String,
    arguments: Vec<String>,
    environment: Vec<(String, OsString)>,
}

impl Program {
    pub(crate) fn new<'a>(name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new("cargo", arguments)
    }

    pub(crate) fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The command as a person would type it.
    pub(crate) fn line(&self) -> String {
        let mut words: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}", value.display()))
            .collect();
        words.push(self.name.clone());
        words.extend(self.arguments.iter().cloned());
        words.join(" ")
    }

    /// Runs to the end, output going where ours goes.
    pub(crate) fn show(&self, workspace: &Workspace) -> Result<(), Failure> {
        let status = self.command(workspace).status();
        self.judge(status.map_err(|error| self.not_run(&error))?)
    }

    /// Runs to the end without a word; says whether it succeeded.
    pub(crate) fn probe(&self, workspace: &Workspace) -> bool {
        let mut command = self.command(workspace);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Runs to the end and keeps stdout; stderr goes where ours goes.
    pub(crate) fn read(&self, workspace: &Workspace) -> Result<String, Failure> {
        let mut command = self.command(workspace);
        command.stderr(Stdio::inherit());
        let output = command.output().map_err(|error| self.not_run(&error))?;
        self.judge(output.status)?;
        String::from_utf8(output.stdout)
            .map_err(|_| Failure::Failed(format!("`{}` printed no UTF-8", self.line())))
    }

    /// Runs to the end, output going where ours goes, and keeps what was printed on both streams.
    pub(crate) fn tee(&self, workspace: &Workspace) -> Result<String, Failure> {
        let mut command = self.command(workspace);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_run(&error))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let (out, err) = std::thread::scope(|scope| {
            let forward = scope.spawn(|| copy_lines(stderr, std::io::stderr()));
            let out = copy_lines(stdout, std::io::stdout());
            (out, forward.join().unwrap_or_default())
        });
        let status = child.wait().map_err(|error| self.not_run(&error))?;
        self.judge(status)?;
        Ok(out + &err)
    }

    fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).current_dir(workspace.root());
        for name in own_variables(std::env::vars_os().map(|(name, _)| name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn judge(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "`{}` failed: {status}",
            self.line()
        )))
    }

    fn not_run(&self, error: &std::io::Error) -> Failure {
        Failure::Failed(format!("`{}` could not be run: {error}", self.line()))
    }
}

/// What `cargo run` tells this tool about itself. Some build scripts watch these variables, so
/// handing them on would build those crates again at each change between `cargo` and `xtask`.
fn own_variables(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const PREFIXES: [&str; 4] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_CRATE_",
        "CARGO_BIN_",
    ];
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

fn copy_lines(from: Option<impl Read>, mut to: impl Write) -> String {
    let mut kept = String::new();
    let Some(from) = from else { return kept };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        // A reader that went away must not stop the program whose verdict is wanted.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        kept += &String::from_utf8_lossy(&line);
        line.clear();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_what_a_person_would_type() {
        let program = Program::cargo(["doc", "--no-deps"]).with_env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(
            program.line(),
            "RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps"
        );
    }

    #[test]
    fn only_what_cargo_says_about_this_tool_is_withheld() {
        let names = ["CARGO_PKG_NAME", "CARGO_HOME", "CARGO_TARGET_DIR", "PATH"];
        let withheld = own_variables(names.iter().map(OsString::from));
        assert_eq!(withheld, ["CARGO_PKG_NAME"]);
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_status() {
        let workspace = Workspace::locate().unwrap();
        let failure = Program::cargo(["no-such-subcommand"])
            .show(&workspace)
            .unwrap_err()
            .to_string();
        assert!(failure.contains("`cargo no-such-subcommand` failed"));
    }

    #[test]
    fn lines_are_passed_on_and_kept() {
        let mut shown = Vec::new();
        let kept = copy_lines(Some(&b"one\ntwo"[..]), &mut shown);
        assert_eq!(
            (kept.as_str(), shown.as_slice()),
            ("one\ntwo", &b"one\ntwo"[..])
        );
    }
}
