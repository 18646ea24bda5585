//! The rules for Rust files: front line, names, lengths, imports, and what tests must not do.
//! What clippy and rustfmt know is left to them.

use crate::problem::Problem;
use crate::tidy::source::{Import, Source, line_number, words};

/// Lines of a file before its tests. Past this a file owns more than one subject.
const MAX_FILE_LINES: usize = 800;
/// Lines of a function. Past this nobody reads it as one thing.
const MAX_FUNCTION_LINES: usize = 100;

/// File names that say nothing about what the file owns.
const VAGUE_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// Macros that stand for work not done. Split, as this file is checked too.
const UNFINISHED: [&str; 3] = [
    concat!("to", "do!"),
    concat!("un", "implemented!"),
    concat!("d", "bg!"),
];

/// Crates whose code takes time, chance and IO from its callers.
const PURE: [&str; 2] = ["eidetica-core/src/", "eidetica-crdt/src/"];
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant",
    "async fn",
];

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let source = Source::parse(path, text);
    let mut problems = Vec::new();
    problems.extend(check_name(path));
    problems.extend(check_front(path, &source));
    problems.extend(check_lengths(path, &source));
    problems.extend(check_unfinished(path, &source));
    problems.extend(check_ignored(path, &source));
    problems.extend(check_sleeps(path, &source));
    problems.extend(check_purity(path, &source));
    let imports = source.imports();
    problems.extend(check_globs(path, &source, &imports));
    problems.extend(check_blocks(path, &source, &imports));
    problems
}

fn check_name(path: &str) -> Option<Problem> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "mod.rs" {
        return Some(Problem::new(
            path,
            "is a `mod.rs`; put `foo.rs` beside `foo/`",
        ));
    }
    let is_vague = VAGUE_NAMES.iter().any(|vague| {
        path.split('/')
            .any(|part| part.trim_end_matches(".rs") == *vague)
    });
    is_vague.then(|| Problem::new(path, "has a name that fits anything; split it by subject"))
}

fn check_front(path: &str, source: &Source<'_>) -> Option<Problem> {
    let front = source.text.lines().next().unwrap_or_default();
    let says_something = front
        .strip_prefix("//!")
        .is_some_and(|rest| !rest.trim().is_empty());
    let shows_readme = front.starts_with("#![doc = include_str!");
    (!says_something && !shows_readme)
        .then(|| Problem::at(path, 1, "does not open with `//!` and what the file owns"))
}

fn check_lengths(path: &str, source: &Source<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = source.lines_before_tests();
    if lines > MAX_FILE_LINES {
        let message =
            format!("has {lines} lines before its tests, of {MAX_FILE_LINES}; split it by subject");
        problems.push(Problem::new(path, message));
    }
    for function in source.functions() {
        if function.lines > MAX_FUNCTION_LINES {
            let message = format!(
                "`{}` has {} lines, of {MAX_FUNCTION_LINES}; split it by purpose",
                function.name, function.lines
            );
            problems.push(Problem::at(path, function.line, message));
        }
    }
    problems
}

