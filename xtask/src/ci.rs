//! Everything a change must pass: the steps, their order, and the table of how they went.
//! What each step checks is left to the tool or the module it calls.

use std::time::{Duration, Instant};

use crate::command::{Command, Failure};
use crate::process::Program;
use crate::workspace::{Package, Workspace};
use crate::{layers, readme, tidy};

pub(crate) const COMMAND: Command = Command {
    name: "ci",
    arguments: "",
    help: "run everything a change must pass, stopping at the first failure",
    run: |workspace, arguments| {
        COMMAND.expect_no_arguments(arguments)?;
        run(workspace)
    },
};

/// The seed of the property tests, so that a failure is a change's and not the day's.
const SEED: &str = "20240229";

/// One line of the table.
struct Step {
    name: String,
    work: Work,
}

enum Work {
    Program(Program),
    /// As `Program`, and its output says how many tests were run.
    Tests(Program),
    Command(&'static Command),
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    name: String,
    took: Duration,
    /// What to say beside `ok`, or why it failed.
    result: Result<String, String>,
}

fn run(workspace: &Workspace) -> Result<(), Failure> {
    let packages = workspace.packages()?;
    let has_nextest = Program::cargo(["nextest", "--version"]).probe(workspace);
    let steps = steps(&packages, has_nextest);
    let outcomes = run_steps(&steps, |work| work.run(workspace));
    println!("\n{}", table(&outcomes, steps.len()));
    match outcomes.last() {
        Some(Outcome { name, result, .. }) => match result {
            Ok(_) => Ok(()),
            Err(reason) => Err(Failure::Failed(format!("ci failed at {name}: {reason}"))),
        },
        None => Err(Failure::Failed("ci has no steps".to_owned())),
    }
}

/// The cheap steps first. Nothing before the tests builds machine code of a dependency, and the
/// tests, doc tests and checks with all features share what they build.
fn steps(packages: &[Package], has_nextest: bool) -> Vec<Step> {
    let mut steps = vec![
        program("fmt", "fmt --all --check"),
        command(&layers::COMMAND),
        command(&tidy::COMMAND),
        program(
            "clippy",
            "clippy --workspace --all-targets --all-features -- -D warnings",
        ),
    ];
    for package in packages.iter().filter(|package| package.is_library) {
        steps.extend(feature_steps(package));
    }
    let tests = if has_nextest {
        "nextest run --workspace --all-features --no-fail-fast"
    } else {
        "test --workspace --all-features --lib --bins --tests --examples --no-fail-fast"
    };
    steps.push(Step {
        name: "tests".to_owned(),
        work: Work::Tests(cargo(tests).with_env("PROPTEST_RNG_SEED", SEED)),
    });
    steps.push(Step {
        name: "doc tests".to_owned(),
        work: Work::Tests(cargo("test --doc --workspace --all-features")),
    });
    let rustdoc = cargo("doc --no-deps --workspace --all-features");
    steps.push(Step {
        name: "rustdoc".to_owned(),
        work: Work::Program(rustdoc.with_env("RUSTDOCFLAGS", "-Dwarnings")),
    });
    let fuzz = "check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz";
    steps.push(Step {
        name: "fuzz targets".to_owned(),
        // Nothing is linked, so there is no need to compile the engine, which is C++.
        work: Work::Program(cargo(fuzz).with_env("CUSTOM_LIBFUZZER_PATH", "none/libnone.a")),
    });
    steps.push(command(&readme::COMMAND));
    steps
}

/// A library is built with no features, with the default ones, and with each alone.
fn feature_steps(package: &Package) -> Vec<Step> {
    let name = &package.name;
    let none = format!("check --package {name} --no-default-features");
    let mut steps = vec![program(
        &format!("{name}, no features"),
        &format!("{none} --tests"),
    )];
    if !package.default_features().is_empty() {
        steps.push(program(
            &format!("{name}, default features"),
            &format!("check --package {name} --tests"),
        ));
    }
    for feature in package
        .features
        .keys()
        .filter(|feature| *feature != "default")
    {
        steps.push(program(
            &format!("{name}, only {feature}"),
            &format!("{none} --features {feature}"),
        ));
    }
    steps
}

fn program(name: &str, arguments: &str) -> Step {
    Step {
        name: name.to_owned(),
        work: Work::Program(cargo(arguments)),
    }
}

fn command(command: &'static Command) -> Step {
    Step {
        name: command.name.to_owned(),
        work: Work::Command(command),
    }
}

/// What is kept for the next build costs more than it gives where each thing is built once.
fn cargo(arguments: &str) -> Program {
    Program::cargo(arguments.split(' ')).with_env("CARGO_INCREMENTAL", "0")
}

impl Work {
    fn run(&self, workspace: &Workspace) -> Result<String, Failure> {
        match self {
            Work::Program(program) => program.show(workspace).map(|()| String::new()),
            Work::Tests(program) => program.tee(workspace).map(|output| closing(&output)),
            Work::Command(command) => (command.run)(workspace, &[]).map(|()| String::new()),
        }
    }

