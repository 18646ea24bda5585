//! Owns paths: where a value stands in a document, in the one encoding that orders rows.

use std::{borrow::Cow, fmt, str::FromStr};

use eidetica_core::limits::{MAX_PATH_BYTES, MAX_PATH_DEPTH};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

const KEY: u8 = 1;
pub(crate) const POSITION: u8 = 2;
pub(crate) const TALLY: u8 = 3;
/// After a zero: the zero belongs to the segment. Greater than every tag, so siblings whose key
/// goes on with a zero come after the whole subtree.
const ESCAPED: u8 = 0xff;

/// Why something is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// More than [`MAX_PATH_BYTES`] encoded; the number found.
    TooLong(usize),
    /// More than [`MAX_PATH_DEPTH`] segments; the number found.
    TooDeep(usize),
    /// Not the canonical encoding.
    Malformed,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(n) => write!(f, "path over {MAX_PATH_BYTES} bytes. bytes=`{n}`"),
            Self::TooDeep(n) => write!(f, "path over {MAX_PATH_DEPTH} segments. segments=`{n}`"),
            Self::Malformed => write!(f, "path is not canonical"),
        }
    }
}

impl std::error::Error for PathError {}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A key of a map.
    Key(String),
    /// A position in a list.
    Position(Vec<u8>),
    /// A tally of one author's chain.
    Tally(Vec<u8>),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Segment {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

/// A path: segments of `tag (01 map key, 02 list position, 03 tally) ‖ bytes with 00 → 00 FF ‖
/// 00`, at most 2 KiB and 64 segments. The empty path is the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<u8>);

impl Path {
    /// The empty path.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// A path of map keys.
    ///
    /// # Errors
    /// The path is too long or too deep.
    pub fn of_keys<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Result<Self, PathError> {
        keys.into_iter()
            .try_fold(Self::root(), |path, key| path.key(key.as_ref()))
    }

    /// The path one map key further down.
    ///
    /// # Errors
    /// The path is too long or too deep.
    pub fn key(&self, key: &str) -> Result<Self, PathError> {
        self.push(KEY, key.as_bytes())
    }

    /// The path one segment further down.
    ///
    /// # Errors
    /// The path is too long or too deep.
    pub fn child(&self, segment: &Segment) -> Result<Self, PathError> {
        match segment {
            Segment::Key(key) => self.push(KEY, key.as_bytes()),
            Segment::Position(position) => self.push(POSITION, position),
            Segment::Tally(tally) => self.push(TALLY, tally),
        }
    }

    /// Reads encoded bytes, accepting exactly the canonical form.
    ///
    /// # Errors
    /// The bytes are not canonical, too many or too deep.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        let mut depth = 0;
        while !rest.is_empty() {
            let (raw, after) = split_raw(rest).ok_or(PathError::Malformed)?;
            if raw[0] == KEY {
                std::str::from_utf8(&unescape(raw)).map_err(|_| PathError::Malformed)?;
            }
            rest = after;
            depth += 1;
        }
        match depth {
            n if n > MAX_PATH_DEPTH => Err(PathError::TooDeep(n)),
            _ => Ok(Self(bytes.to_vec())),
        }
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments, from the root down.
    pub fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((segment, bytes)) = split_segment(rest) {
            segments.push(segment);
            rest = &rest[bytes..];
        }
        segments
    }

    /// The number of segments.
    pub fn depth(&self) -> usize {
        self.segment_ends().count()
    }

    /// The path above, `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        self.ancestors().pop()
    }

    /// The paths above this one, from the root down, without itself.
    pub fn ancestors(&self) -> Vec<Self> {
        let ends = std::iter::once(0).chain(self.segment_ends());
        ends.filter(|end| *end < self.0.len())
            .map(|end| Self(self.0[..end].to_vec()))
            .collect()
    }

    /// The encoded paths strictly between the root and this one, from the root down.
    pub(crate) fn inner_prefixes(&self) -> impl Iterator<Item = &[u8]> {
        self.segment_ends()
            .filter(|end| *end < self.0.len())
            .map(|end| &self.0[..end])
    }

    /// Whether this path is `other` or above it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(self.0.as_slice());
        rest.is_some_and(|rest| !is_inside_segment(rest))
    }

    /// The element of this list that is, or is above, another path.
    pub(crate) fn element_towards(&self, other: &Self) -> Option<Self> {
        let rest = other.0.strip_prefix(self.0.as_slice())?;
        let (raw, _) = split_raw(rest).filter(|(raw, _)| raw[0] == POSITION)?;
        Some(Self(other.0[..self.0.len() + raw.len()].to_vec()))
    }

    /// Whether every segment is a key of a map.
    pub(crate) fn has_only_keys(&self) -> bool {
        self.tags().all(|tag| tag == KEY)
    }

    /// Whether a segment is a tally.
    pub(crate) fn has_tally(&self) -> bool {
        self.tags().any(|tag| tag == TALLY)
    }

    fn tags(&self) -> impl Iterator<Item = u8> {
        let starts = std::iter::once(0).chain(self.segment_ends());
        starts.filter_map(|at| self.0.get(at).copied())
    }

    /// Where each segment ends in the encoding.
    fn segment_ends(&self) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (raw, _) = split_raw(&self.0[at..])?;
            at += raw.len();
            Some(at)
        })
    }

    fn push(&self, tag: u8, bytes: &[u8]) -> Result<Self, PathError> {
        let mut path = Vec::with_capacity(self.0.len() + bytes.len() + 2);
        path.extend_from_slice(&self.0);
        push_segment_start(&mut path, tag, bytes);
        path.push(0);
        let path = Self(path);
        if path.0.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong(path.0.len()));
        }
        match path.depth() {
            n if n > MAX_PATH_DEPTH => Err(PathError::TooDeep(n)),
            _ => Ok(path),
        }
    }
}

