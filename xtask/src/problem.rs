//! A broken rule and the place where it is broken, as `layers` and `tidy` report it.

use std::fmt;

use crate::command::Failure;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    place: String,
    message: String,
}

impl Problem {
    /// A problem of a whole file or crate.
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }

    /// A problem at a line, counted from 1.
    pub(crate) fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Fails with the whole list unless it is empty.
pub(crate) fn conclude(check: &str, problems: &[Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for problem in problems {
        text += &format!("{problem}\n");
    }
    text += &format!("{check}: {} to mend", problems.len());
    Err(Failure::Failed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_in_the_failure() {
        let problems = [
            Problem::new("a.rs", "first"),
            Problem::at("b.rs", 7, "second"),
        ];
        let text = conclude("tidy", &problems).unwrap_err().to_string();
        assert!(text.contains("a.rs: first") && text.contains("b.rs:7: second"));
        assert!(text.ends_with("tidy: 2 to mend"));
    }

    #[test]
    fn nothing_to_mend_is_success() {
        assert_eq!(conclude("tidy", &[]), Ok(()));
    }
}