    fn line(&self) -> String {
        match self {
            Work::Program(program) | Work::Tests(program) => program.line(),
            Work::Command(command) => format!("cargo xtask {}", command.name),
        }
    }
}

/// Runs the steps in order up to and including the first that fails.
#[allow(
    clippy::disallowed_methods,
    reason = "how long a step takes is shown to people only"
)]
fn run_steps(steps: &[Step], run: impl Fn(&Work) -> Result<String, Failure>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for step in steps {
        println!("\n==> {}: {}", step.name, step.work.line());
        let start = Instant::now();
        let result = run(&step.work).map_err(|failure| failure.to_string());
        let took = start.elapsed();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("<== {}: {verdict}, {}", step.name, seconds(took));
        let has_failed = result.is_err();
        outcomes.push(Outcome {
            name: step.name.clone(),
            took,
            result,
        });
        if has_failed {
            break;
        }
    }
    outcomes
}

/// The line that closes a test run: nextest's own, or the sum of those of `cargo test`.
fn closing(output: &str) -> String {
    let plain = without_colours(output);
    let summary = plain
        .lines()
        .find_map(|line| line.trim().strip_prefix("Summary"));
    if let Some(summary) = summary {
        let counts = summary.split(']').next_back().unwrap_or(summary);
        return counts.trim().to_owned();
    }
    let results = plain
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "));
    let passed: usize = results
        .filter_map(|line| line.split(' ').next()?.parse::<usize>().ok())
        .sum();
    format!("{passed} passed")
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}

fn table(outcomes: &[Outcome], steps: usize) -> String {
    let width = outcomes.iter().map(|outcome| outcome.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for outcome in outcomes {
        let (verdict, note) = match &outcome.result {
            Ok(note) => ("ok", note.as_str()),
            Err(_) => ("FAILED", ""),
        };
        let took = seconds(outcome.took);
        let line = format!("{:<width$}  {verdict:<6}  {took:>8}  {note}", outcome.name);
        text += line.trim_end();
        text.push('\n');
    }
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    let total = seconds(total);
    text += &format!("{} of {steps} steps run in {total}\n", outcomes.len());
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn library(features: &[(&str, &[&str])]) -> Package {
        let features: BTreeMap<String, Vec<String>> = features
            .iter()
            .map(|(name, on)| {
                (
                    (*name).to_owned(),
                    on.iter().map(|&on| on.to_owned()).collect(),
                )
            })
            .collect();
        Package {
            name: "lib".to_owned(),
            is_library: true,
            features,
            ..Package::default()
        }
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn the_steps_come_in_their_order() {
        let binary = Package {
            name: "bin".to_owned(),
            ..Package::default()
        };
        let steps = steps(&[library(&[]), binary], true);
        let expected = [
            "fmt",
            "layers",
            "tidy",
            "clippy",
            "lib, no features",
            "tests",
            "doc tests",
            "rustdoc",
            "fuzz targets",
            "readme",
        ];
        assert_eq!(names(&steps), expected);
    }

    #[test]
    fn each_feature_is_checked_alone_and_an_empty_default_not_twice() {
        let steps = feature_steps(&library(&[("default", &["a"]), ("a", &[]), ("b", &[])]));
        let expected = [
            "lib, no features",
            "lib, default features",
            "lib, only a",
            "lib, only b",
        ];
        assert_eq!(names(&steps), expected);
        let steps = feature_steps(&library(&[("default", &[]), ("a", &[])]));
        assert_eq!(names(&steps), ["lib, no features", "lib, only a"]);
    }

    #[test]
    fn without_nextest_cargo_test_runs_the_tests() {
        let tests = |has_nextest| {
            let steps = steps(&[], has_nextest);
            let tests = steps.iter().find(|step| step.name == "tests");
            tests.unwrap().work.line()
        };
        assert!(tests(true).contains("cargo nextest run --workspace --all-features"));
        assert!(tests(false).contains("cargo test --workspace --all-features --lib"));
    }

    #[test]
    fn the_first_failure_ends_the_run_and_is_in_the_table() {
        let steps = ["a", "b", "c"].map(|name| program(name, name));
        let outcomes = run_steps(&steps, |work| {
            if work.line().ends_with(" b") {
                return Err(Failure::Failed("broken".to_owned()));
            }
            Ok("3 passed".to_owned())
        });
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[1].result, Err("broken".to_owned()));
        let table = table(&outcomes, steps.len());
        assert!(table.contains("b  FAILED") && table.contains("3 passed"));
        assert!(table.contains("2 of 3 steps"));
    }

    #[test]
    fn the_closing_line_of_either_runner_is_kept() {
        let nextest =
            "\u{1b}[32;1m     Summary\u{1b}[0m [   1.2s] \u{1b}[1m7\u{1b}[0m tests run: 7 passed\n";
        assert_eq!(closing(nextest), "7 tests run: 7 passed");
        let cargo = "test result: ok. 2 passed; 0 failed\n\ntest result: ok. 3 passed; 0 failed\n";
        assert_eq!(closing(cargo), "5 passed");
    }
}
