//! Rust source with comments and literals blanked out, and where its tests and functions are.
//! It reads just enough of the language for the rules; it accepts files that do not compile.

use std::iter::Peekable;
use std::str::CharIndices;

/// One Rust file, cut up for the rules.
pub(super) struct Source<'a> {
    /// The file as it is.
    pub(super) text: &'a str,
    /// The same lines with a space for every byte of a comment or literal.
    pub(super) code: String,
    /// The line on which the tests begin, counted from 1; past the end if there are none.
    pub(super) tests_from: usize,
}

/// A function with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

impl<'a> Source<'a> {
    pub(super) fn parse(path: &str, text: &'a str) -> Self {
        let code = blank(text);
        let tests_from = if is_test_file(path) {
            1
        } else {
            first_test_line(&code).unwrap_or(usize::MAX)
        };
        Self {
            text,
            code,
            tests_from,
        }
    }

    pub(super) fn lines_before_tests(&self) -> usize {
        self.text.lines().count().min(self.tests_from - 1)
    }

    pub(super) fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// The functions that have bodies, in the order of their first lines.
    pub(super) fn functions(&self) -> Vec<Function> {
        words(&self.code, "fn")
            .filter_map(|at| function_at(&self.code, at))
            .collect()
    }

    /// The `use` statements with the line each begins on, on one line without the semicolon.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for at in words(&self.code, "use") {
            let line_start = self.code[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let before = &self.code[line_start..at];
            let is_visible = before.trim() == "pub" || before.trim().starts_with("pub(");
            let is_capture = self.code[at..].starts_with("use<");
            let is_statement = (before.trim().is_empty() || is_visible) && !is_capture;
            let Some(length) = self.code[at..].find(';').filter(|_| is_statement) else {
                continue;
            };
            let statement = &self.code[at + "use".len()..at + length];
            imports.push(Import {
                path: statement.split_whitespace().collect(),
                line: line_number(&self.code, at),
                last_line: line_number(&self.code, at + length),
                is_top_level_private: before.is_empty(),
            });
        }
        imports
    }
}

/// One `use` statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// What is imported, without white space.
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) last_line: usize,
    pub(super) is_top_level_private: bool,
}

/// Where a word stands alone in a line, if it does.
pub(super) fn find_word(line: &str, word: &str) -> Option<usize> {
    words(line, word).next()
}

/// The places where a word stands alone.
pub(super) fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let stands_alone = |c: Option<char>| !c.is_some_and(|c| is_word(c) || c == '#');
            stands_alone(before) && !after.is_some_and(is_word)
        })
}

pub(super) fn line_number(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_test_file(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next() == Some("tests.rs") || parts.any(|folder| folder == "tests")
}

/// The line of the first `#[cfg(test)]` that opens a module here.
fn first_test_line(code: &str) -> Option<usize> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    code.match_indices(ATTRIBUTE).find_map(|(at, _)| {
        let rest = code[at + ATTRIBUTE.len()..].trim_start();
        let opens_here = rest.find('{')? < rest.find(';').unwrap_or(usize::MAX);
        (rest.starts_with("mod ") && opens_here).then(|| line_number(code, at))
    })
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let after = code[at + "fn".len()..].trim_start();
    let length = after.find(|c| !is_word(c) && c != '$' && c != '#')?;
    let name = &after[..length];
    if name.is_empty() {
        return None;
    }
    let signature = code.len() - after.len();
    let end = signature + body_end(&code[signature..])?;
    let line = line_number(code, at);
    Some(Function {
        name: name.to_owned(),
        line,
        lines: line_number(code, end) - line + 1,
    })
}

/// Where the body that follows a signature ends; `None` if none follows.
fn body_end(code: &str) -> Option<usize> {
    let mut brackets = 0_i32;
    let mut braces = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' if brackets == 0 || braces > 0 => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' if braces > 0 => braces -= 1,
            _ => {}
        }
        if brackets < 0 {
            return None;
        }
    }
    None
}

