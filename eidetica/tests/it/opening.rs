//! What `Open` answers by each rule, asked for by hand.

use std::sync::Arc;

use eidetica::{
    Database, EntryId, Instance,
    sync::{
        Answer, Budget, Cursor, Decoder, Epoch, Hints, Open, Request, Rule, RuleSet, TipsDigest,
    },
    transport::{MemoryNetwork, MemoryTransport, PeerAddress},
};

use crate::{
    devices::{listen, shared, write},
    raw::ask,
};

/// A database of a chain of entries, and a member that holds nothing of it.
struct Peer {
    network: MemoryNetwork,
    member: Instance,
    database: Database,
    address: PeerAddress,
    /// From the root on.
    chain: Vec<EntryId>,
    _server: Instance,
}

async fn peer() -> Peer {
    let network = MemoryNetwork::new();
    let named = Arc::new(MemoryTransport::new(&network).with_name("a"));
    let server = Instance::builder().transport(named).open().await.unwrap();
    let unnamed = Arc::new(MemoryTransport::new(&network));
    let member = Instance::builder().transport(unnamed).open().await.unwrap();
    let database = shared(&server, &member).await;
    for i in 0..8 {
        write(&database, &format!("list.{i}"), i).await;
    }
    let log = database.log(10).await.unwrap();
    let chain = log.iter().rev().map(|(_, entry)| entry.id()).collect();
    let address = listen(&server, "memory").await.remove(0);
    Peer {
        network,
        member,
        database,
        address,
        chain,
        _server: server,
    }
}

/// Asks as a device whose only tip is `tip`.
fn open(peer: &Peer, tip: EntryId, hints: Option<Hints>) -> Open {
    Open {
        database: peer.database.id(),
        cursor: None,
        count: 1,
        tips_digest: TipsDigest::of([tip]),
        hints,
        wants: Vec::new(),
        budget: Budget {
            bytes: u64::MAX,
            millis: 60_000,
        },
        without: RuleSet::default(),
    }
}

/// The rule of the answer and the entries that it brings; `None` if it asks for hints.
async fn opened(peer: &Peer, open: Open) -> Option<(Rule, Vec<EntryId>)> {
    let request = Request::Open(Box::new(open));
    let mut answers = ask(&peer.member, &peer.network, &peer.address, &request)
        .await
        .into_iter();
    let rule = match answers.next().unwrap() {
        Answer::Open(answer) => answer.rule,
        Answer::NeedHints => return None,
        other => panic!("{other:?}"),
    };
    let mut decoder = Decoder::new(peer.database.id());
    let mut entries = Vec::new();
    for answer in answers {
        if let Answer::Data(frame) = answer {
            entries.extend(
                decoder
                    .feed(&frame)
                    .unwrap()
                    .entries
                    .iter()
                    .map(|entry| entry.id()),
            );
        }
    }
    Some((rule, entries))
}

fn tips(tips: &[EntryId]) -> Option<Hints> {
    Some(Hints {
        tips: tips.to_vec(),
        ..Hints::default()
    })
}

#[tokio::test]
async fn known_tips_are_answered_by_what_is_not_in_their_past() {
    let peer = peer().await;
    let held = peer.chain[4];
    let answer = opened(&peer, open(&peer, held, tips(&[held]))).await;
    assert_eq!(answer, Some((Rule::KnownTips, peer.chain[5..].to_vec())));
}

#[tokio::test]
async fn unknown_tips_are_answered_from_the_cursor_on() {
    let peer = peer().await;
    let unknown = EntryId::of(b"written elsewhere");
    let epoch = Epoch(peer.database.frontier().epoch);
    let cursor = Some(Cursor {
        epoch,
        arrival: eidetica::core::Arrival(6),
    });
    let asked = Open {
        cursor,
        ..open(&peer, unknown, tips(&[unknown]))
    };
    let answer = opened(&peer, asked.clone()).await;
    assert_eq!(answer, Some((Rule::Cursor, peer.chain[6..].to_vec())));
    // The cursor of another log is none.
    let cursor = cursor.map(|cursor| Cursor {
        epoch: Epoch([9; 16]),
        ..cursor
    });
    assert_eq!(opened(&peer, Open { cursor, ..asked }).await, None);
}

#[tokio::test]
async fn without_a_cursor_ancestors_are_asked_for_and_bound_the_answer() {
    let peer = peer().await;
    let unknown = EntryId::of(b"written elsewhere");
    assert_eq!(opened(&peer, open(&peer, unknown, None)).await, None);
    assert_eq!(
        opened(&peer, open(&peer, unknown, tips(&[unknown]))).await,
        None
    );
    let haves = vec![peer.chain[2], peer.chain[0]];
    let hints = Hints {
        haves,
        ..tips(&[unknown]).unwrap()
    };
    let asked = open(&peer, unknown, Some(hints));
    let answer = opened(&peer, asked.clone()).await;
    assert_eq!(answer, Some((Rule::Parents, peer.chain[3..].to_vec())));
    // Asked for by id, only that and its past.
    let asked = Open {
        wants: vec![peer.chain[5]],
        ..asked
    };
    assert_eq!(
        opened(&peer, asked).await,
        Some((Rule::Parents, peer.chain[3..6].to_vec()))
    );
}

#[tokio::test]
async fn a_rule_that_is_switched_off_is_not_used() {
    let peer = peer().await;
    let held = peer.chain[4];
    let without = RuleSet::default().with(Rule::KnownTips);
    let hints = Hints {
        haves: vec![peer.chain[0]],
        ..tips(&[held]).unwrap()
    };
    let asked = Open {
        without,
        ..open(&peer, held, Some(hints))
    };
    assert_eq!(
        opened(&peer, asked).await,
        Some((Rule::Parents, peer.chain[5..].to_vec()))
    );
}