/// Appends a segment without its end.
pub(crate) fn push_segment_start(path: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    path.push(tag);
    for byte in bytes {
        path.push(*byte);
        if *byte == 0 {
            path.push(ESCAPED);
        }
    }
}

/// The first segment of encoded segments, and the bytes it takes.
pub(crate) fn split_segment(bytes: &[u8]) -> Option<(Segment, usize)> {
    let (raw, _) = split_raw(bytes)?;
    let content = unescape(raw).into_owned();
    let segment = match raw[0] {
        KEY => Segment::Key(String::from_utf8(content).ok()?),
        POSITION => Segment::Position(content),
        _ => Segment::Tally(content),
    };
    Some((segment, raw.len()))
}

/// Whether what follows the bytes of a path in an encoding belongs to its last segment.
pub(crate) fn is_inside_segment(rest: &[u8]) -> bool {
    rest.first() == Some(&ESCAPED)
}

/// The first segment with its tag and end, and what follows; `None` if there is none.
fn split_raw(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if !(KEY..=TALLY).contains(bytes.first()?) {
        return None;
    }
    let mut at = 1;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        match bytes.get(at) {
            Some(&ESCAPED) => at += 1,
            _ => return Some(bytes.split_at(at)),
        }
    }
}

/// The content of a segment that [`split_raw`] found.
fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    let content = &raw[1..raw.len() - 1];
    if !content.contains(&0) {
        return Cow::Borrowed(content);
    }
    let mut bytes = Vec::with_capacity(content.len());
    let mut after_zero = false;
    for byte in content {
        if !after_zero {
            bytes.push(*byte);
        }
        after_zero = !after_zero && *byte == 0;
    }
    Cow::Owned(bytes)
}

impl FromStr for Path {
    type Err = PathError;

    /// Reads a path of map keys: a JSON Pointer (RFC 6901) where the text starts with `/`,
    /// else keys parted by dots. The empty text is the root.
    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        let Some(pointer) = text.strip_prefix('/') else {
            let mut keys = text.split('.');
            return keys.try_fold(Self::root(), |path, key| match key {
                "" => Err(PathError::Malformed),
                key => path.key(key),
            });
        };
        let mut keys = pointer.split('/');
        keys.try_fold(Self::root(), |path, key| {
            let rest = key.replace("~0", "").replace("~1", "");
            match rest.contains('~') {
                true => Err(PathError::Malformed),
                false => path.key(&key.replace("~1", "/").replace("~0", "~")),
            }
        })
    }
}

impl fmt::Display for Path {
    /// Writes the JSON Pointer (RFC 6901) form; positions and tallies in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in self.segments() {
            f.write_str("/")?;
            match segment {
                Segment::Key(key) => f.write_str(&key.replace('~', "~0").replace('/', "~1"))?,
                Segment::Position(bytes) | Segment::Tally(bytes) => {
                    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(PathVisitor)
    }
}

struct PathVisitor;

impl Visitor<'_> for PathVisitor {
    type Value = Path;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a path")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Path, E> {
        Path::from_bytes(bytes).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Vec<u8> {
        [&[KEY], bytes, &[0]].concat()
    }

