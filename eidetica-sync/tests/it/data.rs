//! Owns the tests of data streams.

use std::{collections::HashMap, sync::Arc};

use eidetica_core::{
    Arrival, Change, DatabaseId, EntryBuilder, Header, Height, Origin, PayloadHash, SecretKey,
    Signature, SignedEntry, StoreName, Timestamp,
};
use eidetica_sync::{
    Answer, Cursor, DataFrame, Decoder, Encoder, Epoch, Mark, ProtocolError, limits,
};
use proptest::prelude::*;

use crate::golden::{assert_golden, kept};

const START: Cursor = Cursor {
    epoch: Epoch([1; 16]),
    arrival: Arrival(0),
};

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n + 1; 32])
}

fn store(name: &str) -> StoreName {
    StoreName::new(name).unwrap()
}

fn root() -> SignedEntry {
    EntryBuilder::root([9; 16], Timestamp::from_millis(1_700_000_000_000))
        .with_change(store("_auth"), vec![1, 2, 3])
        .sign(&key(0))
        .unwrap()
}

fn database() -> DatabaseId {
    DatabaseId::from(root().id())
}

/// A child of entries of `entries`, by place.
fn child(entries: &[SignedEntry], parents: &[usize], payload: &[u8], n: u8) -> SignedEntry {
    let ids = parents.iter().map(|place| entries[*place].id());
    let height = parents
        .iter()
        .map(|place| entries[*place].header().height)
        .max()
        .unwrap();
    let millis = 1_700_000_000_000 + 1000 * entries.len() as u64;
    EntryBuilder::child(database(), ids, height, Timestamp::from_millis(millis))
        .with_seq(entries.len() as u64 / 2)
        .with_change(store("notes"), payload)
        .sign(&key(n))
        .unwrap()
}

fn chain(length: usize) -> Vec<SignedEntry> {
    let mut entries = vec![root()];
    while entries.len() < length {
        let entry = child(
            &entries,
            &[entries.len() - 1],
            &[7; 20],
            entries.len() as u8 % 3,
        );
        entries.push(entry);
    }
    entries
}

fn encode(entries: &[SignedEntry]) -> Vec<DataFrame> {
    let mut encoder = Encoder::new(START);
    let mut frames = Vec::new();
    for (arrival, entry) in entries.iter().enumerate() {
        encoder.push(entry, Arrival(arrival as u64));
        frames.extend(std::iter::from_fn(|| encoder.take_frame()));
    }
    frames.extend(std::iter::from_fn(|| encoder.finish_frame()));
    frames
}

fn decode(frames: &[DataFrame]) -> Result<Vec<SignedEntry>, ProtocolError> {
    let mut decoder = Decoder::new(database());
    let mut entries = Vec::new();
    for frame in frames {
        entries.extend(decoder.feed(frame)?.entries);
    }
    Ok(entries)
}

/// The same frame without compression.
fn stored(frame: &DataFrame) -> DataFrame {
    let mut stored = frame.clone();
    if frame.compressed {
        stored.piece = zstd::bulk::decompress(&frame.piece, frame.raw_len as usize).unwrap();
        stored.compressed = false;
    }
    stored
}

fn assert_round_trip(entries: &[SignedEntry]) {
    let frames = encode(entries);
    for frame in &frames {
        let encoded = Answer::Data(frame.clone()).encode();
        assert!(encoded.len() <= limits::MAX_FRAME_BYTES);
        assert_eq!(Answer::decode(&encoded), Ok(Answer::Data(frame.clone())));
    }
    let decoded = decode(&frames).unwrap();
    assert_eq!(decoded.len(), entries.len());
    for (decoded, entry) in decoded.iter().zip(entries) {
        assert!(decoded == entry, "{:?} differs", entry.id());
    }
}

fn small_stream() -> Vec<SignedEntry> {
    let mut entries = chain(5);
    entries.push(child(&entries, &[0], b"aside", 4));
    entries.push(child(&entries, &[4, 5], b"merge", 4));
    let absent = entries.pop().unwrap();
    let (header, signature) = (absent.header().clone(), *absent.signature());
    entries.push(SignedEntry::from_parts(header, signature, vec![None]).unwrap());
    entries
}

