//! Owns the digest of a database's content, by which two devices compare what they show. What
//! they hold is compared by tips.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use eidetica_crdt::{Crdt, Doc, TableKind, Value};
use eidetica_store::{Database, DocStore, Table};
use sha2::{Digest, Sha256};

use crate::Error;

/// Keys of a document read at once.
const PAGE_KEYS: usize = 1024;
/// UTF-16 orders the characters from here on behind those above U+FFFF; UTF-8 does not.
const FIRST_BEHIND_SURROGATES: char = '\u{e000}';

/// The SHA-256 of everything that the documents and tables of a database show, as canonical JSON
/// (RFC 8785) of `{store: value}`, a table being the map of its rows by id. Reserved stores, other
/// kinds and values that lost a conflict are left out. Two databases of equal content have equal
/// digests, also where their histories differ.
///
/// Beyond RFC 8785: integers are written in decimal at any size, bytes as base64 text
/// (RFC 4648), infinities as the texts `Infinity` and `-Infinity`.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), eidetica::Error> {
/// let instance = eidetica::Instance::builder().open().await?;
/// let one = instance.create_database("one").await?;
/// let two = instance.create_database("two").await?;
/// assert_eq!(
///     eidetica::content_digest(&one).await?,
///     eidetica::content_digest(&two).await?,
/// );
/// # Ok(()) }
/// ```
///
/// # Errors
/// The backend failed.
///
/// # Cancel safety
/// Nothing happens.
pub async fn content_digest(database: &Database) -> Result<[u8; 32], Error> {
    let mut digest = Sha256::new();
    let mut separator = "{";
    for (store, kind) in database.stores().await? {
        let is_shown = matches!(kind.as_str(), Doc::KIND | TableKind::KIND);
        if store.as_str().starts_with('_') || !is_shown {
            continue;
        }
        // Names of stores are ASCII, so they come in the order of UTF-16.
        digest.update(separator);
        write_text(store.as_str(), &mut |text| digest.update(text));
        digest.update(":");
        match kind.as_str() {
            TableKind::KIND => add_table(&database.table(store.as_str())?, &mut digest).await?,
            _ => add_document(&database.doc(store.as_str())?, &mut digest).await?,
        }
        separator = ",";
    }
    digest.update(if separator == "{" { "{}" } else { "}" });
    Ok(digest.finalize().into())
}

/// Adds a document, of which a page at a time is in memory.
async fn add_document(doc: &DocStore, digest: &mut Sha256) -> Result<(), Error> {
    let mut out = |text: &str| digest.update(text);
    let mut separator = "{";
    let mut group: Vec<(String, Value)> = Vec::new();
    let mut last: Option<String> = None;
    loop {
        let page = doc.page(last.as_deref(), PAGE_KEYS).await?;
        last = page.last().map(|(key, _)| key.clone());
        let is_last = page.len() < PAGE_KEYS;
        for (key, value) in page {
            if group
                .first()
                .is_some_and(|(first, _)| stem(first) != stem(&key))
            {
                write_fields(std::mem::take(&mut group), &mut separator, &mut out);
            }
            group.push((key, value));
        }
        if is_last {
            write_fields(group, &mut separator, &mut out);
            out(if separator == "{" { "{}" } else { "}" });
            return Ok(());
        }
    }
}

/// Adds a table, of which a page at a time is in memory.
async fn add_table(table: &Table<Value>, digest: &mut Sha256) -> Result<(), Error> {
    let mut out = |text: &str| digest.update(text);
    let mut separator = "{";
    let mut next = None;
    loop {
        let query = table.scan().limit(PAGE_KEYS);
        let page = match next.take() {
            None => query.page().await?,
            Some(cursor) => query.after(cursor).page().await?,
        };
        for (id, row) in page.rows {
            write_fields(vec![(id.to_string(), row)], &mut separator, &mut out);
        }
        next = page.next;
        if next.is_none() {
            out(if separator == "{" { "{}" } else { "}" });
            return Ok(());
        }
    }
}

/// What of a key comes before its first character that UTF-8 and UTF-16 order differently. Keys
/// with the same stem and such a character stand together in both orders; others are alone.
fn stem(key: &str) -> (&str, bool) {
    match key.find(|c| c >= FIRST_BEHIND_SURROGATES) {
        Some(at) => (&key[..at], true),
        None => (key, false),
    }
}

fn write_fields(
    mut fields: Vec<(String, Value)>,
    separator: &mut &str,
    out: &mut impl FnMut(&str),
) {
    fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    for (key, value) in fields {
        out(separator);
        write_text(&key, out);
        out(":");
        write(&value, out);
        *separator = ",";
    }
}

