//! Owns the targets of the kinds: what a payload of a peer may do to a view.

use eidetica_core::{Arrival, EntryId, Payload, PublicKey, SecretKey, Timestamp};
use eidetica_crdt::{Cause, Crdt, Doc, Past, Row, RowRange, TableKind, View};

/// A payload of a document. What is accepted applies whole to any view, and two entries with it
/// that have not seen each other leave the same rows in either order.
///
/// # Panics
/// A promise is broken.
pub fn doc_payload(data: &[u8]) -> bool {
    apply::<Doc>(data)
}

/// A payload of a table, of which the same holds as of a [`doc_payload`].
///
/// # Panics
/// A promise is broken.
pub fn table_payload(data: &[u8]) -> bool {
    apply::<TableKind>(data)
}

/// The past of an entry that has seen nothing.
struct Nothing;

impl Past for Nothing {
    fn contains(&self, _: Arrival) -> bool {
        false
    }
}

fn apply<C: Crdt>(data: &[u8]) -> bool {
    let Ok(payload) = Payload::decode(data) else {
        return false;
    };
    let Ok(operations) = payload.decode_operations::<C::Op>() else {
        return false;
    };
    if payload.kind.as_str() != C::KIND || C::check(&operations).is_err() {
        return false;
    }
    let author = SecretKey::from_bytes(&[1; 32]).public();
    let rows = |order: [u64; 2]| rows_of::<C>(&operations, author, order);
    assert_eq!(rows([0, 1]), rows([1, 0]));
    true
}

/// The rows that two entries with the same operations leave, in an order.
fn rows_of<C: Crdt>(operations: &[C::Op], author: PublicKey, order: [u64; 2]) -> Vec<Row> {
    let mut view = View::empty();
    for number in order {
        for (index, operation) in (0..).zip(operations) {
            let cause = Cause {
                entry: EntryId::from_bytes([number as u8; 32]),
                index,
                timestamp: Timestamp::from_millis(number),
                author,
                arrival: Arrival(number),
                past: &Nothing,
            };
            let applied = C::apply(&mut view, &cause, operation);
            assert_eq!(applied, Ok(()), "every row is loaded");
        }
    }
    let rows = view.scan(&RowRange::all()).expect("every row is loaded");
    rows.cloned().collect()
}