    #[test]
    fn segments_survive_the_encoding() {
        let segments = [
            Segment::Key("a\0\0b\0".into()),
            Segment::Key(String::new()),
            Segment::Position(vec![0, 0xff, 0, 0]),
            Segment::Tally(vec![1, 2, 3]),
        ];
        let path = segments
            .iter()
            .try_fold(Path::root(), |path, segment| path.child(segment))
            .unwrap();
        assert_eq!(path.segments(), segments);
        assert_eq!(path.depth(), 4);
        assert_eq!(Path::from_bytes(path.as_bytes()), Ok(path.clone()));
        let bytes = postcard::to_allocvec(&path).unwrap();
        assert_eq!(postcard::from_bytes::<Path>(&bytes), Ok(path));
    }

    #[test]
    fn bytes_that_are_no_path_are_refused() {
        let no_end = [KEY, b'a'];
        let escaped_end = [KEY, b'a', 0, 0xff];
        let unknown_tag = [4, b'a', 0];
        let stamp = [KEY, b'a', 0, 0];
        for bytes in [
            &no_end[..],
            &escaped_end,
            &unknown_tag,
            &stamp,
            &key(&[0xc3]),
        ] {
            assert_eq!(
                Path::from_bytes(bytes),
                Err(PathError::Malformed),
                "{bytes:?}"
            );
        }
        let split_character = key(&[0xc3, 0, 0xff, 0xa9]);
        assert_eq!(
            Path::from_bytes(&split_character),
            Err(PathError::Malformed)
        );
    }

    #[test]
    fn limits_hold_for_building_and_reading_alike() {
        let deepest = Path::of_keys(vec!["a"; MAX_PATH_DEPTH]).unwrap();
        let too_deep = Err(PathError::TooDeep(MAX_PATH_DEPTH + 1));
        assert_eq!(deepest.key("a"), too_deep);
        assert_eq!(
            Path::from_bytes(&key(b"a").repeat(MAX_PATH_DEPTH + 1)),
            too_deep
        );
        let longest = "a".repeat(MAX_PATH_BYTES - 2);
        assert!(Path::root().key(&longest).is_ok());
        let too_long = Err(PathError::TooLong(MAX_PATH_BYTES + 1));
        assert_eq!(Path::root().key(&format!("{longest}a")), too_long);
        assert_eq!(
            Path::from_bytes(&key(format!("{longest}a").as_bytes())),
            too_long
        );
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let path = |keys: &[&str]| Path::of_keys(keys).unwrap();
        assert!(Path::root().is_prefix_of(&path(&["a"])));
        assert!(path(&["a"]).is_prefix_of(&path(&["a"])));
        assert!(path(&["a"]).is_prefix_of(&path(&["a", "b"])));
        assert!(!path(&["a"]).is_prefix_of(&path(&["a\0b"])));
        assert!(!path(&["a", "b"]).is_prefix_of(&path(&["a"])));
    }

    #[test]
    fn ancestors_go_from_the_root_down() {
        let path = |keys: &[&str]| Path::of_keys(keys).unwrap();
        let deep = path(&["a\0", "b", "c"]);
        let above = [Path::root(), path(&["a\0"]), path(&["a\0", "b"])];
        assert_eq!(deep.ancestors(), above);
        assert_eq!(deep.parent(), Some(above[2].clone()));
        assert_eq!(Path::root().parent(), None);
        let inner: Vec<_> = deep.inner_prefixes().collect();
        assert_eq!(inner, [above[1].as_bytes(), above[2].as_bytes()]);
    }

    #[test]
    fn pointers_and_dotted_keys_are_read() {
        let path = |keys: &[&str]| Path::of_keys(keys).unwrap();
        assert_eq!("".parse(), Ok(Path::root()));
        assert_eq!("/".parse(), Ok(path(&[""])));
        assert_eq!("/a.b/~01~1".parse(), Ok(path(&["a.b", "~1/"])));
        assert_eq!("a.b/c".parse(), Ok(path(&["a", "b/c"])));
        assert_eq!("a..b".parse::<Path>(), Err(PathError::Malformed));
        assert_eq!("/a~2".parse::<Path>(), Err(PathError::Malformed));
        assert_eq!("/a~".parse::<Path>(), Err(PathError::Malformed));
        let odd = path(&["a~/b", "", "c"]);
        assert_eq!(odd.to_string().parse(), Ok(odd));
    }
}
