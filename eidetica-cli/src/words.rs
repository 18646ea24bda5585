//! Owns cutting a line into words as a shell does: blanks part them, quotes keep them together.

/// The words of a line. Within `'` everything is itself; within `"` a backslash makes `"` and
/// `\` themselves; elsewhere a backslash makes the next character itself.
pub(crate) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or("a `'` is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => {
                let next = rest.next().ok_or("nothing follows the last backslash")?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const OPEN: &str = "a `\"` is not closed";
    loop {
        match rest.next().ok_or(OPEN)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or(OPEN)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        let line = r#"put  db notes a '{"x": "y\n"}' "b \"c\" \n" d\ e '' f'g'"h""#;
        let words = [
            "put",
            "db",
            "notes",
            "a",
            r#"{"x": "y\n"}"#,
            r#"b "c" \n"#,
            "d e",
            "",
            "fgh",
        ];
        assert_eq!(split(line).unwrap(), words);
        assert_eq!(split(" \t ").unwrap(), [""; 0]);
    }

    #[test]
    fn open_quotes_are_errors() {
        for line in ["'a", "\"a", "\"a\\", "a\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