#[test]
fn golden_stream() {
    let frames: Vec<_> = encode(&small_stream()).iter().map(stored).collect();
    let [frame] = &frames[..] else {
        panic!("one frame")
    };
    let frame = Answer::Data(frame.clone()).encode().to_vec();
    assert_golden("stream", &[("stored", frame)]);
}

#[test]
fn golden_compressed_frame_decodes() {
    // What this zstd makes may change with its version; what it reads may not.
    let frame = encode(&small_stream()).remove(0);
    let compressed = DataFrame {
        piece: zstd::bulk::compress(&frame.piece, 1).unwrap(),
        compressed: true,
        ..frame.clone()
    };
    let kept = kept("compressed", &Answer::Data(compressed).encode());
    let Ok(Answer::Data(kept)) = Answer::decode(&kept) else {
        panic!("a data frame")
    };
    assert!(kept.compressed);
    assert_eq!(stored(&kept), stored(&frame));
    assert_eq!(decode(&[kept]).unwrap(), small_stream());
}

#[test]
fn small_pieces_are_stored_and_larger_ones_compressed() {
    for (entries, is_compressed) in [(1, false), (2, false), (20, true)] {
        let frame = encode(&chain(entries)).remove(0);
        assert_eq!(frame.compressed, is_compressed, "{entries}");
        assert_eq!(decode(&[frame]).unwrap(), chain(entries));
    }
}

#[test]
fn an_empty_stream_has_no_frames_and_ends_where_it_began() {
    let mut encoder = Encoder::new(START);
    assert_eq!(encoder.finish_frame(), None);
    assert!(Decoder::new(database()).is_at(&encoder.mark()));
}

#[test]
fn entries_with_the_most_parents_and_stores_round_trip() {
    let mut entries = vec![root()];
    for n in 0..64 {
        entries.push(child(&entries, &[0], &[n], n % 5));
    }
    entries.push(child(&entries, &(1..65).collect::<Vec<_>>(), b"all", 1));
    let top = entries.len() - 1;
    let mut builder = EntryBuilder::child(
        database(),
        [entries[top].id()],
        entries[top].header().height,
        Timestamp::from_bits(u64::MAX),
    )
    .with_seq(u64::MAX);
    for n in 0..64 {
        builder = builder.with_change(store(&format!("{n:064}")), vec![n; n as usize]);
    }
    entries.push(builder.sign(&key(3)).unwrap());
    let last = entries.len() - 1;
    let merge = EntryBuilder::child(
        database(),
        [entries[last].id()],
        entries[last].header().height,
        Timestamp::from_bits(0),
    );
    entries.push(merge.sign(&key(3)).unwrap());
    assert_round_trip(&entries);
}

#[test]
fn the_largest_payloads_and_entries_span_frames() {
    let noise = |seed: u64, len: usize| -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let mut entries = chain(3);
    entries.push(child(&entries, &[2], &noise(1, 1 << 20), 1));
    let mut builder = EntryBuilder::child(
        database(),
        [entries[3].id()],
        entries[3].header().height,
        Timestamp::from_millis(5),
    );
    for n in 0..4 {
        builder = builder.with_change(store(&format!("s{n}")), noise(n + 2, 1 << 20));
    }
    entries.push(builder.sign(&key(2)).unwrap());
    entries.push(child(&entries, &[4], b"after", 0));
    assert_round_trip(&entries);
    let frames = encode(&entries);
    assert!(frames.len() > 20);
    assert!(frames.last().unwrap().mark.is_some());
}

#[test]
fn a_record_may_end_anywhere_in_a_frame() {
    let full = 240 * 1024;
    for extra in (100..200).chain([full]) {
        let mut entries = vec![root()];
        entries.push(child(&entries, &[0], &vec![3; full - 200 + extra], 1));
        entries.push(child(&entries, &[1], b"after", 1));
        let decoded = decode(&encode(&entries)).unwrap();
        assert!(decoded == entries, "extra {extra}");
    }
}