fn check_unfinished(path: &str, source: &Source<'_>) -> Vec<Problem> {
    UNFINISHED
        .iter()
        .flat_map(|name| {
            words(&source.code, name.trim_end_matches('!'))
                .filter(|&at| source.code[at..].starts_with(name))
                .map(|at| {
                    let message = format!("calls `{name}`; finish it or leave it out");
                    Problem::at(path, line_number(&source.code, at), message)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn check_ignored(path: &str, source: &Source<'_>) -> Vec<Problem> {
    let attributes = source.code.match_indices("#[ignore");
    let mut problems: Vec<Problem> = attributes
        .map(|(at, _)| line_number(&source.code, at))
        .map(|line| Problem::at(path, line, "ignores a test; mend it or remove it"))
        .collect();
    for (index, line) in source.text.lines().enumerate() {
        let comment = line.trim_start();
        let is_doc = comment.starts_with("///") || comment.starts_with("//!");
        let fence = comment.trim_start_matches(['/', '!', ' ']);
        if is_doc
            && fence
                .strip_prefix("```")
                .is_some_and(|kind| kind.contains("ignore"))
        {
            let message = "ignores a doc test; make it run, or `no_run` if it needs a network";
            problems.push(Problem::at(path, index + 1, message));
        }
    }
    problems
}

/// A method `.sleep(…)` is a timer's, which tests drive by hand.
fn check_sleeps(path: &str, source: &Source<'_>) -> Vec<Problem> {
    ["sleep", "sleep_until"]
        .iter()
        .flat_map(|name| words(&source.code, name))
        .filter(|&at| {
            let before = source.code[..at].trim_end();
            let after = source.code[at..]
                .trim_start_matches(|c: char| c != '(' && (c == '_' || c.is_alphanumeric()));
            after.starts_with('(') && !before.ends_with('.') && !before.ends_with("fn")
        })
        .map(|at| line_number(&source.code, at))
        .filter(|&line| source.is_test(line))
        .map(|line| {
            let message = "sleeps in a test; use virtual time, or wait for a state with a deadline";
            Problem::at(path, line, message)
        })
        .collect()
}

fn check_purity(path: &str, source: &Source<'_>) -> Vec<Problem> {
    if !PURE.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    IMPURE
        .iter()
        .flat_map(|name| words(&source.code, name).map(move |at| (name, at)))
        .map(|(name, at)| (name, line_number(&source.code, at)))
        .filter(|&(_, line)| !source.is_test(line))
        .map(|(name, line)| {
            let message =
                format!("uses `{name}` in a pure crate; take what it gives as an argument");
            Problem::at(path, line, message)
        })
        .collect()
}

fn check_globs(path: &str, source: &Source<'_>, imports: &[Import]) -> Vec<Problem> {
    imports
        .iter()
        .filter(|import| import.path.contains('*'))
        .filter(|import| !is_proptest_prelude(&import.path))
        .filter(|import| !(is_from_parent(&import.path) && source.is_test(import.line)))
        .map(|import| Problem::at(path, import.line, "imports a glob; name what is used"))
        .collect()
}

/// Whether the only glob is the prelude that proptest's macros are written for.
fn is_proptest_prelude(path: &str) -> bool {
    let rest = path.strip_prefix("proptest::").unwrap_or_default();
    rest.contains("prelude::*") && rest.matches('*').count() == 1
}

/// Whether all that a glob takes is the module around the tests.
fn is_from_parent(path: &str) -> bool {
    let names_more = path.strip_prefix("super::{");
    path == "super::*" || names_more.is_some_and(|rest| !rest.contains("::*"))
}

/// Imports stand in three blocks: std, external, this crate.
fn check_blocks(path: &str, source: &Source<'_>, imports: &[Import]) -> Vec<Problem> {
    let private: Vec<&Import> = imports
        .iter()
        .filter(|import| import.is_top_level_private)
        .collect();
    let mut problems = Vec::new();
    for pair in private.windows(2) {
        let (first, second) = (pair[0], pair[1]);
        let (before, after) = (block(&first.path), block(&second.path));
        let mut between = source
            .text
            .lines()
            .skip(first.last_line)
            .take(second.line - first.last_line - 1);
        let has_gap = between.any(|line| line.trim().is_empty());
        if after < before || (after > before && !has_gap) {
            let message = "is out of its block; import in three: std, external, this crate";
            problems.push(Problem::at(path, second.line, message));
        }
    }
    problems
}

fn block(path: &str) -> u8 {
    let first = path.trim_start_matches("::").split([':', ';']).next();
    match first.unwrap_or_default() {
        "std" | "alloc" | "core" => 0,
        "crate" | "self" | "super" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(path: &str, body: &str) -> String {
        let problems = check(path, &format!("//! Owns an example.\n{body}"));
        problems
            .iter()
            .map(Problem::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_tidy_file_passes() {
        let body = "\nuse std::fmt;\n\nuse serde::Serialize;\n\nuse crate::id::Id;\n\nfn f() {}\n\n\
                    #[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert_eq!(verdict("a/src/b.rs", body), "");
    }

    #[test]
    fn a_file_without_a_front_line_is_found() {
        assert!(!check("a/src/b.rs", "use std::fmt;\n").is_empty());
        assert!(!check("a/src/b.rs", "//!\n").is_empty());
        assert!(check("a/src/b.rs", "#![doc = include_str!(\"../README.md\")]\n").is_empty());
    }

    #[test]
    fn vague_file_names_are_found() {
        for path in ["a/src/mod.rs", "a/src/utils.rs", "a/tests/common/log.rs"] {
            assert_ne!(verdict(path, ""), "", "{path}");
        }
    }

    #[test]
    fn a_long_function_is_found_with_its_name_and_line() {
        let fits = format!(
            "fn f() {{\n{}}}\n",
            "    g();\n".repeat(MAX_FUNCTION_LINES - 2)
        );
        assert_eq!(verdict("a/src/b.rs", &fits), "");
        let long = format!(
            "fn f() {{\n{}}}\n",
            "    g();\n".repeat(MAX_FUNCTION_LINES - 1)
        );
        assert!(verdict("a/src/b.rs", &long).starts_with("a/src/b.rs:2: `f` has 101 lines"));
    }

    #[test]
    fn a_long_file_is_found_but_tests_do_not_count() {
        let code = "const A: u8 = 1;\n".repeat(MAX_FILE_LINES);
        assert!(verdict("a/src/b.rs", &code).contains("has 801 lines"));
        assert_eq!(verdict("a/tests/it/b.rs", &code), "");
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(verdict("a/src/b.rs", &tests), "");
    }

    #[test]
    fn unfinished_macros_are_found_but_not_in_strings() {
        for name in UNFINISHED {
            assert_ne!(
                verdict("a/src/b.rs", &format!("fn f() {{ {name}() }}\n")),
                ""
            );
            assert_eq!(
                verdict("a/src/b.rs", &format!("const A: &str = \"{name}\";\n")),
                ""
            );
        }
    }

    #[test]
    fn ignored_tests_and_doc_tests_are_found() {
        assert_ne!(
            verdict("a/src/b.rs", "#[ignore = \"slow\"]\nfn f() {}\n"),
            ""
        );
        assert_ne!(
            verdict("a/src/b.rs", "/// ```rust,ignore\n/// ```\nfn f() {}\n"),
            ""
        );
        assert_eq!(
            verdict("a/src/b.rs", "/// ```no_run\n/// ```\nfn f() {}\n"),
            ""
        );
    }

    #[test]
    fn a_sleep_in_a_test_is_found_and_a_timer_is_not() {
        let sleep = "fn f() { tokio::time::sleep(x); }\n";
        assert_ne!(verdict("a/tests/it/b.rs", sleep), "");
        assert_eq!(verdict("a/src/b.rs", sleep), "");
        let inside = format!("#[cfg(test)]\nmod tests {{\n{sleep}}}\n");
        assert_ne!(verdict("a/src/b.rs", &inside), "");
        assert_eq!(
            verdict("a/tests/it/b.rs", "fn f() { clock.sleep(x); }\n"),
            ""
        );
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found() {
        let body = "fn f() -> SystemTime { SystemTime::now() }\n";
        assert_ne!(verdict("eidetica-core/src/clock.rs", body), "");
        assert_eq!(verdict("eidetica/src/clock.rs", body), "");
    }

    #[test]
    fn glob_imports_are_found_save_the_agreed_ones() {
        assert_ne!(verdict("a/src/b.rs", "use a::*;\n"), "");
        assert_ne!(verdict("a/src/b.rs", "pub use a::*;\n"), "");
        assert_ne!(verdict("a/src/b.rs", "use super::*;\n"), "");
        assert_ne!(verdict("a/tests/it/b.rs", "use a::{b, c::*};\n"), "");
        assert_eq!(
            verdict("a/src/b.rs", "use proptest::{prelude::*, sample::Index};\n"),
            ""
        );
        assert_ne!(
            verdict("a/src/b.rs", "use proptest::{prelude::*, sample::*};\n"),
            ""
        );
        assert_ne!(verdict("a/tests/it/b.rs", "use super::{a::*, *};\n"), "");
        assert_eq!(verdict("a/tests/it/b.rs", "use super::{a::B, *};\n"), "");
        assert_eq!(
            verdict("a/tests/it/b.rs", "use proptest::prelude::*;\n"),
            ""
        );
    }

    #[test]
    fn imports_out_of_their_blocks_are_found() {
        assert_ne!(
            verdict("a/src/b.rs", "use crate::a;\n\nuse std::fmt;\n"),
            ""
        );
        assert_ne!(verdict("a/src/b.rs", "use std::fmt;\nuse crate::a;\n"), "");
        assert_eq!(
            verdict(
                "a/src/b.rs",
                "use std::fmt;\nuse std::io;\n\nuse crate::a;\n"
            ),
            ""
        );
    }
}
