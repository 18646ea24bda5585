//! Owns the proof that an invite lets in whom it should, and nobody else: each protection beside
//! the same attack without it.

use std::{collections::HashSet, time::Duration};

use eidetica_core::{DatabaseId, SecretKey, WallClock};

use super::*;
use crate::engine::fixture::{StoppedClock, channel, key, over, set_level, storage};

/// A device that has issued an invite.
struct Issuer {
    invites: Arc<Invites>,
    database: Database,
    clock: Arc<StoppedClock>,
    invite: TicketInvite,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn issuer(options: InviteOptions) -> Issuer {
    issuer_with(options, REDEEM_LIMITS).await
}

async fn issuer_with(options: InviteOptions, limits: TryLimits) -> Issuer {
    let (storage, clock) = storage().await;
    let database = storage.create_database("notes").await.unwrap();
    let invites = Arc::new(Invites::with_limits(
        storage,
        limits,
        Arc::clone(&clock) as _,
    ));
    let options = options.with_validity(HOUR);
    let invite = invites.issue(&database, options).await.unwrap();
    Issuer {
        invites,
        database,
        clock,
        invite,
    }
}

fn write() -> InviteOptions {
    InviteOptions::new(Level::Write)
}

impl Issuer {
    /// What a joiner sends over a channel.
    fn proof(&self, joiner: PublicKey, over: u8) -> Redeem {
        self.proof_for(self.database.id(), joiner, over)
    }

    fn proof_for(&self, database: DatabaseId, joiner: PublicKey, over: u8) -> Redeem {
        let TicketInvite { issuer, id, secret } = &self.invite;
        Redeem {
            database,
            issuer: *issuer,
            invite: *id,
            proof: secret.prove(database, &joiner, issuer, &channel(over)),
        }
    }

    /// A redemption as an honest device makes it.
    async fn redeem(&self, joiner: PublicKey) -> Result<Level, Refusal> {
        let redeem = self.proof(joiner, 1);
        self.invites.redeem(&over(1, joiner), redeem).await
    }

    fn level(&self, key: PublicKey) -> Level {
        self.database.level(&key)
    }

