//! Runs the commands of README.md as a reader would type them.
//! Which blocks to run is marked there by `<!-- run -->` above them.

use std::path::{Path, PathBuf};

use crate::command::{Command, Failure};
use crate::process::Program;
use crate::workspace::Workspace;

pub(crate) const COMMAND: Command = Command {
    name: "readme",
    arguments: "",
    help: "run the README's commands as written",
    run: |workspace, arguments| {
        COMMAND.expect_no_arguments(arguments)?;
        run(workspace)
    },
};

const MARKER: &str = "<!-- run -->";
/// Not run from here: it is what runs this command.
const NOT_RUN: &str = "cargo xtask ci";

pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let scripts = scripts(&workspace.read("README.md")?)?;
    let scratch = Scratch::create()?;
    let before = workspace.files()?;
    for script in &scripts {
        println!("README.md:{}", script.line);
        scratch.script(&script.text).show(workspace).map_err(|_| {
            let (line, text) = (script.line, &script.text);
            Failure::Failed(format!("README.md:{line}: the commands fail:\n{text}"))
        })?;
    }
    let mut left = workspace.files()?;
    left.retain(|path| !before.contains(path));
    match left.first() {
        None => Ok(()),
        Some(path) => Err(Failure::Failed(format!(
            "README.md: the commands leave {path} in the repository; put it in a temporary folder"
        ))),
    }
}

/// The commands of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Script {
    line: usize,
    text: String,
}

/// Takes the marked blocks out of a README, without the lines that are not run.
fn scripts(readme: &str) -> Result<Vec<Script>, Failure> {
    let mut lines = readme.lines().zip(1..);
    let mut scripts = Vec::new();
    let mut is_marked = false;
    while let Some((line, number)) = lines.next() {
        let is_block = line.trim_end() == "```sh";
        if is_marked && !line.trim().is_empty() && !is_block {
            let message =
                format!("README.md:{number}: `{MARKER}` is not followed by a ```sh block");
            return Err(Failure::Failed(message));
        }
        if is_block {
            let block = lines.by_ref().map(|(line, _)| line);
            let commands: Vec<&str> = block.take_while(|line| !line.starts_with("```")).collect();
            if is_marked {
                scripts.extend(script(number, &commands));
            }
            is_marked = false;
        } else {
            is_marked |= line.trim() == MARKER;
        }
    }
    if scripts.is_empty() {
        let message = format!("README.md: no ```sh block below `{MARKER}` holds a command to run");
        return Err(Failure::Failed(message));
    }
    Ok(scripts)
}

fn script(line: usize, commands: &[&str]) -> Option<Script> {
    let run: Vec<&str> = commands
        .iter()
        .copied()
        .filter(|command| uncommented(command) != NOT_RUN)
        .collect();
    let is_empty = run.iter().all(|command| uncommented(command).is_empty());
    (!is_empty).then(|| Script {
        line,
        text: run.join("\n"),
    })
}

fn uncommented(command: &str) -> &str {
    if command.trim_start().starts_with('#') {
        return "";
    }
    command.split(" #").next().unwrap_or_default().trim()
}

/// A folder for what the commands write, removed at the end.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn create() -> Result<Self, Failure> {
        let name = format!("eidetica-readme-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Failure::Failed(format!("no folder for the README: {error}")))?;
        Ok(Self { folder })
    }

    /// A shell that stops at the first failure, shows each command, and takes this folder for
    /// everything that would else go to the user's.
    fn script(&self, text: &str) -> Program {
        const FOLDERS: [&str; 5] = [
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
        ];
        let shell = Program::new("bash", ["-euxo", "pipefail", "-c", text]);
        FOLDERS
            .iter()
            .fold(shell, |shell, name| shell.with_env(name, self.path()))
    }

    fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that stays is no reason to fail what has been run.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_taken_as_written() {
        let readme = "# Here\n\n```sh\nnot this\n```\n\n<!-- run -->\n```sh\ncargo run\n\
                      cargo xtask ci   # tests\n```\n\n<!-- run -->\n\n```sh\nls  # all\n```\n";
        let expected = [
            Script {
                line: 8,
                text: "cargo run".to_owned(),
            },
            Script {
                line: 15,
                text: "ls  # all".to_owned(),
            },
        ];
        assert_eq!(scripts(readme).unwrap(), expected);
    }

    #[test]
    fn a_marker_without_a_block_is_refused() {
        let readme = "<!-- run -->\n\nSome prose.\n";
        assert!(
            scripts(readme)
                .unwrap_err()
                .to_string()
                .contains("README.md:3")
        );
    }

    #[test]
    fn a_readme_without_commands_is_refused() {
        assert!(scripts("```sh\nls\n```\n").is_err());
        assert!(scripts("<!-- run -->\n```sh\ncargo xtask ci\n```\n").is_err());
    }

    #[test]
    fn a_script_stops_at_its_first_failure() {
        let workspace = Workspace::locate().unwrap();
        let scratch = Scratch::create().unwrap();
        let marker = scratch.path().join("reached");
        let text = format!("false\ntouch {}", marker.display());
        assert!(scratch.script(&text).show(&workspace).is_err());
        assert!(!marker.exists());
    }
}
