//! What is pushed over a socket is judged like everything else.

use eidetica::{
    DatabaseId, Level, Value,
    core::{Signature, SignedEntry, Timestamp, authority::AuthOperation},
    sync::{Answer, DataFrame, Refusal, limits::MAX_PIECE_BYTES},
};
use eidetica_testkit::entries::{auth_change, device_key, root};

use super::attacker::{CARRIER, READER, Scene, WRITER, entry, frames, notes, too_high};
use crate::devices::TRANSPORTS;

/// The rules that named entries broke.
fn refused(answers: &[Answer]) -> Vec<String> {
    let rules = answers.iter().filter_map(|answer| match answer {
        Answer::Refused(Refusal::Entry { rule, .. }) => Some(rule.clone()),
        _ => None,
    });
    rules.collect()
}

fn int(n: i128) -> Option<Value> {
    Some(Value::Int(n))
}

/// The same header and payloads with a signature of nobody.
fn unsigned(entry: &SignedEntry) -> SignedEntry {
    let nobody = Signature::from_bytes([0; 64]);
    let payloads = entry.payloads().to_vec();
    SignedEntry::from_parts(entry.header().clone(), nobody, payloads).unwrap()
}

#[tokio::test]
async fn forged_entries_are_refused_by_name_and_an_honest_one_is_stored() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        let grant = AuthOperation::set(device_key(WRITER).public(), Level::Admin(0), "");
        let self_granted = entry(
            WRITER,
            &tip,
            Timestamp::default(),
            vec![auth_change(&[grant])],
        );
        let theirs = root(&device_key(WRITER), notes(1));
        let foreign = entry(WRITER, &theirs, Timestamp::default(), notes(2));
        let honest = scene.write(WRITER, &tip, 5);
        let forged = [
            (unsigned(&honest), "signature"),
            (self_granted.into_inner(), "level is too low"),
            (too_high(WRITER, &scene, &tip), "height"),
            (scene.write(READER, &tip, 6), "level is too low"),
            (scene.write(9, &tip, 7), "level is too low"),
        ];
        let carrier = scene.attacker(CARRIER);
        let before = scene.database.frontier();
        for (entry, rule) in forged {
            let answers = carrier.push(id, &[entry]).await;
            let rules = refused(&answers);
            assert!(
                rules.iter().any(|r| r.contains(rule)),
                "{rule}: {answers:?}"
            );
            assert_eq!(scene.database.frontier(), before);
        }
        // The stream names no database: where it is read, the entry is not the one it was made of.
        let answers = carrier.push(id, &[foreign.into_inner()]).await;
        assert_eq!(answers, [Answer::Refused(Refusal::Malformed)]);
        assert_eq!(scene.database.frontier(), before);
        // The control: who may only carry brings what a writer wrote.
        assert_eq!(refused(&carrier.push(id, &[honest]).await), [""; 0]);
        assert_eq!(scene.title().await, int(5));
    }
}

#[tokio::test]
async fn a_reader_writes_neither_by_itself_nor_through_a_third_device() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        for device in [READER, CARRIER] {
            let answers = scene
                .attacker(device)
                .push(id, &[scene.write(READER, &tip, 1)])
                .await;
            assert_eq!(refused(&answers).len(), 1, "{answers:?}");
            assert_eq!(scene.title().await, None);
        }
        // The control: once it may write, the same entry on top of that is taken.
        scene.permit(READER, Level::Write).await;
        let entry = scene.write(READER, &scene.tip().await, 1);
        scene.attacker(CARRIER).push(id, &[entry]).await;
        assert_eq!(scene.title().await, int(1));
    }
}

#[tokio::test]
async fn a_removed_writer_is_not_listened_to_and_through_a_friend_changes_nothing() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        // The control: before the removal.
        scene
            .attacker(WRITER)
            .push(id, &[scene.write(WRITER, &tip, 1)])
            .await;
        assert_eq!(scene.title().await, int(1));
        scene.permit(WRITER, Level::None).await;
        let attack = scene.write(WRITER, &tip, 2);
        let answers = scene
            .attacker(WRITER)
            .push(id, std::slice::from_ref(&attack))
            .await;
        assert_eq!(answers, [Answer::Refused(Refusal::NoDatabase)]);
        let answers = scene.attacker(CARRIER).push(id, &[attack]).await;
        assert_eq!(refused(&answers), [""; 0]);
        assert_eq!(scene.title().await, int(1));
    }
}