/// Writes a value, which is at most 64 levels deep.
fn write(value: &Value, out: &mut impl FnMut(&str)) {
    match value {
        Value::Null => out("null"),
        Value::Bool(true) => out("true"),
        Value::Bool(false) => out("false"),
        Value::Int(n) => out(&n.to_string()),
        Value::Float(x) if x.is_finite() => out(ryu_js::Buffer::new().format_finite(*x)),
        Value::Float(x) if *x > 0.0 => out("\"Infinity\""),
        Value::Float(_) => out("\"-Infinity\""),
        Value::Text(text) => write_text(text, out),
        Value::Bytes(bytes) => write_text(&BASE64.encode(bytes), out),
        Value::List(items) => {
            out("[");
            for (i, item) in items.iter().enumerate() {
                out(if i > 0 { "," } else { "" });
                write(item, out);
            }
            out("]");
        }
        Value::Map(map) => write_map(map, out),
    }
}

fn write_map(map: &BTreeMap<String, Value>, out: &mut impl FnMut(&str)) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out("{");
    for (i, (key, value)) in entries.into_iter().enumerate() {
        out(if i > 0 { "," } else { "" });
        write_text(key, out);
        out(":");
        write(value, out);
    }
    out("}");
}

fn write_text(text: &str, out: &mut impl FnMut(&str)) {
    out("\"");
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        out(&rest[..at]);
        let special = rest.as_bytes()[at];
        match special {
            b'"' => out("\\\""),
            b'\\' => out("\\\\"),
            0x08 => out("\\b"),
            b'\t' => out("\\t"),
            b'\n' => out("\\n"),
            0x0c => out("\\f"),
            b'\r' => out("\\r"),
            _ => out(&format!("\\u{special:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out(rest);
    out("\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(value: impl Into<Value>) -> String {
        let mut text = String::new();
        write(&value.into(), &mut |part| text.push_str(part));
        text
    }

    #[test]
    #[expect(clippy::excessive_precision, reason = "printed so in the RFC")]
    fn the_example_of_rfc_8785_comes_out_as_printed_there() {
        let numbers = [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27];
        let numbers: Vec<Value> = numbers.into_iter().map(Value::from).collect();
        let string = "\u{20ac}$\u{f}\nA'\u{42}\u{22}\u{5c}\u{5c}\u{22}\u{2f}";
        let literals = vec![Value::Null, true.into(), false.into()];
        let value = Value::from([
            ("numbers", Value::from(numbers)),
            ("string", string.into()),
            ("literals", literals.into()),
        ]);
        let expected = concat!(
            r#"{"literals":[null,true,false],"#,
            r#""numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(canonical(value), expected);
    }

    #[test]
    fn keys_are_sorted_as_in_section_3_2_3_of_rfc_8785() {
        let keys = [
            "\u{20ac}",
            "\r",
            "\u{fb33}",
            "1",
            "\u{1f600}",
            "\u{80}",
            "\u{f6}",
        ];
        let map = keys.map(|key| (key.to_owned(), Value::Null));
        let expected = concat!(
            "{\"\\r\":null,\"1\":null,\"\u{80}\":null,\"\u{f6}\":null,",
            "\"\u{20ac}\":null,\"\u{1f600}\":null,\"\u{fb33}\":null}"
        );
        assert_eq!(canonical(Value::Map(map.into())), expected);
    }

    #[test]
    fn floats_are_written_as_in_appendix_b_of_rfc_8785() {
        let cases = [
            (0x0000000000000000, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x8000000000000001, "-5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0xffefffffffffffff, "-1.7976931348623157e+308"),
            (0x4340000000000000, "9007199254740992"),
            (0xc340000000000000, "-9007199254740992"),
            (0x4430000000000000, "295147905179352830000"),
            (0x44b52d02c7e14af5, "9.999999999999997e+22"),
            (0x44b52d02c7e14af6, "1e+23"),
            (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
            (0x444b1ae4d6e2ef4e, "999999999999999700000"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555553, "333333333.3333332"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
            (0x43143ff3c1cb0959, "1424953923781206.2"),
        ];
        for (bits, text) in cases {
            assert_eq!(canonical(f64::from_bits(bits)), text, "{bits:016x}");
        }
    }

    #[test]
    fn what_json_lacks_has_a_form_too() {
        assert_eq!(canonical(i128::MIN), i128::MIN.to_string());
        assert_eq!(canonical(&[0xfb_u8, 0xff][..]), "\"+/8=\"");
        assert_eq!(canonical(f64::INFINITY), "\"Infinity\"");
        assert_eq!(canonical(f64::NEG_INFINITY), "\"-Infinity\"");
    }
}
