//! Owns the order of values: an encoding whose bytes are ordered as the values are, for indexes.
//! Which values an index has, and where its rows are, is the store's.

use eidetica_core::{PayloadHash, limits::MAX_PATH_DEPTH};

use crate::{Value, leaf::write_value};

const NULL: u8 = 0x10;
const FALSE: u8 = 0x20;
const TRUE: u8 = 0x21;
const NEGATIVE_INFINITY: u8 = 0x30;
const NEGATIVE: u8 = 0x31;
const ZERO: u8 = 0x32;
const POSITIVE: u8 = 0x33;
const INFINITY: u8 = 0x34;
const NAN: u8 = 0x35;
const TEXT: u8 = 0x40;
const BYTES: u8 = 0x50;
const LIST: u8 = 0x60;
const MAP: u8 = 0x70;

/// After a zero: the zero belongs to the bytes.
const ESCAPED: u8 = 0xff;
/// After a zero: the bytes end here.
const END: u8 = 1;
/// After a zero: the bytes go on; their hash follows.
const CUT: u8 = 2;
/// Added to binary exponents, so that they are positive; the least is -1074.
const EXPONENT_BIAS: i32 = 1100;

/// The bytes of a text or byte string by which it is ordered; what is longer is told apart by
/// its SHA-256. A bound, as every engine's keys have one.
pub const SORTED_BYTES: usize = 256;

/// Values one after the other, in bytes that are ordered as the values are: by the first that
/// differs.
///
/// Null comes first, then false, true, numbers, text, bytes, lists and maps. Integers and floats
/// are compared as numbers, so 1 and 1.0 are equal here, and so are 0.0 and -0.0. Text and bytes
/// are in the order of their bytes; of those longer than [`SORTED_BYTES`] that begin alike the
/// order means nothing, but only equal ones are equal. The order of lists among themselves, and
/// of maps, means nothing either.
///
/// No key is the beginning of another with as many values, so the keys that begin with given
/// values stand together.
///
/// ```
/// use eidetica_crdt::SortKey;
///
/// let key = |n: f64, text: &str| SortKey::of([&n.into(), &text.into()]);
/// assert!(key(-2.5, "b") < key(1.0, "a"));
/// assert!(key(1.0, "a") < key(1.0, "ab"));
/// assert_eq!(key(1.0, "a"), SortKey::of([&1.into(), &"a".into()]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SortKey(Vec<u8>);

