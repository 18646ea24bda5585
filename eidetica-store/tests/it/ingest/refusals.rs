//! Owns which entries are refused, wait or are known already, and that a refused one leaves
//! nothing.

use std::{collections::HashSet, sync::Arc};

use eidetica_core::{
    EntryBuilder, Height, SignedEntry, StoreName, VerifiedEntry,
    authority::{AuthOperation, AuthorityError, Level},
    verify_batch,
};
use eidetica_store::{Backend, IngestReport, MemoryBackend, Offer, Refusal, Rule, Space};
use eidetica_testkit::{
    arb::history::doc_change,
    entries::{auth_change, child, database_of, device_key, root},
};

use super::{two_writers, write};
use crate::support::{at, block_on, dump, empty, ids, offer, open, rows, set, store};

/// The entry with one bit of its payload flipped.
fn damaged(entry: &SignedEntry) -> SignedEntry {
    let mut payload = entry.payloads()[0].as_ref().unwrap().to_vec();
    payload[3] ^= 0x10;
    SignedEntry::decode(Arc::clone(entry.core_bytes()), vec![Some(payload.into())]).unwrap()
}

/// Verifies a stream and makes an offer of it.
fn verified(entries: Vec<SignedEntry>) -> Offer {
    let mut offer = Offer::default();
    let ids: Vec<_> = entries.iter().map(SignedEntry::id).collect();
    for (id, verdict) in ids.into_iter().zip(verify_batch(entries)) {
        match verdict {
            Ok(entry) => offer.entries.push(entry),
            Err(e) => offer.failed.push(Refusal {
                id,
                rule: Rule::Verify(e),
            }),
        }
    }
    offer
}

fn entries_of(entries: &[VerifiedEntry]) -> Vec<SignedEntry> {
    entries.iter().map(|e| e.clone().into_inner()).collect()
}

#[test]
fn one_flipped_bit_in_a_thousand_entries_costs_the_entry_and_its_descendants_only() {
    let (root, admin, writer) = two_writers();
    let mut a = vec![root];
    for n in 1..500 {
        a.push(write(&admin, &[&a[n - 1]], "a", n as i128));
    }
    let mut b = vec![write(&writer, &[&a[250]], "b", 0)];
    for n in 1..500 {
        b.push(write(&writer, &[&b[n - 1]], "b", n as i128));
    }
    let mut stream = entries_of(&a);
    stream[400] = damaged(&stream[400]);
    stream.extend(entries_of(&b));
    block_on(async {
        let backend = Arc::new(MemoryBackend::new());
        let storage = open(backend.clone()).await;
        let database = storage.attach(database_of(&a[0])).await.unwrap();
        let report = database.ingest(verified(stream)).await.unwrap();
        assert_eq!(report.stored, 900);
        let refused: Vec<_> = report.refused.iter().map(|refusal| refusal.id).collect();
        assert_eq!(refused, ids(&a[400..]));
        assert!(matches!(report.refused[0].rule, Rule::Verify(_)));
        for (n, refusal) in report.refused.iter().enumerate().skip(1) {
            assert_eq!(refusal.rule, Rule::Parent(a[399 + n].id()));
            let text = refusal.to_string();
            assert!(text.contains(&a[400 + n].id().to_string()), "{text}");
        }
        assert_eq!(database.frontier().tips, [a[399].id(), b[499].id()]);

        let refused = a[400..].iter();
        let traces: HashSet<[u8; 8]> = refused
            .flat_map(|e| {
                [
                    e.id().as_bytes()[..8].to_vec(),
                    e.signature().as_bytes()[..8].to_vec(),
                ]
            })
            .map(|bytes| bytes.try_into().unwrap())
            .collect();
        let snapshot = backend.snapshot().await.unwrap();
        for space in Space::ALL {
            for (key, value) in rows(&*snapshot, space).await {
                for bytes in key.windows(8).chain(value.windows(8)) {
                    assert!(!traces.contains(bytes), "{key:?} holds a refused entry");
                }
            }
        }
        let expected = empty(database_of(&a[0])).await;
        offer(&expected, [&a[..400], &b[..]].concat()).await;
        assert_eq!(dump(&database).await, dump(&expected).await);
    });
}

#[test]
fn a_damaged_copy_of_an_entry_that_is_here_costs_its_descendants_nothing() {
    let (root, admin, _) = two_writers();
    let first = write(&admin, &[&root], "a", 1);
    let second = write(&admin, &[&first], "a", 2);
    block_on(async {
        let database = empty(database_of(&root)).await;
        offer(&database, vec![root, first.clone()]).await;
        let stream = vec![damaged(&first), second.into_inner()];
        let report = database.ingest(verified(stream)).await.unwrap();
        assert_eq!((report.stored, report.refused.len()), (1, 1));
    });
}

/// Offers one entry to a database of two writers; what became of it.
fn verdict(make: impl FnOnce(&VerifiedEntry) -> VerifiedEntry) -> (VerifiedEntry, IngestReport) {
    let (root, ..) = two_writers();
    let entry = make(&root);
    block_on(async {
        let database = empty(database_of(&root)).await;
        offer(&database, vec![root]).await;
        let before = dump(&database).await;
        let report = offer(&database, vec![entry.clone()]).await;
        assert_eq!(database.frontier().count, 1);
        assert_eq!(dump(&database).await, before);
        (entry, report)
    })
}

