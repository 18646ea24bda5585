//! Owns how values are written for people and read from them: JSON, sizes, times.

use std::time::Duration;

use eidetica::{Value, core::Timestamp};

use crate::failure::{Code, Failure};

/// An integer of this many digits may be over 64 bits, and would be read as a float.
const LONG_DIGITS: usize = 19;

/// Reads JSON that a person typed.
pub(crate) fn parse_value(text: &str) -> Result<Value, String> {
    read_json(text.as_bytes()).map_err(|e| format!("it is not JSON (a text needs quotes): {e}"))
}

/// Reads JSON. An integer that would lose digits is an error.
pub(crate) fn read_json(bytes: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    match has_wide_float(&value) && has_long_integer(bytes) {
        true => Err("an integer is over 64 bits; write it as a text".to_owned()),
        false => Ok(value),
    }
}

fn has_wide_float(value: &Value) -> bool {
    match value {
        Value::Float(x) => x.abs() >= i64::MAX as f64,
        Value::Map(map) => map.values().any(has_wide_float),
        Value::List(items) => items.iter().any(has_wide_float),
        _ => false,
    }
}

/// Whether sound JSON has an integer outside of texts that 64 bits do not hold.
fn has_long_integer(json: &[u8]) -> bool {
    let mut rest = json;
    while let [first, after @ ..] = rest {
        let length = match first {
            b'"' => 1 + text_length(after),
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(|b| is_part(b)).count();
                if is_long_integer(&rest[..length]) {
                    return true;
                }
                length
            }
            _ => 1,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

/// The bytes up to and with the quote that ends a text.
fn text_length(mut text: &[u8]) -> usize {
    let whole = text.len();
    while let [first, after @ ..] = text {
        text = match first {
            b'"' => return whole - after.len(),
            b'\\' => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    whole
}

fn is_long_integer(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let text = str::from_utf8(number).unwrap_or_default();
    digits.len() >= LONG_DIGITS
        && digits.iter().all(u8::is_ascii_digit)
        && text.parse::<i64>().is_err()
        && text.parse::<u64>().is_err()
}

/// Writes JSON on one line.
pub(crate) fn to_json(value: &Value) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::new(Code::Failed, e.to_string()))
}

/// Writes a value for a person: a text as it is, everything else as JSON over several lines.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_else(|e| e.to_string()),
    }
}

/// What others wrote, for a terminal: without characters that steer it or turn the text around.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() || turns
    };
    text.replace(steers, "\u{fffd}")
}

/// `17`, `1,691`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 entry`, `1,691 entries`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// `512 B`, `1.4 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `3 ms`, `1.25 s`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s => format!("{s:.2} s"),
    }
}

/// Seconds in JSON, to the microsecond.
pub(crate) fn seconds(duration: Duration) -> Value {
    Value::Float(duration.as_micros() as f64 / 1e6)
}

/// RFC 3339, to the millisecond.
pub(crate) fn time(timestamp: Timestamp) -> String {
    let millis = timestamp.millis();
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a day since 1970, counted in years that begin in March, so that the
/// leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, in_era) = (days / 146_097, days % 146_097);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_would_lose_digits_are_refused() {
        for json in [
            "18446744073709551616",
            r#"{"a":["\"",-9223372036854775809]}"#,
        ] {
            assert!(read_json(json.as_bytes()).is_err(), "{json}");
        }
        for json in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e30",
            r#"[1e30,"18446744073709551616"]"#,
        ] {
            assert!(read_json(json.as_bytes()).is_ok(), "{json}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |millis| time(Timestamp::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn what_others_wrote_does_not_steer_a_terminal() {
        let text = "a\u{1b}[2Jb\r\u{9b}c\u{202e}d\u{2066} é";
        let replaced = "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\u{fffd} é";
        assert_eq!(printable(text), replaced);
    }

    #[test]
    fn numbers_are_short_for_people() {
        assert_eq!(
            [count(7), count(1691), count(1_000_000)],
            ["7", "1,691", "1,000,000"]
        );
        assert_eq!([size(1023), size(1536)], ["1023 B", "1.5 KiB"]);
    }
}
