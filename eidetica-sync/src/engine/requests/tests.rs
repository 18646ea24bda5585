//! Owns the proof that requests are kept within their limits, and that who asks learns nothing.

use super::*;
use crate::engine::fixture::{StoppedClock, key, over, set_level, storage};

struct Asked {
    requests: Arc<Requests>,
    database: Database,
    clock: Arc<StoppedClock>,
}

async fn asked() -> Asked {
    let (storage, clock) = storage().await;
    let database = storage.create_database("notes").await.unwrap();
    let trust = Trust::new(storage.clone());
    let requests = Arc::new(Requests::new(storage, trust, Arc::clone(&clock) as _));
    Asked {
        requests,
        database,
        clock,
    }
}

fn wish(database: DatabaseId) -> RequestAccess {
    RequestAccess {
        database,
        level: Level::Read,
        message: "the phone".into(),
    }
}

fn nowhere(n: u8) -> DatabaseId {
    DatabaseId::from_bytes([n; 32])
}

impl Asked {
    async fn ask(&self, database: DatabaseId, by: u8) -> Result<(), Refusal> {
        self.requests.keep(&over(1, key(by)), wish(database)).await
    }

    async fn listed(&self) -> Vec<PublicKey> {
        let requests = self.requests.to_decide().await.unwrap();
        requests.into_iter().map(|request| request.key).collect()
    }
}

#[tokio::test]
async fn a_request_is_kept_alike_whether_or_not_the_database_is_here_or_accepts_any() {
    let asked = asked().await;
    let closed = asked
        .requests
        .storage
        .create_database("closed")
        .await
        .unwrap();
    let settings = crate::TrustSettings {
        accepts_requests: false,
        ..Default::default()
    };
    let mut batch = WriteBatch::new();
    batch.put(
        row_key(b"policy/", &[closed.id().as_bytes()]),
        encode(&settings),
    );
    asked.requests.storage.commit(batch).await.unwrap();
    for database in [asked.database.id(), closed.id(), nowhere(1)] {
        assert_eq!(asked.ask(database, 1).await, Ok(()));
    }
    assert_eq!(asked.requests.all().await.unwrap().len(), 3);
    // Only what can be decided is listed.
    assert_eq!(asked.listed().await, [key(1)]);
}

#[tokio::test]
async fn a_key_has_eight_requests_and_its_oldest_makes_room() {
    let asked = asked().await;
    asked.ask(asked.database.id(), 2).await.unwrap();
    for n in 0..9 {
        asked.clock.set(u64::from(n));
        asked.ask(nowhere(n), 1).await.unwrap();
    }
    let kept = asked.requests.all().await.unwrap();
    let mut own: Vec<_> = kept.iter().filter(|((_, by), _)| *by == key(1)).collect();
    own.sort_by_key(|(_, row)| row.asked);
    assert_eq!(own.len(), MAX_REQUESTS_OF_PEER);
    assert_eq!(own[0].0.0, nowhere(1));
    assert_eq!(asked.listed().await, [key(2)]);
}

#[tokio::test]
async fn when_all_are_full_those_that_nobody_looks_at_make_room_and_others_stay() {
    let asked = asked().await;
    let mut batch = WriteBatch::new();
    let row = RequestRow {
        level: Level::Read,
        message: String::new(),
        asked: Timestamp::from_millis(1),
        denied: None,
    };
    for n in 1..MAX_REQUESTS as u16 {
        let mut id = [7; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let name = (DatabaseId::from_bytes(id), key((n % 200) as u8 + 40));
        batch.put(super::key(&name), encode(&row));
    }
    asked.requests.storage.commit(batch).await.unwrap();
    asked.ask(asked.database.id(), 1).await.unwrap();
    assert_eq!(asked.requests.all().await.unwrap().len(), MAX_REQUESTS);
    asked.ask(asked.database.id(), 2).await.unwrap();
    assert_eq!(asked.requests.all().await.unwrap().len(), MAX_REQUESTS);
    assert_eq!(asked.listed().await.len(), 2);
}

#[tokio::test]
async fn who_asks_again_and_again_is_not_listened_to_for_a_while() {
    let asked = asked().await;
    for n in 0..16 {
        assert_eq!(asked.ask(nowhere(1), 1).await, Ok(()), "{n}");
    }
    assert_eq!(asked.ask(nowhere(1), 1).await, Err(Refusal::Quota));
    assert_eq!(asked.ask(nowhere(1), 2).await, Ok(()));
    asked.clock.set(37_500);
    assert_eq!(asked.ask(nowhere(1), 1).await, Ok(()));
}

#[tokio::test]
async fn asking_again_does_not_undo_a_denial() {
    let asked = asked().await;
    let id = asked.database.id();
    asked.ask(id, 1).await.unwrap();
    asked.clock.set(5);
    asked.requests.deny((id, key(1))).await.unwrap();
    asked.clock.set(9);
    asked.ask(id, 1).await.unwrap();
    let listed = asked.requests.to_decide().await.unwrap();
    let at = Timestamp::from_millis;
    assert_eq!((listed[0].asked, listed[0].denied), (at(9), Some(at(5))));
}

#[tokio::test]
async fn a_request_is_over_when_its_key_has_the_level() {
    let asked = asked().await;
    asked.ask(asked.database.id(), 1).await.unwrap();
    set_level(&asked.database, key(1), Level::Relay).await;
    assert_eq!(asked.listed().await, [key(1)]);
    set_level(&asked.database, key(1), Level::Write).await;
    assert_eq!(asked.listed().await, []);
}