fn refusal(make: impl FnOnce(&VerifiedEntry) -> VerifiedEntry) -> Rule {
    let (entry, report) = verdict(make);
    let [refusal] = report.refused.as_slice() else {
        panic!("refused once: {report:?}");
    };
    assert_eq!(refusal.id, entry.id());
    refusal.rule.clone()
}

#[test]
fn a_height_that_does_not_follow_from_the_parents_is_refused() {
    let rule = refusal(|root| {
        let entry = EntryBuilder::child(database_of(root), [root.id()], Height(4), at(1));
        entry.sign(&device_key(0)).unwrap().verify().unwrap()
    });
    let (claimed, parents_say) = (Height(5), Height(1));
    assert_eq!(
        rule,
        Rule::Height {
            claimed,
            parents_say
        }
    );
}

#[test]
fn an_entry_of_another_database_is_refused_and_so_is_a_second_root() {
    let other = |_: &VerifiedEntry| root(&device_key(0), set("a", 1));
    assert_eq!(refusal(other), Rule::Database);
    let child_of_other = |_: &VerifiedEntry| {
        let other = root(&device_key(0), Vec::new());
        write(&device_key(0), &[&other], "a", 1)
    };
    assert_eq!(refusal(child_of_other), Rule::Database);
}

fn level_refusal(needed: Level, held: Level) -> Rule {
    let operation = None;
    Rule::Authority(AuthorityError::Level {
        needed,
        held,
        operation,
    })
}

#[test]
fn an_author_without_a_level_is_refused() {
    let rule = refusal(|root| write(&device_key(9), &[root], "a", 1));
    assert_eq!(rule, level_refusal(Level::Write, Level::None));
}

#[test]
fn nobody_gives_itself_a_level() {
    for (device, held) in [(1, Level::Write), (9, Level::None)] {
        let key = device_key(device);
        let grant = AuthOperation::set(key.public(), Level::Admin(0), "");
        let rule = refusal(|root| child(&key, &[root], at(1), vec![auth_change(&[grant])]));
        assert_eq!(rule, level_refusal(Level::WEAKEST_ADMIN, held));
    }
}

#[test]
fn a_writer_does_not_change_settings() {
    let settings = doc_change(&StoreName::settings(), &[]);
    let rule = refusal(|root| child(&device_key(1), &[root], at(1), vec![settings]));
    assert_eq!(rule, level_refusal(Level::WEAKEST_ADMIN, Level::Write));
}

#[test]
fn an_auth_payload_that_cannot_be_read_is_refused() {
    let change = doc_change(&StoreName::auth(), &[]);
    let rule = refusal(|root| child(&device_key(0), &[root], at(1), vec![change]));
    assert!(matches!(rule, Rule::AuthPayload(_)), "{rule:?}");
}

#[test]
fn an_absent_auth_payload_makes_an_entry_incomplete() {
    let grant = AuthOperation::set(device_key(2).public(), Level::Read, "");
    let (entry, report) = verdict(|root| {
        let entry = child(&device_key(0), &[root], at(1), vec![auth_change(&[grant])]);
        let core = Arc::clone(entry.core_bytes());
        SignedEntry::decode(core, vec![None])
            .unwrap()
            .verify()
            .unwrap()
    });
    let [incomplete] = report.incomplete.as_slice() else {
        panic!("incomplete once: {report:?}");
    };
    assert_eq!(incomplete.id, entry.id());
    assert_eq!(incomplete.payloads, [StoreName::auth()]);
    assert_eq!(incomplete.parents, []);
}

#[test]
fn an_entry_whose_parents_are_missing_names_them_and_is_taken_later() {
    let (root, admin, writer) = two_writers();
    let (a, b) = (
        write(&admin, &[&root], "a", 1),
        write(&writer, &[&root], "b", 2),
    );
    let merge = write(&admin, &[&a, &b], "c", 3);
    let mut missing = vec![a.id(), b.id()];
    missing.sort();
    block_on(async {
        let database = empty(database_of(&root)).await;
        let report = offer(&database, vec![root.clone(), merge.clone()]).await;
        assert_eq!((report.stored, report.refused.len()), (1, 0));
        assert_eq!(report.incomplete[0].id, merge.id());
        assert_eq!(report.incomplete[0].parents, missing);
        let report = offer(&database, vec![a, b, merge.clone()]).await;
        assert_eq!((report.stored, report.incomplete.len()), (3, 0));
        assert_eq!(database.frontier().tips, [merge.id()]);
    });
}

#[test]
fn an_entry_that_is_here_is_known_however_often_it_comes() {
    let (root, admin, _) = two_writers();
    let entry = write(&admin, &[&root], "a", 1);
    block_on(async {
        let database = empty(database_of(&root)).await;
        let twice = vec![root.clone(), entry.clone(), entry.clone(), root.clone()];
        let report = offer(&database, twice).await;
        assert_eq!((report.stored, report.known), (2, 2));
        let report = offer(&database, vec![entry, root]).await;
        assert_eq!((report.stored, report.known), (0, 2));
        assert_eq!(database.frontier().count, 2);
    });
}

#[test]
fn a_payload_that_breaks_the_rules_of_its_kind_changes_no_view() {
    let (root, admin, _) = two_writers();
    let bad = (store("notes"), vec![0, 0, 3, b'd', b'o', b'c', 1, 9]);
    let bad = child(&admin, &[&root], at(1), vec![bad]);
    block_on(async {
        let database = empty(database_of(&root)).await;
        offer(&database, vec![root]).await;
        let before = dump(&database).await;
        assert_eq!(offer(&database, vec![bad]).await.stored, 1);
        assert_eq!(dump(&database).await, before);
    });
}
