//! The rules for every file that people write: spaces, unfinished marks, words that do not belong.

use crate::problem::Problem;
use crate::tidy::source::find_word;

/// Marks of unfinished work. Split, as this file is checked too.
const UNFINISHED: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// What has no place in a published tree: folders of one machine, hosts behind a package registry,
/// and how a text came about.
const FOREIGN: [(&str, &str); 7] = [
    (concat!("/ro", "ot/"), "names a folder of one machine"),
    (concat!("/wo", "rk/"), "names a folder of one machine"),
    (concat!("/ho", "me/"), "names a folder of one machine"),
    (
        concat!("index.crates", ".io"),
        "names a host behind the registry",
    ),
    (
        concat!("static.crates", ".io"),
        "names a host behind the registry",
    ),
    (concat!("co-authored", "-by"), "tells how the text was made"),
    (concat!("language", " model"), "tells how the text was made"),
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Data files and lock files are what they are; the rest is text that somebody wrote.
pub(super) fn is_written_by_hand(path: &str) -> bool {
    const ENDINGS: [&str; 8] = [
        ".rs", ".md", ".toml", ".sh", ".yml", ".yaml", ".lock", ".html",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_lock = name == "Cargo.lock";
    let has_ending = ENDINGS.iter().any(|ending| name.ends_with(ending));
    is_lock || has_ending || !name.trim_start_matches('.').contains('.')
}

pub(super) fn check(path: &str, content: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let has_strict_spaces = path.ends_with(".rs") || path.ends_with(".md");
    for (index, line) in content.lines().enumerate() {
        let number = index + 1;
        if has_strict_spaces {
            if line.ends_with(char::is_whitespace) {
                problems.push(Problem::at(path, number, "ends in white space; cut it off"));
            }
            if line.contains('\t') {
                problems.push(Problem::at(path, number, "holds a tab; use spaces"));
            }
            for mark in UNFINISHED
                .iter()
                .filter(|mark| find_word(line, mark).is_some())
            {
                let message = format!("holds `{mark}`; do it now or open an issue");
                problems.push(Problem::at(path, number, message));
            }
        }
        problems.extend(check_words(path, number, line));
    }
    problems
}

fn check_words(path: &str, number: usize, line: &str) -> Vec<Problem> {
    let lower = line.to_lowercase();
    let mut problems: Vec<Problem> = FOREIGN
        .iter()
        .filter(|(word, _)| holds(&lower, word))
        .map(|(word, reason)| Problem::at(path, number, format!("`{word}` {reason}; cut it out")))
        .collect();
    let foreign_source = path.ends_with("Cargo.lock")
        && line.starts_with("source = ")
        && line != format!("source = \"{REGISTRY}\"");
    if foreign_source {
        let message = "is not from the public registry; depend on a published version";
        problems.push(Problem::at(path, number, message));
    }
    problems
}

/// A path is foreign only where it begins: `https://host/work/` is an address.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let begins =
            |c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '}' | '>' | '~');
        !word.starts_with('/') || before.is_none_or(begins)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(path: &str, content: &str) -> String {
        let problems = check(path, content);
        problems
            .iter()
            .map(Problem::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn plain_text_passes() {
        assert_eq!(verdict("README.md", "A todo list in /tmp/x.\n"), "");
    }

    #[test]
    fn space_at_the_end_and_tabs_are_found_with_their_line() {
        let text = verdict("a.rs", "one\ntwo\x20\n\u{9}three\n");
        assert!(text.starts_with("a.rs:2: ends in white space"));
        assert!(text.contains("a.rs:3: holds a tab"));
    }

    #[test]
    fn each_unfinished_mark_is_found_as_a_whole_word() {
        for mark in UNFINISHED {
            assert_ne!(
                verdict("a.rs", &format!("// {mark}: later\n")),
                "",
                "{mark}"
            );
            assert_eq!(
                verdict("a.rs", &format!("let {mark}S = 1;\n")),
                "",
                "{mark}"
            );
        }
    }

    #[test]
    fn each_foreign_word_is_found_in_any_case() {
        for (word, _) in FOREIGN {
            let line = format!("see {} there\n", word.to_uppercase());
            assert_ne!(verdict("Cargo.toml", &line), "", "{word}");
        }
    }

    #[test]
    fn a_path_inside_an_address_is_not_foreign() {
        let (path, _) = FOREIGN[1];
        assert_eq!(
            verdict("README.md", &format!("https://example.org{path}\n")),
            ""
        );
        assert_ne!(verdict("README.md", &format!("in `{path}main`\n")), "");
    }

    #[test]
    fn a_lock_file_names_the_public_registry_only() {
        let public = format!("source = \"{REGISTRY}\"\n");
        assert_eq!(verdict("Cargo.lock", &public), "");
        assert_ne!(
            verdict("Cargo.lock", "source = \"sparse+https://example.org/\"\n"),
            ""
        );
    }

    #[test]
    fn data_is_not_taken_for_text() {
        assert!(is_written_by_hand("LICENSE-MIT") && is_written_by_hand(".ci/run"));
        assert!(is_written_by_hand(".gitignore") && is_written_by_hand("Cargo.lock"));
        assert!(!is_written_by_hand("data/cities.jsonl") && !is_written_by_hand("a.jsonl.gz"));
    }
}