/// Puts a space for every byte of comments, strings and character literals, and keeps the lines.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut characters = text.char_indices().peekable();
    let mut previous = ' ';
    while let Some((at, c)) = characters.next() {
        let rest = &text[at..];
        let end = literal_or_comment(rest, previous).map(|length| at + length);
        match end {
            None => code.push(c),
            Some(end) => {
                code.extend(text[at..end].bytes().map(blank_byte));
                skip_to(&mut characters, end);
            }
        }
        previous = c;
    }
    code
}

fn blank_byte(byte: u8) -> char {
    if byte == b'\n' { '\n' } else { ' ' }
}

fn skip_to(characters: &mut Peekable<CharIndices<'_>>, end: usize) {
    while characters.next_if(|&(at, _)| at < end).is_some() {}
}

/// How many bytes the comment or literal takes that begins here, if one does.
fn literal_or_comment(rest: &str, previous: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    match rest.as_bytes()[0] {
        b'"' => Some(quoted(rest, '"')),
        b'\'' => character(rest),
        b'r' if !is_word(previous) || matches!(previous, 'b' | 'c') => raw_string(rest),
        _ => None,
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, unless the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    let (_, second) = characters.next()?;
    (first == '\\' || second == '\'').then(|| quoted(rest, '\''))
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(rest.len() - body.len() + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_kept() {
        let text = "a /* { /* } */ */ b // {\n\"{\\\"}\" 'x' '{' '\\'' r#\"\"}\"# b\"}\"\nc";
        let code = blank(text);
        assert_eq!(code.split_whitespace().collect::<String>(), "abbc");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_lifetime_is_not_a_literal() {
        assert_eq!(blank("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
    }

    #[test]
    fn a_byte_raw_string_is_blanked_and_a_raw_name_is_not() {
        let code = blank("br\"{\" r#match");
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>(),
            ["b", "r#match"]
        );
    }

    #[test]
    fn functions_are_measured_from_their_first_line_to_their_brace() {
        let text = "fn one() -> [u8; 2] {\n    \"}\";\n}\n\ntrait T {\n    fn no_body();\n}\n\
                    impl T {\n    fn two(x: fn(u8)) {\n        match x {\n        }\n    }\n}\n";
        let functions = Source::parse("src/a.rs", text).functions();
        let found: Vec<(&str, usize, usize)> = functions
            .iter()
            .map(|function| (function.name.as_str(), function.line, function.lines))
            .collect();
        assert_eq!(found, [("one", 1, 3), ("two", 9, 4)]);
    }

    #[test]
    fn a_semicolon_inside_a_body_does_not_end_it() {
        let text = "fn f() {\n    a();\n    b(|| {\n        c();\n    });\n}\n";
        assert_eq!(Source::parse("src/a.rs", text).functions()[0].lines, 6);
    }

    #[test]
    fn tests_begin_at_the_module_that_holds_them() {
        let text = "#[cfg(test)]\nfn only_for_tests() {}\n#[cfg(test)]\nmod elsewhere;\n\
                    #[cfg(test)]\nmod tests {\n}\n";
        let source = Source::parse("src/a.rs", text);
        assert_eq!((source.tests_from, source.lines_before_tests()), (5, 4));
        assert!(source.is_test(6) && !source.is_test(4));
    }

    #[test]
    fn a_file_below_a_tests_folder_is_all_tests() {
        assert_eq!(
            Source::parse("a/tests/it/main.rs", "fn f() {}\n").lines_before_tests(),
            0
        );
        assert_eq!(
            Source::parse("a/src/main.rs", "fn f() {}\n").lines_before_tests(),
            1
        );
    }

    #[test]
    fn a_captured_lifetime_is_not_an_import() {
        let text = "pub(super) fn f() -> impl Sized + use<> {\n    2 * 3;\n}\n";
        assert_eq!(Source::parse("src/a.rs", text).imports(), []);
    }

    #[test]
    fn imports_are_joined_into_one_line() {
        let text = "//! use nothing::*;\nuse a::{\n    b,\n    c,\n};\npub use d::e;\n";
        let imports = Source::parse("src/a.rs", text).imports();
        let first = Import {
            path: "a::{b,c,}".to_owned(),
            line: 2,
            last_line: 5,
            is_top_level_private: true,
        };
        assert_eq!(imports.len(), 2);
        assert_eq!(imports[0], first);
        assert!(!imports[1].is_top_level_private);
    }
}