    async fn state(&self) -> Invite {
        let row = self.invites.row(&self.invite.id).await.unwrap().unwrap();
        row.into_invite(self.invite.id)
    }
}

#[tokio::test]
async fn an_invite_gives_its_level_and_is_used_by_that() {
    let issuer = issuer(write()).await;
    assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
    assert_eq!(issuer.level(key(1)), Level::Write);
    let invite = issuer.state().await;
    assert_eq!((invite.uses_left, invite.redeemed.len()), (0, 1));
    assert_eq!(invite.state(issuer.clock.now()), InviteState::UsedUp);
}

#[tokio::test]
async fn a_joiner_whose_answer_was_lost_is_let_in_again_without_another_use() {
    let issuer = issuer(write().with_uses(2)).await;
    for _ in 0..3 {
        assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
    }
    assert_eq!(issuer.state().await.uses_left, 1);
    assert_eq!(issuer.redeem(key(2)).await, Ok(Level::Write));
    // Also when it has ended.
    assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
    assert_eq!(issuer.database.frontier().count, 3);
}

#[tokio::test]
async fn a_used_invite_lets_nobody_else_in_and_one_with_a_use_left_does() {
    for (uses, second) in [(1, Err(Refusal::Invite)), (2, Ok(Level::Write))] {
        let issuer = issuer(write().with_uses(uses)).await;
        issuer.redeem(key(1)).await.unwrap();
        assert_eq!(issuer.redeem(key(2)).await, second);
        assert_eq!(issuer.level(key(2)) == Level::Write, second.is_ok());
    }
}

#[tokio::test]
async fn an_invite_ends_when_it_expires_and_not_before() {
    let hour = HOUR.as_millis() as u64;
    for (now, answer) in [(hour, Err(Refusal::Invite)), (hour - 1, Ok(Level::Write))] {
        let issuer = issuer(write()).await;
        issuer.clock.set(now);
        assert_eq!(issuer.redeem(key(1)).await, answer);
    }
}

#[tokio::test]
async fn a_revoked_invite_lets_nobody_in() {
    let issuer = issuer(write().with_uses(2)).await;
    issuer.redeem(key(1)).await.unwrap();
    issuer.invites.revoke(issuer.invite.id).await.unwrap();
    assert_eq!(issuer.redeem(key(2)).await, Err(Refusal::Invite));
    assert_eq!(issuer.level(key(1)), Level::Write);
}

#[tokio::test]
async fn an_invite_opens_its_own_database_and_no_other() {
    let issuer = issuer(write()).await;
    let other = issuer
        .invites
        .storage
        .create_database("other")
        .await
        .unwrap();
    let redeem = issuer.proof_for(other.id(), key(1), 1);
    let answer = issuer.invites.redeem(&over(1, key(1)), redeem).await;
    assert_eq!(answer, Err(Refusal::Invite));
    assert_eq!(other.level(&key(1)), Level::None);
    // The control: the same joiner and channel, and the database it is for.
    assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
}

#[tokio::test]
async fn a_recorded_proof_is_worth_nothing_over_another_channel_or_from_another_key() {
    let issuer = issuer(write().with_uses(9)).await;
    let recorded = issuer.proof(key(1), 1);
    for replay in [over(2, key(1)), over(1, key(2)), over(2, key(2))] {
        let answer = issuer.invites.redeem(&replay, recorded.clone()).await;
        assert_eq!(answer, Err(Refusal::Invite));
    }
    assert_eq!(issuer.database.frontier().count, 1);
    // The control: were all channels one, whoever replays it as its maker would be let in.
    let answer = issuer.invites.redeem(&over(1, key(1)), recorded).await;
    assert_eq!(answer, Ok(Level::Write));
}

#[tokio::test]
async fn without_a_channel_of_its_own_nothing_is_redeemed() {
    let issuer = issuer(write()).await;
    let plain = RequestContext {
        channel: None,
        ..over(1, key(1))
    };
    let answer = issuer.invites.redeem(&plain, issuer.proof(key(1), 1)).await;
    assert_eq!(answer, Err(Refusal::Malformed));
    assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
}

#[tokio::test]
async fn another_device_names_the_issuer_whatever_it_is_shown() {
    let (issuer, other) = (issuer(write()).await, issuer(write()).await);
    let mut redeem = issuer.proof(key(1), 1);
    redeem.issuer = key(9);
    let answer = other.invites.redeem(&over(1, key(1)), redeem).await;
    assert_eq!(answer, Err(Refusal::AskIssuer));
}

/// Guesses until one is not looked at any more; how many were.
async fn guesses(issuer: &Issuer, most: u32) -> u32 {
    for n in 0..most {
        let mut guess = issuer.proof(key(1), 1);
        guess.proof = crate::InviteProof::from_bytes([n as u8; 32]);
        match issuer.invites.redeem(&over(1, key(1)), guess).await {
            Err(Refusal::Invite) => {}
            Err(Refusal::Quota) => return n,
            other => panic!("{other:?}"),
        }
    }
    most
}

#[tokio::test]
async fn who_guesses_is_not_listened_to_for_a_while() {
    let guarded = issuer(write()).await;
    assert_eq!(guesses(&guarded, 100).await, 8);
    assert_eq!(guarded.redeem(key(1)).await, Err(Refusal::Quota));
    assert_eq!(guarded.redeem(key(2)).await, Ok(Level::Write));
    // The control: without the limit every guess is looked at.
    let endless = Rate::new(u32::MAX, Duration::from_secs(1));
    let limits = TryLimits {
        of_peer: endless,
        of_origin: endless,
    };
    let open = issuer_with(write(), limits).await;
    assert_eq!(guesses(&open, 100).await, 100);
}

#[tokio::test]
async fn an_invite_does_not_bring_a_removed_key_back() {
    let issuer = issuer(write()).await;
    set_level(&issuer.database, key(1), Level::Read).await;
    set_level(&issuer.database, key(1), Level::None).await;
    assert_eq!(issuer.redeem(key(1)).await, Err(Refusal::Invite));
    assert_eq!(issuer.level(key(1)), Level::None);
    // The control: a key that was not removed.
    assert_eq!(issuer.redeem(key(2)).await, Ok(Level::Write));
}

#[tokio::test]
async fn an_invite_raises_a_level_and_never_lowers_one() {
    let issuer = issuer(write().with_uses(2)).await;
    set_level(&issuer.database, key(1), Level::Relay).await;
    set_level(&issuer.database, key(2), Level::Admin(7)).await;
    assert_eq!(issuer.redeem(key(1)).await, Ok(Level::Write));
    assert_eq!(issuer.redeem(key(2)).await, Ok(Level::Admin(7)));
    assert_eq!(
        (issuer.level(key(1)), issuer.level(key(2))),
        (Level::Write, Level::Admin(7))
    );
    assert_eq!(issuer.state().await.uses_left, 1);
}

#[tokio::test]
async fn an_issuer_that_is_no_admin_any_more_lets_nobody_in() {
    let issuer = issuer(write()).await;
    let other = SecretKey::from_bytes(&[5; 32]);
    set_level(&issuer.database, other.public(), Level::Admin(0)).await;
    set_level(&issuer.database, issuer.database.device(), Level::Read).await;
    assert_eq!(issuer.redeem(key(1)).await, Err(Refusal::Invite));
    let count = issuer.database.frontier().count;
    assert_eq!((issuer.level(key(1)), count), (Level::None, 3));
    assert_eq!(issuer.state().await.uses_left, 1);
}

#[tokio::test]
async fn of_many_at_one_time_no_more_are_let_in_than_there_are_uses() {
    for uses in [1, 3, 8] {
        let issuer = Arc::new(issuer(write().with_uses(uses)).await);
        let tasks = (1..=8).map(|n| {
            let issuer = Arc::clone(&issuer);
            tokio::spawn(async move { issuer.redeem(key(n)).await.is_ok() })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut granted = 0;
        for task in tasks {
            granted += u32::from(task.await.unwrap());
        }
        assert_eq!(granted, uses);
        assert_eq!(issuer.database.frontier().count, 1 + u64::from(uses));
    }
}

#[tokio::test]
async fn an_asker_that_goes_away_does_not_let_a_use_count_twice() {
    let issuer = issuer(write()).await;
    for n in 1..=8 {
        let redeem = issuer.redeem(key(n));
        // Polled a few times and dropped, as when the connection breaks.
        let _ = tokio::time::timeout(Duration::ZERO, redeem).await;
    }
    // Whoever has the lock now comes after all of them.
    let _ = issuer.redeem(key(9)).await;
    let let_in = (1..=9).filter(|n| issuer.level(key(*n)) == Level::Write);
    assert_eq!(let_in.count(), 1);
}

#[tokio::test]
async fn strangers_get_one_answer_and_the_issuer_sees_why() {
    let issuer = issuer(write()).await;
    let mut unknown = issuer.proof(key(1), 1);
    unknown.invite = InviteId::from_bytes([0xff; 10]);
    let mut unproven = issuer.proof(key(2), 1);
    unproven.proof = crate::InviteProof::from_bytes([0; 32]);
    let elsewhere = DatabaseId::from_bytes([9; 32]);
    let answers = [
        issuer.invites.redeem(&over(1, key(1)), unknown).await,
        issuer.invites.redeem(&over(1, key(2)), unproven).await,
        issuer
            .invites
            .redeem(&over(1, key(3)), issuer.proof_for(elsewhere, key(3), 1))
            .await,
        issuer.redeem(key(4)).await,
        issuer.redeem(key(5)).await,
    ];
    let answers: HashSet<_> = answers.map(|answer| format!("{answer:?}")).into();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.contains("Ok(Write)") && answers.contains("Err(Invite)"));
    // The refusals are noted beside the answers, each under the lock.
    let mut refused = issuer.state().await;
    while refused.refused < 3 {
        tokio::task::yield_now().await;
        refused = issuer.state().await;
    }
    let last = refused.last_refused.unwrap();
    assert!(
        [
            InviteFault::Proof,
            InviteFault::Database,
            InviteFault::UsedUp
        ]
        .contains(&last.fault)
    );
}

#[tokio::test]
async fn options_beyond_what_invites_have_are_refused() {
    for options in [
        InviteOptions::new(Level::None),
        write().with_uses(0),
        write().with_uses(MAX_INVITE_USES + 1),
        write().with_validity(Duration::ZERO),
        write().with_validity(MAX_INVITE_VALIDITY + HOUR),
        write().with_note("x".repeat(257)),
    ] {
        assert_eq!(options.check().unwrap_err().kind(), SyncErrorKind::Invalid);
    }
    let widest = write()
        .with_uses(MAX_INVITE_USES)
        .with_validity(MAX_INVITE_VALIDITY);
    assert!(widest.with_note("x".repeat(256)).check().is_ok());
}