#[test]
fn marks_lead_beyond_what_was_sent_and_skipped() {
    let entries = chain(3);
    let mut encoder = Encoder::new(START);
    encoder.push(&entries[0], Arrival(4));
    encoder.skip(Arrival(7));
    encoder.push(&entries[1], Arrival(9));
    encoder.skip(Arrival(11));
    let frame = encoder.finish_frame().unwrap();
    let mark = frame.mark.unwrap();
    assert_eq!((mark.cursor.arrival, mark.count), (Arrival(10), 2));
    assert_eq!(encoder.mark().cursor.arrival, Arrival(12));
    let mut decoder = Decoder::new(database());
    let batch = decoder.feed(&frame).unwrap();
    assert_eq!((batch.mark, batch.entries.len()), (Some(mark), 2));
    assert!(decoder.is_at(&encoder.mark()));
    assert!(!decoder.is_at(&Mark {
        count: 3,
        ..encoder.mark()
    }));
}

#[test]
fn frames_stay_within_their_limit_and_full_ones_within_a_mark() {
    let frames = encode(&chain(9000));
    assert!(frames.len() > 2);
    for frame in &frames {
        assert!(frame.mark.is_some());
        assert!(frame.raw_len as usize + frame.signatures.len() <= 240 * 1024);
    }
}

#[test]
fn entries_with_parents_outside_of_the_stream_state_their_height() {
    let mut entries = chain(4);
    entries.push(child(&entries, &[0, 3], b"merge", 1));
    let frames = encode(&entries[2..]);
    let batch = Decoder::new(database()).feed(&frames[0]).unwrap();
    assert_eq!(batch.entries, entries[2..]);
    assert!(batch.mark.is_some());
}

/// Entries with a signature that nobody made; streams do not look at them.
fn unsigned(length: usize, parent_of_last: usize) -> Vec<SignedEntry> {
    let mut entries = vec![root()];
    let author = key(1).public();
    while entries.len() < length {
        let place = entries.len();
        let parent = if place == length - 1 {
            parent_of_last
        } else {
            place - 1
        };
        let header = Header {
            version: 1,
            origin: Origin::In(database()),
            parents: vec![entries[parent].id()],
            height: Height(entries[parent].header().height.0 + 1),
            seq: place as u64,
            timestamp: Timestamp::from_millis(place as u64),
            author,
            changes: Vec::new(),
        };
        let signature = Signature::from_bytes([place as u8; 64]);
        entries.push(SignedEntry::from_parts(header, signature, Vec::new()).unwrap());
    }
    entries
}

#[test]
fn the_furthest_parent_is_named_by_distance_and_a_further_one_by_id() {
    let length = limits::MAX_BACK_DISTANCE + 3;
    assert_eq!(decode(&encode(&unsigned(length, 2))).unwrap().len(), length);

    let entries = unsigned(length, 1);
    assert_eq!(decode(&encode(&entries)).unwrap(), entries);
}

