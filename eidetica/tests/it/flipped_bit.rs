//! A damaged entry among a thousand: it and what descends from it is refused by name, the rest
//! is kept, nothing of the refused is stored.

use std::sync::Arc;

use eidetica::{
    Database, Instance,
    core::{Arrival, SignedEntry},
    sync::{Answer, Cursor, DataFrame, Encoder, Epoch, Push, PushId, Refusal, Request},
    transport::{MemoryNetwork, MemoryTransport, PeerAddress},
};

use crate::{
    devices::{grant, join, listen, shared, write},
    raw::ask,
};

/// The place of the damaged entry in the log.
const DAMAGED: usize = 500;
const ENTRIES: usize = 1000;

/// Flips one bit of an entry's signature.
fn damage(entry: &SignedEntry) -> SignedEntry {
    let mut core = entry.core_bytes().to_vec();
    *core.last_mut().unwrap() ^= 1;
    SignedEntry::decode(core, entry.payloads().to_vec()).unwrap()
}

fn encode(entries: &[SignedEntry]) -> Vec<DataFrame> {
    let mut encoder = Encoder::new(Cursor {
        epoch: Epoch([1; 16]),
        arrival: Arrival(0),
    });
    let mut frames = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        encoder.push(entry, Arrival(i as u64));
        frames.extend(std::iter::from_fn(|| encoder.take_frame()));
    }
    frames.extend(std::iter::from_fn(|| encoder.finish_frame()));
    frames
}

/// Pushes frames as a device that runs other code.
async fn push(
    device: &Instance,
    network: &MemoryNetwork,
    to: &PeerAddress,
    database: &Database,
    frames: Vec<DataFrame>,
) -> Vec<Refusal> {
    let request = Request::Push(Push {
        database: database.id(),
        push: PushId([7; 16]),
        index: 0,
        frames,
        last: true,
    });
    let mut refused = Vec::new();
    for answer in ask(device, network, to, &request).await {
        match answer {
            Answer::Refused(refusal) => refused.push(refusal),
            Answer::Pushed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    refused
}

#[tokio::test]
async fn a_flipped_bit_costs_its_entry_and_what_descends_from_it_only() {
    let network = MemoryNetwork::new();
    let transport = || Arc::new(MemoryTransport::new(&network));
    let server = Arc::new(MemoryTransport::new(&network).with_name("a"));
    let a = Instance::builder().transport(server).open().await.unwrap();
    let b = Instance::builder()
        .transport(transport())
        .open()
        .await
        .unwrap();
    let c = Instance::builder()
        .transport(transport())
        .open()
        .await
        .unwrap();
    let ours = shared(&a, &b).await;
    grant(&ours, &c, eidetica::Level::Write).await;
    let addresses = listen(&a, "memory").await;
    join(&b, &ours, &addresses).await;

    // A thousand entries: two branches, the damaged one at the end of the first.
    let theirs = b.database(ours.id()).await.unwrap();
    let fork = theirs.frontier().tips;
    for i in 0..DAMAGED {
        write(&theirs, &format!("first.{i}"), i as i128).await;
    }
    let mut tips = fork;
    for i in DAMAGED..ENTRIES - 2 {
        let tx = theirs.transaction_at(&tips).await.unwrap();
        tx.doc("notes")
            .unwrap()
            .set(&format!("second{i}"), i as i128)
            .await
            .unwrap();
        tips = vec![tx.commit().await.unwrap()];
    }
    // Descends from both branches.
    write(&theirs, "merged", 1).await;
    write(&theirs, "merged", 2).await;
    let mut log: Vec<_> = theirs
        .log(ENTRIES)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.1)
        .collect();
    log.reverse();
    assert_eq!(log.len(), ENTRIES);
    let damaged = damage(&log[DAMAGED - 1]);
    let mut sent = log.clone();
    sent[DAMAGED - 1] = damaged.clone();

    let refused = push(&b, &network, &addresses[0], &ours, encode(&sent)).await;
    let named: Vec<_> = refused
        .iter()
        .map(|refusal| match refusal {
            Refusal::Entry { id, rule } => (*id, rule.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(named[0].0, damaged.id());
    assert!(named[0].1.contains("signature is wrong"), "{named:?}");
    let descendants: Vec<_> = named[1..].iter().map(|(id, _)| *id).collect();
    assert_eq!(descendants, [log[ENTRIES - 2].id(), log[ENTRIES - 1].id()]);
    assert!(
        named[1..]
            .iter()
            .all(|(_, rule)| rule.contains("its parent was not sent"))
    );
    assert_eq!(ours.frontier().count, 3 + ENTRIES as u64 - 3);
    for id in [damaged.id(), log[DAMAGED - 1].id(), log[ENTRIES - 1].id()] {
        assert_eq!(ours.entry(&id).await.unwrap(), None);
    }
    assert_eq!(
        ours.doc("notes").unwrap().get("merged").await.unwrap(),
        None
    );

    // The honest log heals it.
    assert_eq!(
        push(&b, &network, &addresses[0], &ours, encode(&log)).await,
        []
    );
    assert_eq!(ours.frontier().digest, theirs.frontier().digest);
}