#[tokio::test]
async fn void_entries_beyond_the_quota_are_answered_with_quota_and_not_kept() {
    const QUOTA: usize = 1024;
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        scene.permit(WRITER, Level::None).await;
        let before = scene.database.frontier().count;
        let attack: Vec<_> = (0..QUOTA as i128 + 5)
            .map(|n| scene.write(WRITER, &tip, n))
            .collect();
        let carrier = scene.attacker(CARRIER);
        let is_over = |answers: &[Answer]| answers.contains(&Answer::Refused(Refusal::Quota));
        // The control: as many as there is room for.
        assert!(!is_over(&carrier.push(id, &attack[..QUOTA]).await));
        let answers = carrier.push(id, &attack).await;
        assert!(
            is_over(&answers) && refused(&answers).is_empty(),
            "{answers:?}"
        );
        assert_eq!(scene.database.frontier().count, before + QUOTA as u64);
        assert_eq!(scene.title().await, None);
    }
}

#[tokio::test]
async fn orphans_by_the_thousand_are_not_kept() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        let parent = scene.write(WRITER, &tip, 0);
        let orphans: Vec<_> = (1..5001).map(|n| scene.write(WRITER, &parent, n)).collect();
        let writer = scene.attacker(WRITER);
        let before = scene.database.frontier();
        let answers = writer.push(id, &orphans).await;
        assert!(answers.len() < 100, "{}", answers.len());
        assert_eq!(scene.database.frontier(), before);
        // The control: with their parent.
        let whole = [&[parent], &orphans[..50]].concat();
        assert_eq!(refused(&writer.push(id, &whole).await), [""; 0]);
        assert_eq!(scene.title().await, int(50));
    }
}

#[tokio::test]
async fn an_entry_whose_auth_payload_is_withheld_is_not_stored() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        scene.permit(4, Level::Admin(1)).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        let grant = AuthOperation::set(device_key(9).public(), Level::Write, "");
        let whole = entry(4, &tip, Timestamp::default(), vec![auth_change(&[grant])]).into_inner();
        let (header, signature) = (whole.header().clone(), *whole.signature());
        let withheld = SignedEntry::from_parts(header, signature, vec![None]).unwrap();
        let carrier = scene.attacker(CARRIER);
        let rules = refused(&carrier.push(id, &[withheld]).await);
        assert!(rules[0].contains("payload"), "{rules:?}");
        assert_eq!(scene.database.level(&device_key(9).public()), Level::None);
        carrier.push(id, &[whole]).await;
        assert_eq!(
            scene.database.level(&device_key(9).public()),
            Level::Write,
            "the control"
        );
    }
}

/// A zstd frame of so many blocks of 128 KiB that all hold one byte.
fn blocks(count: usize) -> Vec<u8> {
    // Magic number, no content size, a window of 8 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68];
    for n in 1..=count {
        let header = u32::from(n == count) | 1 << 1 | (128 * 1024) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_unread() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let (tip, id) = (scene.tip().await, scene.database.id());
        // 240 KB that hold 7.8 GB, whatever they are said to hold.
        let bomb = |raw_len| DataFrame {
            signatures: Vec::new(),
            piece: blocks(60_000),
            raw_len,
            compressed: true,
            mark: None,
        };
        let writer = scene.attacker(WRITER);
        for raw_len in [1, MAX_PIECE_BYTES as u32, u32::MAX] {
            let answers = writer.push_frames(id, vec![bomb(raw_len)]).await;
            assert_eq!(answers, [Answer::Refused(Refusal::Malformed)]);
        }
        // The control: an honest frame is compressed as well.
        let zeros = eidetica::crdt::DocOp::Set {
            path: "title".parse().unwrap(),
            value: eidetica::crdt::Scalar::Bytes(vec![0; 200_000]),
        };
        let store = eidetica::core::StoreName::new("notes").unwrap();
        let zeros = vec![eidetica_testkit::arb::history::doc_change(&store, &[zeros])];
        let honest = entry(WRITER, &tip, Timestamp::default(), zeros).into_inner();
        let frames = frames(&[honest]);
        assert!(frames[0].compressed && frames[0].piece.len() < 1000);
        writer.push_frames(id, frames).await;
        assert_eq!(scene.title().await, Some(Value::Bytes(vec![0; 200_000])));
    }
}

#[tokio::test]
async fn a_push_to_another_databases_id_or_as_a_stranger_is_no_such_database() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let honest = scene.write(WRITER, &scene.tip().await, 1);
        let elsewhere = DatabaseId::from(honest.id());
        let none = [Answer::Refused(Refusal::NoDatabase)];
        let id = scene.database.id();
        assert_eq!(
            scene
                .attacker(WRITER)
                .push(elsewhere, std::slice::from_ref(&honest))
                .await,
            none
        );
        assert_eq!(
            scene
                .attacker(9)
                .push(id, std::slice::from_ref(&honest))
                .await,
            none
        );
        scene.attacker(WRITER).push(id, &[honest]).await;
        assert_eq!(scene.title().await, int(1), "the control");
        drop(scene.victim);
    }
}
