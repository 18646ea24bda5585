//! Owns strategies of document operations: few paths, so that they meet, and all their oddities.
//! What they do is the document's.

use eidetica_core::{Dot, EntryId, SecretKey};
use eidetica_crdt::{
    Container, Crdt, Creator, Doc, DocOp, Item, Nonce, Path, Position, Scalar, Segment,
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
};

/// The operations of one entry, such that [`Doc`] takes them: sets, deletes (at the root too) and
/// inits at nested paths, subtrees written as `Delete`, `Init` and `Set` below, insertions at few
/// positions, and tallies of new chains and of those that entries of
/// [`histories`](super::histories) began.
pub fn doc_operations() -> impl Strategy<Value = Vec<DocOp>> + Clone {
    let piece = prop_oneof![
        4 => (doc_paths(), scalars()).prop_map(|(path, value)| vec![DocOp::Set { path, value }]),
        2 => doc_paths().prop_map(|path| vec![DocOp::Delete { path }]),
        2 => (doc_paths(), containers()).prop_map(|(path, container)| {
            vec![DocOp::Init { path, container }]
        }),
        2 => subtrees(),
        2 => insertions().prop_map(|op| vec![op]),
        2 => tallies().prop_map(|op| vec![op]),
        1 => Just(vec![DocOp::Delete { path: Path::root() }]),
    ];
    vec(piece, 0..4).prop_map(|pieces| {
        let mut operations = Vec::new();
        for op in pieces.into_iter().flatten() {
            operations.push(op);
            if Doc::check(&operations).is_err() {
                operations.pop();
            }
        }
        operations
    })
}

/// Paths of one to four segments: mostly keys, some of which are alike in their first bytes, and
/// list positions.
pub fn doc_paths() -> impl Strategy<Value = Path> + Clone {
    vec(segments(), 1..5).prop_map(|segments| {
        segments
            .iter()
            .try_fold(Path::root(), |path, segment| path.child(segment))
            .expect("four short segments are a path")
    })
}

fn segments() -> impl Strategy<Value = Segment> + Clone {
    prop_oneof![
        6 => Just(Segment::Key("a".into())),
        3 => Just(Segment::Key("b".into())),
        1 => Just(Segment::Key("a\0".into())),
        1 => Just(Segment::Key(String::new())),
        2 => positions().prop_map(|position| Segment::Position(position.as_bytes().to_vec())),
    ]
}

/// Three positions: one, the next in its row, and one that another author put between them.
fn positions() -> impl Strategy<Value = Position> + Clone {
    let creator = |seed| {
        let author = SecretKey::from_bytes(&[seed; 32]).public();
        Creator::new(&author, Nonce::from_bytes([seed; 6]))
    };
    let first = Position::between(None, None, creator(1), 2);
    let second = first.nth(1).expect("integers go on");
    let between = Position::between(Some(&first), Some(&second), creator(2), 2);
    prop_oneof![Just(first), Just(second), Just(between)]
}

fn insertions() -> impl Strategy<Value = DocOp> + Clone {
    let items = prop_oneof![
        3 => scalars().prop_map(Item::Scalar),
        1 => containers().prop_map(Item::Container),
    ];
    let places = (doc_paths(), positions());
    (places, vec(items, 1..4)).prop_map(|((list, position), values)| DocOp::Insert {
        list,
        position,
        values,
    })
}

fn tallies() -> impl Strategy<Value = DocOp> + Clone {
    let chains = prop_oneof![
        1 => Just(None),
        2 => (0..24_usize, 0..3_u16).prop_map(|(number, index)| {
            let entry = EntryId::of(&number.to_be_bytes());
            Some(Dot { entry, index })
        }),
    ];
    let totals = prop_oneof![-9..9_i128, any::<i128>()];
    (doc_paths(), chains, totals).prop_map(|(path, chain, total)| DocOp::Tally {
        path,
        chain,
        total,
    })
}

fn containers() -> impl Strategy<Value = Container> + Clone {
    prop_oneof![3 => Just(Container::Map), 1 => Just(Container::List)]
}

fn scalars() -> impl Strategy<Value = Scalar> + Clone {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        any::<i128>().prop_map(Scalar::Int),
        (-4_i8..4).prop_map(|n| Scalar::Float(f64::from(n) / 4.0)),
        Just(Scalar::Float(-0.0)),
        "[a-c]{0,3}".prop_map(Scalar::Text),
        vec(any::<u8>(), 0..4).prop_map(Scalar::Bytes),
    ]
}

fn subtrees() -> impl Strategy<Value = Vec<DocOp>> + Clone {
    let children = vec((segments(), scalars()), 0..3);
    (doc_paths(), containers(), children).prop_map(|(path, container, children)| {
        let mut operations = vec![
            DocOp::Delete { path: path.clone() },
            DocOp::Init {
                path: path.clone(),
                container,
            },
        ];
        for (segment, value) in children {
            if let Ok(path) = path.child(&segment) {
                operations.push(DocOp::Set { path, value });
            }
        }
        operations
    })
}