impl SortKey {
    /// A key of no values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The key of some values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut key = Self::new();
        values.into_iter().for_each(|value| key.push(value));
        key
    }

    /// A key of bytes that one had.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Adds a value behind the others.
    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.push(NULL),
            Value::Bool(b) => self.0.push(if *b { TRUE } else { FALSE }),
            Value::Int(n) => self.push_int(*n),
            Value::Float(x) => self.push_float(*x),
            Value::Text(text) => self.push_bytes(TEXT, text.as_bytes()),
            Value::Bytes(bytes) => self.push_bytes(BYTES, bytes),
            Value::List(_) => self.push_container(LIST, value),
            Value::Map(_) => self.push_container(MAP, value),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a value is null.
    pub fn has_null(&self) -> bool {
        let mut rest = self.0.as_slice();
        while let Some((tag, after)) = rest.split_first() {
            let skipped = match *tag {
                NULL => return true,
                NEGATIVE => skip_number(after, 1),
                POSITIVE => skip_number(after, 0),
                TEXT | BYTES | LIST | MAP => skip_bytes(after),
                _ => Some(after),
            };
            rest = skipped.unwrap_or_default();
        }
        false
    }

    fn push_int(&mut self, n: i128) {
        let magnitude = n.unsigned_abs();
        if n == 0 {
            return self.0.push(ZERO);
        }
        let zeros = magnitude.leading_zeros();
        // The leading one is told by the exponent.
        let fraction = magnitude << zeros << 1;
        self.push_number(n < 0, 127 - zeros as i32, fraction);
    }

    fn push_float(&mut self, x: f64) {
        if x.is_nan() {
            return self.0.push(NAN);
        }
        if x.is_infinite() {
            let is_negative = x < 0.0;
            return self.0.push(if is_negative {
                NEGATIVE_INFINITY
            } else {
                INFINITY
            });
        }
        if x == 0.0 {
            return self.0.push(ZERO);
        }
        let bits = x.to_bits();
        let mantissa = bits & ((1 << 52) - 1);
        let (exponent, fraction) = match (bits >> 52 & 0x7ff) as i32 {
            0 => {
                let zeros = mantissa.leading_zeros();
                let fraction = u128::from(mantissa << zeros << 1) << 64;
                (63 - zeros as i32 - 1074, fraction)
            }
            exponent => (exponent - 1023, u128::from(mantissa) << 76),
        };
        self.push_number(x < 0.0, exponent, fraction);
    }

    /// A number ±2^exponent · 1.fraction: the exponent, then the fraction in groups of seven
    /// bits, each in a byte that tells whether more follows. All is turned round for negative
    /// numbers.
    fn push_number(&mut self, is_negative: bool, exponent: i32, mut fraction: u128) {
        self.0.push(if is_negative { NEGATIVE } else { POSITIVE });
        let start = self.0.len();
        let biased = (exponent + EXPONENT_BIAS) as u16;
        self.0.extend_from_slice(&biased.to_be_bytes());
        loop {
            let group = (fraction >> 121) as u8;
            fraction <<= 7;
            self.0.push(group << 1 | u8::from(fraction != 0));
            if fraction == 0 {
                break;
            }
        }
        if is_negative {
            self.0[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    fn push_bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        let sorted = &bytes[..bytes.len().min(SORTED_BYTES)];
        for byte in sorted {
            self.0.push(*byte);
            if *byte == 0 {
                self.0.push(ESCAPED);
            }
        }
        self.0.push(0);
        if sorted.len() == bytes.len() {
            return self.0.push(END);
        }
        self.0.push(CUT);
        self.0.extend_from_slice(PayloadHash::of(bytes).as_bytes());
    }

    fn push_container(&mut self, tag: u8, value: &Value) {
        let mut bytes = Vec::new();
        match write_value(&mut bytes, value, MAX_PATH_DEPTH) {
            Ok(()) => self.push_bytes(tag, &bytes),
            // What no row can hold is equal to nothing that one does.
            Err(_) => self.0.push(NAN),
        }
    }
}

/// What follows a number; the lowest bit of its last byte is `last`.
fn skip_number(bytes: &[u8], last: u8) -> Option<&[u8]> {
    let fraction = bytes.get(2..)?;
    let end = fraction.iter().position(|byte| byte & 1 == last)?;
    fraction.get(end + 1..)
}

/// What follows bytes.
fn skip_bytes(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let zero = bytes.iter().position(|byte| *byte == 0)?;
        let (after, rest) = bytes.get(zero + 1..)?.split_first()?;
        match *after {
            ESCAPED => bytes = rest,
            CUT => return rest.get(32..),
            _ => return Some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::{
        collection::vec,
        prelude::{Just, Strategy, any},
        prop_assert_eq, prop_oneof, proptest,
    };

    use super::*;

    /// The order of the docs, written another way; `None` where it means nothing.
    fn compare(a: &Value, b: &Value) -> Option<Ordering> {
        let (class_a, class_b) = (class(a), class(b));
        if class_a != class_b {
            return Some(class_a.cmp(&class_b));
        }
        match (a, b) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
            (Value::Int(a), Value::Float(b)) => Some(compare_numbers(*a, *b)),
            (Value::Float(a), Value::Int(b)) => Some(compare_numbers(*b, *a).reverse()),
            (Value::Text(a), Value::Text(b)) => compare_bytes(a.as_bytes(), b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => compare_bytes(a, b),
            _ => is_same(a, b).then_some(Ordering::Equal),
        }
    }

    /// Whether values are one, not merely equal: lists of 0.0 and -0.0 are two.
    fn is_same(a: &Value, b: &Value) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    fn class(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 2,
            Value::Text(_) => 3,
            Value::Bytes(_) => 4,
            Value::List(_) => 5,
            Value::Map(_) => 6,
        }
    }

    fn compare_numbers(n: i128, x: f64) -> Ordering {
        let limit = 2_f64.powi(127);
        if x >= limit {
            return Ordering::Less;
        }
        if x < -limit {
            return Ordering::Greater;
        }
        let floor = x.floor();
        n.cmp(&(floor as i128)).then(match x == floor {
            true => Ordering::Equal,
            false => Ordering::Less,
        })
    }

    fn compare_bytes(a: &[u8], b: &[u8]) -> Option<Ordering> {
        let begin = |bytes: &[u8]| bytes[..bytes.len().min(SORTED_BYTES)].to_vec();
        match begin(a).cmp(&begin(b)) {
            Ordering::Equal if a == b => Some(Ordering::Equal),
            Ordering::Equal => None,
            order => Some(order),
        }
    }

    fn floats() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("a number", |x| !x.is_nan()),
            (-9..9_i8).prop_map(|n| f64::from(n) / 2.0),
            (0..70_u64).prop_map(f64::from_bits),
            any::<i128>().prop_map(|n| n as f64),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
        ]
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ab\0]{0,4}".boxed(),
            (250..260_usize, "[ab]?")
                .prop_map(|(n, end)| "a".repeat(n) + &end)
                .boxed(),
        ];
        let scalars = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-5..5_i128).prop_map(Value::Int),
            any::<i128>().prop_map(Value::Int),
            (0..128_u32, -1..2_i128).prop_map(|(shift, n)| Value::Int(n << shift)),
            floats().prop_map(Value::Float),
            text.prop_map(Value::Text),
            vec(prop_oneof![Just(0), Just(1), Just(0xff)], 0..4).prop_map(Value::Bytes),
        ];
        scalars.prop_recursive(2, 4, 2, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(Value::List),
                inner.prop_map(|value| Value::from([("k", value)])),
            ]
        })
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_values_are(a in values(), b in values()) {
            let (key_a, key_b) = (SortKey::of([&a]), SortKey::of([&b]));
            match compare(&a, &b) {
                Some(order) => prop_assert_eq!(key_a.cmp(&key_b), order),
                None => prop_assert_eq!(key_a == key_b, is_same(&a, &b)),
            }
        }

        #[test]
        fn floats_and_the_integers_next_to_them_are_ordered_as_numbers(
            x in floats(),
            step in -1..2_i128,
        ) {
            let n = (x as i128).saturating_add(step);
            let order = SortKey::of([&n.into()]).cmp(&SortKey::of([&x.into()]));
            prop_assert_eq!(order, compare_numbers(n, x));
        }

        #[test]
        fn compound_keys_are_ordered_by_the_first_value_that_differs(
            a in (values(), values()),
            b in (values(), values()),
        ) {
            let key = |(first, second): &(Value, Value)| SortKey::of([first, second]);
            let first = SortKey::of([&a.0]).cmp(&SortKey::of([&b.0]));
            let second = SortKey::of([&a.1]).cmp(&SortKey::of([&b.1]));
            prop_assert_eq!(key(&a).cmp(&key(&b)), first.then(second));
        }

        #[test]
        fn no_key_is_the_beginning_of_another(a in values(), b in values()) {
            let (a, b) = (SortKey::of([&a]), SortKey::of([&b]));
            prop_assert_eq!(b.as_bytes().starts_with(a.as_bytes()), a == b);
        }
    }

    proptest! {
        #[test]
        fn null_is_found_among_any_values(values in vec(values(), 0..4)) {
            let has_null = values.contains(&Value::Null);
            prop_assert_eq!(SortKey::of(&values).has_null(), has_null);
        }
    }

    #[test]
    fn keys_are_bounded() {
        let zeros = Value::Bytes(vec![0; 1 << 20]);
        assert_eq!(
            SortKey::of([&zeros]).as_bytes().len(),
            1 + 2 * SORTED_BYTES + 2 + 32
        );
    }

    #[test]
    fn keys_have_their_golden_bytes() {
        let cases: [(Value, &[u8]); 6] = [
            (Value::Null, &[0x10]),
            (true.into(), &[0x21]),
            (5.into(), &[0x33, 4, 0x4e, 0x40]),
            ((-5).into(), &[0x31, !4, !0x4e, !0x40]),
            (0.5.into(), &[0x33, 4, 0x4b, 0]),
            ("a\0".into(), &[0x40, b'a', 0, 0xff, 0, 1]),
        ];
        for (value, bytes) in cases {
            assert_eq!(SortKey::of([&value]).as_bytes(), bytes, "{value:?}");
        }
    }
}
