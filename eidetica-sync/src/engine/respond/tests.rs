//! Owns the proof that the time of a refusal does not tell which databases are here.

use std::time::Duration;

use eidetica_core::DatabaseId;
use eidetica_store::MemoryBackend;

use super::*;
use crate::{
    Followed, Subscribe, TokioTimer,
    engine::fixture::{key, open, set_level},
};

/// Databases that are asked for, and as many that are not here.
const DATABASES: u8 = 40;
/// How often each is asked for.
const ROUNDS: usize = 20;

/// A device that was started anew, with the databases that it has.
async fn started() -> (Inner, Vec<DatabaseId>) {
    let backend = Arc::new(MemoryBackend::new());
    let (storage, _) = open(Arc::clone(&backend) as _).await;
    let mut ids = Vec::new();
    for _ in 0..DATABASES {
        let database = storage.create_database("notes").await.unwrap();
        for n in 1..40 {
            set_level(&database, key(n), Level::Read).await;
        }
        ids.push(database.id());
    }
    let (storage, _) = open(backend).await;
    let trust = Trust::new(storage.clone());
    let ways_in = WaysIn {
        invites: Arc::new(Invites::new(storage.clone(), Arc::new(TokioTimer))),
        requests: Arc::new(Requests::new(
            storage.clone(),
            trust.clone(),
            Arc::new(TokioTimer),
        )),
        refusals: Arc::new(Refusals::new()),
        trust,
    };
    let peers = Peers::new(storage.clone(), 0);
    let inner = Inner {
        uploads: Arc::new(Uploads::new(
            Peers::new(storage.clone(), 0),
            SyncConfig::new(),
        )),
        live: Subscriptions::new(peers.clone(), Hub::new(&storage), &SyncConfig::new()),
        peers,
        storage,
        ways_in,
        listening: Arc::default(),
        config: SyncConfig::new(),
    };
    (inner, ids)
}

/// How a stranger asks.
#[derive(Debug, Clone, Copy)]
enum Way {
    Open,
    Subscribe,
}

const WAYS: [Way; 2] = [Way::Open, Way::Subscribe];

/// How long a stranger waits for a refusal.
async fn refusal(inner: &Inner, id: DatabaseId, way: Way) -> Duration {
    let subscribe = Subscribe {
        databases: vec![Followed {
            database: id,
            cursor: None,
            offers: false,
        }],
        millis: 1_000,
    };
    let began = inner.config.timer.instant();
    let is_refused = match way {
        Way::Open => {
            let refused = inner.granted(id, &key(99)).await;
            matches!(refused, Err(Stop::Refuse(Refusal::NoDatabase)))
        }
        Way::Subscribe => matches!(inner.grant_all(&subscribe, &key(99)).await[..], [None]),
    };
    let took = inner.config.timer.instant() - began;
    assert!(is_refused, "{way:?}");
    took
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// The median time for what is here, by that for what is not.
async fn ratio(inner: &Inner, here: &[DatabaseId], rounds: usize, way: Way) -> f64 {
    let (mut existing, mut missing) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for (n, id) in here.iter().enumerate() {
            let nowhere = DatabaseId::from_bytes([n as u8 ^ (round as u8) << 6; 32]);
            existing.push(refusal(inner, *id, way).await);
            missing.push(refusal(inner, nowhere, way).await);
        }
    }
    median(existing) / median(missing)
}

#[tokio::test]
async fn a_refusal_takes_as_long_for_what_is_here_as_for_what_is_not() {
    let (inner, ids) = started().await;
    open_all(&inner.storage).await.unwrap();
    for way in WAYS {
        let ratio = ratio(&inner, &ids, ROUNDS, way).await;
        assert!((0.4..2.5).contains(&ratio), "{way:?} {ratio}");
    }
}

#[tokio::test]
async fn without_opening_databases_first_the_time_of_a_refusal_tells_which_are_here() {
    for way in WAYS {
        let (inner, ids) = started().await;
        let ratio = ratio(&inner, &ids, 1, way).await;
        assert!(ratio > 4.0, "{way:?} {ratio}");
    }
}
