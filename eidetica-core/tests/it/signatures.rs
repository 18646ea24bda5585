//! Owns the proof that every device judges a signature alike: single and batch, and whatever
//! bit of an entry is flipped.

use std::sync::Arc;

use eidetica_core::{
    EntryBuilder, EntryId, SecretKey, SignedEntry, StoreName, Timestamp, VerifyError, verify_batch,
};

fn builder(author: u8, nonce: u8) -> EntryBuilder {
    let builder = EntryBuilder::root([nonce; 16], Timestamp::from_millis(u64::from(nonce)));
    builder.with_change(
        StoreName::new("notes").unwrap(),
        vec![author, nonce, 1, 2, 3],
    )
}

fn entry(author: u8, nonce: u8) -> SignedEntry {
    let author_key = SecretKey::from_bytes(&[author; 32]);
    builder(author, nonce).sign(&author_key).unwrap()
}

fn with_payload(entry: &SignedEntry, payload: Vec<u8>) -> SignedEntry {
    SignedEntry::decode(Arc::clone(entry.core_bytes()), vec![Some(payload.into())]).unwrap()
}

/// The entry with another signature, which gives it another id.
fn with_signature_of(entry: &SignedEntry, other: &SignedEntry) -> SignedEntry {
    let payloads = entry.payloads().to_vec();
    SignedEntry::from_parts(entry.header().clone(), *other.signature(), payloads).unwrap()
}

#[test]
fn a_batch_names_exactly_the_bad_entries_and_says_what_is_wrong() {
    let mut entries: Vec<_> = (0..300_u16)
        .map(|n| entry((n % 5) as u8 + 1, n as u8))
        .collect();
    let mut expected: Vec<Result<EntryId, VerifyError>> =
        entries.iter().map(|entry| Ok(entry.id())).collect();
    for bad in [0, 7, 150, 151, 299] {
        entries[bad] = with_signature_of(&entries[bad], &entry(9, 9));
        expected[bad] = Err(VerifyError::Signature(entries[bad].id()));
    }
    for bad in [8, 298] {
        entries[bad] = with_payload(&entries[bad], vec![0; 5]);
        let store = StoreName::new("notes").unwrap();
        expected[bad] = Err(VerifyError::Payload(entries[bad].id(), store));
    }
    let id = |verdict: Result<eidetica_core::VerifiedEntry, _>| verdict.map(|e| e.id());
    let single: Vec<_> = entries.iter().map(|e| id(e.clone().verify())).collect();
    let batch: Vec<_> = verify_batch(entries).into_iter().map(id).collect();
    assert_eq!(single, expected);
    assert_eq!(batch, expected);
}

#[test]
fn an_entry_that_was_signed_as_verified_is_what_verification_lets_through() {
    let author = SecretKey::from_bytes(&[3; 32]);
    let signed = builder(3, 4).sign_verified(&author).unwrap();
    assert_eq!(signed, entry(3, 4).verify().unwrap());
}

#[test]
fn a_batch_of_bad_entries_has_no_good_one() {
    let bad = (0..5).map(|n| with_signature_of(&entry(1, n), &entry(2, n)));
    assert!(verify_batch(bad.collect()).iter().all(Result::is_err));
    assert_eq!(verify_batch(Vec::new()), []);
}

#[test]
fn every_flipped_bit_of_an_entry_is_refused() {
    let entry = entry(1, 1);
    for bit in 0..entry.core_bytes().len() * 8 {
        let mut core = entry.core_bytes().to_vec();
        core[bit / 8] ^= 1 << (bit % 8);
        if let Ok(flipped) = SignedEntry::decode(core, entry.payloads().to_vec()) {
            assert_ne!(flipped.id(), entry.id(), "bit {bit}");
            assert!(flipped.verify().is_err(), "bit {bit}");
        }
    }
    let payload = entry.payloads()[0].as_ref().unwrap().to_vec();
    for bit in 0..payload.len() * 8 {
        let mut payload = payload.clone();
        payload[bit / 8] ^= 1 << (bit % 8);
        assert!(with_payload(&entry, payload).verify().is_err(), "bit {bit}");
    }
}

#[test]
fn an_entry_reads_alike_whether_its_author_is_known_or_not() {
    let entry = entry(1, 1);
    let (mine, other) = (entry.header().author, SecretKey::from_bytes(&[2; 32]));
    let bits = entry.core_bytes().len() * 8;
    for bit in (0..bits).map(Some).chain([None]) {
        let mut core = entry.core_bytes().to_vec();
        if let Some(bit) = bit {
            core[bit / 8] ^= 1 << (bit % 8);
        }
        let read = |known| {
            let payloads = entry.payloads().to_vec();
            SignedEntry::decode_known(core.clone(), payloads, known)
        };
        let expected = SignedEntry::decode(core.clone(), entry.payloads().to_vec());
        for known in [mine, other.public()] {
            assert_eq!(read(Some(known)), expected, "bit {bit:?}");
        }
    }
}

#[test]
fn a_payload_of_another_length_is_refused() {
    let entry = entry(1, 1);
    let mut payload = entry.payloads()[0].as_ref().unwrap().to_vec();
    payload.push(0);
    assert!(with_payload(&entry, payload).verify().is_err());
    assert!(with_payload(&entry, Vec::new()).verify().is_err());
}