#[test]
fn another_database_s_root_is_refused() {
    let other = DatabaseId::from_bytes([3; 32]);
    let mut decoder = Decoder::new(other);
    let outcome = decoder.feed(&encode(&[root()])[0]);
    assert_eq!(outcome, Err(ProtocolError::WrongRoot));
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_changes_no_entry() {
    let entries = small_stream();
    let frame = stored(&encode(&entries)[0]);
    let bytes = Answer::Data(frame).encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            let Ok(Answer::Data(frame)) = Answer::decode(&damaged) else {
                continue;
            };
            let mut decoder = Decoder::new(database());
            if let Ok(batch) = decoder.feed(&frame) {
                assert_eq!(batch.entries, entries, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn a_compressed_frame_with_a_flipped_bit_never_panics() {
    let bytes = Answer::Data(encode(&small_stream()).remove(0)).encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 4;
        if let Ok(Answer::Data(frame)) = Answer::decode(&damaged) {
            assert!(decode(&[frame]).is_err() || at > 0);
        }
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    let frame = stored(&encode(&small_stream())[0]);
    for n in 0..frame.piece.len() {
        let mut cut = frame.clone();
        cut.piece.truncate(n);
        cut.raw_len = n as u32;
        assert!(decode(&[cut]).is_err(), "cut at {n}");
    }
    let mut unsigned = frame.clone();
    unsigned.signatures.truncate(64);
    assert!(decode(&[unsigned]).is_err());
    let mut unmarked = frame;
    unmarked.mark = None;
    assert!(decode(&[unmarked]).is_err());
}

fn raw(piece: Vec<u8>, signatures: usize) -> DataFrame {
    DataFrame {
        signatures: vec![0; 64 * signatures],
        raw_len: piece.len() as u32,
        piece,
        compressed: false,
        mark: None,
    }
}

#[test]
fn a_declared_length_over_the_limit_is_refused() {
    let bomb = DataFrame {
        raw_len: u32::MAX,
        compressed: true,
        ..raw(vec![0; 9], 0)
    };
    let found = u32::MAX as usize;
    assert_eq!(
        decode(&[bomb]),
        Err(ProtocolError::TooLarge(
            "piece of a frame",
            limits::MAX_PIECE_BYTES,
            found
        ))
    );
    let lying = DataFrame {
        raw_len: 8,
        ..raw(vec![0; 9], 0)
    };
    assert_eq!(decode(&[lying]), Err(ProtocolError::Compression));
}

#[test]
fn a_compressed_piece_that_holds_other_than_it_declares_is_refused() {
    let piece = zstd::bulk::compress(&vec![0; 100 << 20], 1).unwrap();
    assert!(piece.len() < limits::MAX_FRAME_BYTES);
    for raw_len in [0, 1, limits::MAX_PIECE_BYTES as u32] {
        let bomb = DataFrame {
            raw_len,
            compressed: true,
            ..raw(piece.clone(), 0)
        };
        assert_eq!(decode(&[bomb]), Err(ProtocolError::Compression));
    }
    let piece = zstd::bulk::compress(&[1; 100], 1).unwrap();
    let longer = DataFrame {
        raw_len: 101,
        compressed: true,
        ..raw(piece, 0)
    };
    assert_eq!(decode(&[longer]), Err(ProtocolError::Compression));
}

#[test]
fn a_record_that_never_ends_is_refused() {
    let mut decoder = Decoder::new(database());
    let frame = raw(vec![1; limits::MAX_PIECE_BYTES], 0);
    let fed = (0..100)
        .take_while(|_| decoder.feed(&frame).is_ok())
        .count();
    assert_eq!(fed, limits::MAX_RECORD_BYTES / limits::MAX_PIECE_BYTES);
}

#[test]
fn records_with_wild_numbers_are_refused() {
    let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let author = key(0).public();
    let author = author.as_bytes();
    let tail: &[u8] = &[0, 0, 0, 0];
    let parents_max = [&max[..], &[0; 64]].concat();
    let distance_max = [&[1], &max[..], &[0], author, tail].concat();
    let distance_ahead = [&[1, 1, 0][..], author, tail].concat();
    let unknown_author = [&[1, 1, 7][..], author, tail].concat();
    let bad_author = [&[1, 1, 0][..], &[0xff; 32], tail].concat();
    let counter_max = [&[1, 1, 0][..], author, &[0, 0], &max, &[0]].concat();
    let payload_max = [&[1, 1, 0][..], author, &[0, 0, 0, 1, 0, 1, b'a'], &max].concat();
    let bad_store = [&[1, 1, 0][..], author, &[0, 0, 0, 1, 0, 1, b'A', 0]].concat();
    let cases = [
        parents_max,
        distance_max,
        distance_ahead,
        unknown_author,
        bad_author,
        counter_max,
        payload_max,
        bad_store,
    ];
    for (n, case) in cases.into_iter().enumerate() {
        let mut frame = raw(case, 1);
        frame.mark = Some(Encoder::new(START).mark());
        assert!(decode(&[frame]).is_err(), "case {n}");
    }
}

#[test]
fn a_mark_may_not_go_back() {
    let entries = chain(2);
    let later = Cursor {
        arrival: Arrival(50),
        ..START
    };
    let mut encoder = Encoder::new(later);
    encoder.push(&entries[0], Arrival(60));
    let first = encoder.finish_frame().unwrap();
    encoder.push(&entries[1], Arrival(61));
    let second = encoder.finish_frame().unwrap();
    assert_eq!(decode(&[first.clone(), second.clone()]).unwrap(), entries);
    let mut back = second;
    back.mark.as_mut().unwrap().cursor.arrival = Arrival(3);
    assert_eq!(decode(&[first, back]), Err(ProtocolError::Mark(2)));
}

/// What a generated entry is made of.
#[derive(Debug, Clone)]
struct Shape {
    parents: Vec<prop::sample::Index>,
    author: u8,
    seq: u64,
    bits: u64,
    payloads: Vec<(u8, Vec<u8>, bool)>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let payload = (
        0..9u8,
        prop::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
    );
    (
        prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        0..6u8,
        prop_oneof![0..9u64, any::<u64>()],
        prop_oneof![0..1u64 << 20, any::<u64>()],
        prop::collection::vec(payload, 0..4),
    )
        .prop_map(|(parents, author, seq, bits, payloads)| Shape {
            parents,
            author,
            seq,
            bits,
            payloads,
        })
}

fn build(shapes: Vec<Shape>) -> Vec<SignedEntry> {
    let mut entries = vec![root()];
    for shape in shapes {
        let mut parents: Vec<_> = shape
            .parents
            .iter()
            .map(|index| index.get(&entries))
            .collect();
        parents.sort_by_key(|entry| entry.id());
        parents.dedup_by_key(|entry| entry.id());
        let height = parents
            .iter()
            .map(|entry| entry.header().height.0)
            .max()
            .unwrap()
            + 1;
        let payloads: HashMap<_, _> = shape
            .payloads
            .into_iter()
            .map(|(n, bytes, here)| (n, (bytes, here)))
            .collect();
        let mut stores: Vec<_> = payloads.into_iter().collect();
        stores.sort();
        let change = |(n, (bytes, _)): &(u8, (Vec<u8>, bool))| Change {
            store: store(&format!("s{n}")),
            payload_hash: PayloadHash::of(bytes),
            payload_len: bytes.len() as u32,
        };
        let header = Header {
            version: 1,
            origin: Origin::In(database()),
            parents: parents.iter().map(|entry| entry.id()).collect(),
            height: Height(height),
            seq: shape.seq,
            timestamp: Timestamp::from_bits(shape.bits),
            author: key(shape.author).public(),
            changes: stores.iter().map(change).collect(),
        };
        let present = |(_, (bytes, here)): (u8, (Vec<u8>, bool))| here.then(|| Arc::from(bytes));
        let payloads = stores.into_iter().map(present).collect();
        let signature = Signature::from_bytes([entries.len() as u8; 64]);
        entries.push(SignedEntry::from_parts(header, signature, payloads).unwrap());
    }
    entries
}

proptest! {
    #[test]
    fn any_entries_round_trip_from_any_point(
        shapes in prop::collection::vec(shape(), 0..40),
        from in any::<prop::sample::Index>(),
    ) {
        let entries = build(shapes);
        let from = from.index(entries.len());
        let frames = encode(&entries[from..]);
        let mut decoder = Decoder::new(database());
        let mut decoded = Vec::new();
        for frame in &frames {
            decoded.extend(decoder.feed(frame).unwrap().entries);
        }
        prop_assert_eq!(&decoded[..], &entries[from..]);
    }

    #[test]
    fn arbitrary_pieces_never_panic(
        piece in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..300),
        signatures in 0..4usize,
        compressed in any::<bool>(),
    ) {
        let mut decoder = Decoder::new(database());
        let frame = DataFrame { compressed, ..raw(piece, signatures) };
        if let Ok(batch) = decoder.feed(&frame) {
            prop_assert!(batch.mark.is_none() || signatures > 0);
        }
    }
}
