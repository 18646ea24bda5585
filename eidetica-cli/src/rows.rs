//! Owns reading rows: one JSON object a line, each checked before it is handed out.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    io::{BufRead, Read},
};

use eidetica::{Path, RowId, Value};
use uuid::Uuid;

use crate::{
    failure::{Code, Failure},
    form,
    kind::StoreKind,
    measure::Cost,
    place::row_id,
};

/// Bytes of a line at most. What fits in an entry is shorter even with every character escaped.
const MAX_LINE_BYTES: u64 = 8 * 1024 * 1024;

/// What names rows.
#[derive(Debug, Clone)]
pub(crate) enum Keys {
    /// Each gets a new name.
    New,
    /// A field of theirs.
    Field(String),
    /// Each line is `{"key","value"}`.
    Beside,
}

/// Where a row goes.
#[derive(Debug)]
pub(crate) enum Goal {
    /// A key of a document.
    Path(Path),
    /// A row of a table; `None`: a new one.
    Row(Option<RowId>),
}

/// A row and the line it stands on, counted from 1.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) goal: Goal,
    pub(crate) value: Value,
    pub(crate) cost: Cost,
}

/// The rows of some text, read a line at a time.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    reader: R,
    keys: Keys,
    kind: StoreKind,
    line: u64,
    bytes: u64,
    buffer: Vec<u8>,
    seen: Option<Seen>,
}

/// The keys of the rows so far, as two hashes each: 128 bits do not collide by chance.
#[derive(Debug, Default)]
struct Seen {
    hashers: [RandomState; 2],
    lines: HashMap<[u64; 2], u64>,
}

impl<R: BufRead> Rows<R> {
    /// Rows for a store of a kind. A key that comes twice is an error.
    pub(crate) fn new(reader: R, keys: Keys, kind: StoreKind) -> Self {
        let seen = (!matches!(keys, Keys::New)).then(Seen::default);
        Self {
            reader,
            keys,
            kind,
            line: 0,
            bytes: 0,
            buffer: Vec::new(),
            seen,
        }
    }

    /// Forgets keys as it goes, for rows that were checked before.
    pub(crate) fn checked_before(mut self) -> Self {
        self.seen = None;
        self
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads everything; tells how many rows there are.
    pub(crate) fn check(mut self) -> Result<u64, Failure> {
        let mut rows = 0;
        while self.read()?.is_some() {
            rows += 1;
        }
        Ok(rows)
    }

    /// The next row; blank lines are none.
    pub(crate) fn read(&mut self) -> Result<Option<Row>, Failure> {
        loop {
            self.line += 1;
            self.buffer.clear();
            let mut line = self.reader.by_ref().take(MAX_LINE_BYTES + 1);
            let at = |e: Failure, line: u64| e.at(&format!("line {line}"));
            let read = line.read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|e| at(e.into(), self.line))? as u64;
            self.bytes += read;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE_BYTES {
                let message = format!("a line has at most {MAX_LINE_BYTES} bytes");
                return Err(at(Failure::new(Code::Failed, message), self.line));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return self.parse().map(Some).map_err(|e| at(e, self.line));
            }
        }
    }

    fn parse(&mut self) -> Result<Row, Failure> {
        let failed = |message: String| Failure::new(Code::Failed, message);
        let value = form::read_json(self.buffer.trim_ascii()).map_err(|e| {
            failed(format!(
                "it is not JSON: {}",
                e.replace(" at line 1", " at")
            ))
        })?;
        if value.as_map().is_none() {
            return Err(failed("a row is a JSON object, {…}".to_owned()));
        }
        let (key, value) = match &self.keys {
            Keys::New => (None, value),
            Keys::Field(field) => (Some(key_of(&value, field)?), value),
            Keys::Beside => {
                let (key, value) = split(value)?;
                (Some(key), value)
            }
        };
        let (goal, cost) = self.aim(key, &value)?;
        cost.check()?;
        Ok(Row {
            line: self.line,
            goal,
            value,
            cost,
        })
    }

    /// Where a row goes, and what writing it there takes.
    fn aim(&mut self, key: Option<String>, value: &Value) -> Result<(Goal, Cost), Failure> {
        let failed = |message: String| Failure::new(Code::Failed, message);
        match self.kind {
            StoreKind::Doc => {
                self.see(key.as_deref())?;
                let key = key.unwrap_or_else(|| Uuid::now_v7().to_string());
                let path = Path::root().key(&key).map_err(|e| failed(e.to_string()))?;
                let cost = Cost::of(&path, value)?;
                Ok((Goal::Path(path), cost))
            }
            StoreKind::Table => {
                let id = key.as_deref().map(row_id).transpose();
                let id = id.map_err(|e| e.with_code(Code::Failed))?;
                // An id is written in more than one way.
                self.see(id.map(|id| id.to_string()).as_deref())?;
                if value.as_map().is_none() {
                    return Err(failed("a table's row is a JSON object, {…}".to_owned()));
                }
                Ok((Goal::Row(id), Cost::of_row(value)?))
            }
        }
    }

    fn see(&mut self, key: Option<&str>) -> Result<(), Failure> {
        match (&mut self.seen, key) {
            (Some(seen), Some(key)) => seen.add(key, self.line),
            _ => Ok(()),
        }
    }
}

/// The key and the value of `{"key","value"}`.
fn split(line: Value) -> Result<(String, Value), Failure> {
    let key = key_of(&line, "key")?;
    let value = match line {
        Value::Map(mut map) => map.remove("value"),
        _ => None,
    };
    let missing = || Failure::new(Code::Failed, "the line has no field `value`");
    Ok((key, value.ok_or_else(missing)?))
}

fn key_of(row: &Value, field: &str) -> Result<String, Failure> {
    match row.get(field) {
        Some(Value::Text(text)) => Ok(text.clone()),
        Some(Value::Int(n)) => Ok(n.to_string()),
        Some(_) => Err(Failure::new(
            Code::Failed,
            format!("the key is neither text nor an integer. field=`{field}`"),
        )),
        None => Err(Failure::new(
            Code::Failed,
            format!("the row has no such field to be its key. field=`{field}`"),
        )),
    }
}

impl Seen {
    fn add(&mut self, key: &str, line: u64) -> Result<(), Failure> {
        let hash = [0, 1].map(|i| BuildHasher::hash_one(&self.hashers[i], key));
        match self.lines.insert(hash, line) {
            None => Ok(()),
            Some(first) => Err(Failure::new(
                Code::Failed,
                format!("line {first} has the same key. key=`{key}`"),
            )),
        }
    }
}
