//! Owns the asking side of `Open`: what this device lacks, committed as it comes.

use std::{sync::Arc, time::Duration};

use eidetica_core::{Arrival, EntryId, PublicKey};
use eidetica_store::{Database, Offer, StoreError, Summary};
use tokio::sync::oneshot;

use crate::{
    Answer, Budget, Cursor, End, Epoch, Hints, Open, OpenAnswer, Request, Rule, RuleSet,
    SyncConfig, TipsDigest,
    bandwidth::Way,
    engine::{
        SyncError,
        connection::{AnswerStream, Connection},
        peers::Peers,
        progress::Progress,
        respond::may_carry,
        transfer::{Brought, Intake},
    },
    limits::{MAX_HAVES, MAX_TIPS},
    timer::{Elapsed, within},
};

/// When an answer is to stop; the rest is asked for from the last mark.
const BUDGET: Budget = Budget {
    bytes: 64 * 1024 * 1024,
    millis: 20_000,
};
/// Seconds of what a limited way takes in for which an answer may go on: its frames are a small part
/// of that.
const BUDGET_SECONDS: u64 = 64;
/// How long what was received waits for more before it is committed.
const PAUSE: Duration = Duration::from_millis(100);
/// The budget of an answer that is asked for the first entries.
const LITTLE: Budget = Budget {
    bytes: 64 * 1024,
    ..BUDGET
};
/// The budget of an answer that is asked for its head alone.
const NOTHING: Budget = Budget {
    bytes: 0,
    millis: 0,
};

/// How a pull asks.
pub(crate) struct Ask {
    /// Whether this device may learn only on the way that the peer has a level.
    pub(crate) is_joining: bool,
    pub(crate) wants: Wants,
    /// Who is told of the first answer when it comes.
    pub(crate) first: Option<oneshot::Sender<FirstAnswer>>,
}

/// What a pull is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// What the peer says of itself.
    Head,
    /// The first of the entries that are missing here.
    Some,
    /// All of them.
    All,
}

/// The head of the first answer.
#[derive(Debug)]
pub(crate) struct FirstAnswer {
    pub(crate) answer: OpenAnswer,
    /// What was here when it was asked for.
    pub(crate) held: Summary,
    /// The tips that the question named.
    pub(crate) named: Vec<EntryId>,
}

/// What a pull found out.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// Entries held here before.
    pub(crate) held: u64,
    /// The last answer's head.
    pub(crate) answer: OpenAnswer,
    /// The rule that brought the first entries.
    pub(crate) rule: Rule,
    pub(crate) brought: Brought,
    /// Whether the answer ended before all was brought.
    pub(crate) more: bool,
}

/// How the next `Open` is asked.
#[derive(Debug, Clone, Default)]
struct Asking {
    without: RuleSet,
    /// Whether to name tips.
    hints: bool,
    /// Whether to name ancestors: the peer found no rule without them.
    haves: bool,
    /// Whether to leave the cursor out: it, or the rule used, was wrong about what is here.
    anew: bool,
    /// Where to go on although what came before is not all stored, for want of quota.
    beyond: Option<Cursor>,
}

/// One answer, taken in.
enum Outcome {
    /// The peer needs ancestors named.
    NeedHints,
    /// The answer ended; whether its budget ended it.
    Ended(Box<OpenAnswer>, Brought, bool),
}

/// Asks until everything that the peer had is committed here.
pub(crate) async fn pull(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
    ask: Ask,
) -> Result<Pulled, SyncError> {
    let began_with = database.frontier().count;
    let mut taking = Taking {
        peers,
        database,
        peer,
        is_unproven: ask.is_joining && !may_carry(database, &peer),
        wants: ask.wants,
        progress: connection.progress(),
        config: connection.config().clone(),
        first: ask.first,
    };
    let ended = |answer, rule, brought, more| Pulled {
        held: began_with,
        answer,
        rule,
        brought,
        more,
    };
    let was_equal = peers.equal_end(database.id(), &peer).await?;
    let mut asking = Asking {
        // Where nothing was written since both were equal, the peer mostly has nothing either.
        hints: was_equal != Some(TipsDigest::of(database.frontier().tips)),
        // Of what is new on both sides, the tips tell nothing.
        haves: ask.wants == Wants::Some,
        ..Asking::default()
    };
    let mut total = Brought::default();
    let mut first_rule = None;
    loop {
        let cursor = match asking.anew {
            true => None,
            false if asking.beyond.is_some() => asking.beyond,
            false => peers.cursor(database.id(), &peer).await?,
        };
        #[cfg(feature = "mutants")]
        let cursor = connection.config().mutate_cursor(cursor);
        let held = database.frontier();
        let budget = budget(connection.config(), ask.wants);
        let open = open(database, &held, cursor, &asking, budget).await?;
        let question = (held, open.hints.clone().unwrap_or_default().tips);
        let stream = connection.request(&Request::Open(Box::new(open))).await?;
        match taking.take_in(stream, question).await? {
            Outcome::NeedHints if !asking.hints => asking.hints = true,
            Outcome::NeedHints if !asking.haves => asking.haves = true,
            Outcome::NeedHints => {
                return Err(SyncError::protocol(
                    "the peer asks for hints that it was given",
                ));
            }
            Outcome::Ended(answer, brought, more) => {
                let rule = *first_rule.get_or_insert(answer.rule);
                if answer.rule == Rule::EqualTips && ask.wants != Wants::Head {
                    // Nothing of the peer's log is missing here, whoever brought it.
                    follow_to(database, peer, cursor, end_of_log(&answer)).await?;
                }
                let progressed = brought.stored > 0 || brought.mark.is_some();
                let is_whole = brought.incomplete.is_empty() && has_all(database, &answer).await?;
                let beyond = brought.reached.filter(|reached| {
                    let is_new = asking
                        .beyond
                        .is_none_or(|last| last.arrival < reached.arrival);
                    brought.over_quota > 0 && !asking.anew && is_new
                });
                add(&mut total, brought);
                if ask.wants != Wants::All {
                    return Ok(ended(*answer, rule, total, more));
                }
                if more && (total.incomplete.is_empty() || beyond.is_some()) {
                    if beyond.is_some() {
                        asking.beyond = beyond;
                    } else if !progressed {
                        return Err(SyncError::protocol("the peer's answers make no progress"));
                    }
                    continue;
                }
                // Without the rule that asks for parents there is none left.
                if is_whole || asking.anew || answer.rule == Rule::Parents {
                    total.give_up(peer);
                    return Ok(ended(*answer, rule, total, more));
                }
                total.incomplete.clear();
                asking = Asking {
                    without: asking.without.with(answer.rule),
                    hints: true,
                    haves: true,
                    anew: true,
                    beyond: None,
                };
            }
        }
    }
}

/// Asks what the peer says of itself, and no entries.
pub(crate) async fn ask_head(
    connection: &Connection,
    peers: &Peers,
    database: &Database,
    peer: PublicKey,
) -> Result<OpenAnswer, SyncError> {
    let ask = Ask {
        is_joining: false,
        wants: Wants::Head,
        first: None,
    };
    let pulled = pull(connection, peers, database, peer, ask).await?;
    Ok(pulled.answer)
}

/// What comes after everything that the peer held.
fn end_of_log(answer: &OpenAnswer) -> Cursor {
    Cursor {
        epoch: answer.epoch,
        arrival: Arrival(answer.count),
    }
}

/// Remembers how far a peer's log has been followed, unless that is known.
pub(crate) async fn follow_to(
    database: &Database,
    peer: PublicKey,
    known: Option<Cursor>,
    cursor: Cursor,
) -> Result<(), SyncError> {
    if known != Some(cursor) && database.frontier().count > 0 {
        let extra = Peers::advance(database.id(), &peer, cursor);
        let offer = Offer {
            extra,
            ..Offer::default()
        };
        database.ingest(offer).await?;
    }
    Ok(())
}

/// The budget of an answer: less where few bytes a second are taken.
fn budget(config: &SyncConfig, wants: Wants) -> Budget {
    match wants {
        Wants::Head => return NOTHING,
        Wants::Some => return LITTLE,
        Wants::All => {}
    }
    let limited = config.rate(Way::Down);
    let limited = limited.map(|rate| rate.saturating_mul(BUDGET_SECONDS));
    Budget {
        bytes: limited.map_or(BUDGET.bytes, |limited| limited.min(BUDGET.bytes)),
        ..BUDGET
    }
}

/// Whether everything that is there is here, as far as an answer tells: it names the newest tips.
async fn has_all(database: &Database, answer: &OpenAnswer) -> Result<bool, SyncError> {
    if database.frontier().count < answer.count {
        return Ok(false);
    }
    Ok(holds(database, &answer.tips).await?)
}

/// Of tips the newest, as many as a message names.
pub(crate) fn newest(tips: &[EntryId]) -> &[EntryId] {
    &tips[tips.len().saturating_sub(MAX_TIPS)..]
}

/// Whether entries, and so their past, are here.
pub(crate) async fn holds(database: &Database, ids: &[EntryId]) -> Result<bool, StoreError> {
    let found = database.find(ids).await?;
    Ok(found.iter().all(Option::is_some))
}

fn add(total: &mut Brought, more: Brought) {
    total.stored += more.stored;
    total.known += more.known;
    total.refused.extend(more.refused);
    total.incomplete.extend(more.incomplete);
    total.over_quota += more.over_quota;
}

async fn open(
    database: &Database,
    held: &Summary,
    cursor: Option<Cursor>,
    asking: &Asking,
    budget: Budget,
) -> Result<Open, SyncError> {
    let haves = match asking.haves {
        true => database.sample(MAX_HAVES).await?,
        false => Vec::new(),
    };
    let hints = Hints {
        tips: newest(&held.tips).to_vec(),
        haves,
        ..Hints::default()
    };
    Ok(Open {
        database: database.id(),
        cursor,
        count: held.count,
        tips_digest: TipsDigest::of(held.tips.iter().copied()),
        hints: asking.hints.then_some(hints),
        wants: Vec::new(),
        budget,
        without: asking.without,
    })
}

/// Takes in the answers of one pull.
struct Taking<'a> {
    peers: &'a Peers,
    database: &'a Database,
    peer: PublicKey,
    /// Whether this device may still learn that the peer has a level.
    is_unproven: bool,
    wants: Wants,
    progress: Arc<Progress>,
    config: SyncConfig,
    first: Option<oneshot::Sender<FirstAnswer>>,
}

impl Taking<'_> {
    async fn take_in(
        &mut self,
        mut stream: AnswerStream,
        (held, named): (Summary, Vec<EntryId>),
    ) -> Result<Outcome, SyncError> {
        let database = self.database;
        let answer = match stream.expect().await? {
            Answer::Open(answer) => Box::new(answer),
            Answer::NeedHints => return Ok(Outcome::NeedHints),
            other => return Err(unexpected(&other, database)),
        };
        // Granted, by somebody who may: whoever joins finds that out only on the way.
        if may_carry(database, &self.peer) {
            self.peers.record(database.id(), self.peer).await?;
        }
        if let Some(first) = self.first.take() {
            // Whoever does not push does not wait for it.
            let _ = first.send(FirstAnswer {
                answer: (*answer).clone(),
                held,
                named,
            });
        }
        if answer.rule == Rule::EqualTips || self.wants == Wants::Head {
            return Ok(Outcome::Ended(answer, Brought::default(), false));
        }
        self.progress.will_receive(answer.total);
        let mut intake = Intake::new(self.peers, database.clone(), self.peer, &self.config);
        // The last entry may go on beyond what was asked for.
        let mut budget = 2 * BUDGET.bytes;
        loop {
            let next = stream.next();
            let next = match intake.has_waiting() {
                false => Ok(next.await),
                true => within(&*self.config.timer, PAUSE, next).await,
            };
            match next {
                Err(Elapsed) => intake.flush().await?,
                Ok(Ok(Some(Answer::Data(frame)))) => {
                    self.check_level(&mut intake).await?;
                    budget = budget.saturating_sub(frame.piece.len() as u64);
                    if budget == 0 {
                        return Err(SyncError::protocol("the answer goes on beyond its budget"));
                    }
                    let fed = intake.feed(&frame).await;
                    if fed.is_err() {
                        intake.flush().await?;
                    }
                    self.progress.received(intake.take_done());
                    fed?;
                }
                Ok(Ok(Some(Answer::End(End { mark, more })))) => {
                    if !intake.is_at(&mark) {
                        return Err(SyncError::protocol("the answer does not end at its mark"));
                    }
                    intake.flush().await?;
                    self.progress.received(intake.take_done());
                    finish(database, self.peer, &intake, mark.cursor).await?;
                    return Ok(Outcome::Ended(answer, intake.brought, more));
                }
                Ok(Ok(Some(other))) => return Err(unexpected(&other, database)),
                Ok(Ok(None)) => {
                    return Err(SyncError::protocol("the answer ended without its end"));
                }
                Ok(Err(error)) => {
                    // What came before the break stays, and is gone on from.
                    intake.flush().await?;
                    self.progress.received(intake.take_done());
                    return Err(error);
                }
            }
        }
    }

    /// A peer that loses its level is not listened to any longer.
    async fn check_level(&mut self, intake: &mut Intake) -> Result<(), SyncError> {
        let may_carry = may_carry(self.database, &self.peer);
        self.is_unproven &= !may_carry;
        if may_carry || self.is_unproven {
            return Ok(());
        }
        intake.flush().await?;
        self.progress.received(intake.take_done());
        Err(SyncError::no_level(self.database.id(), &self.peer))
    }
}

/// Advances the cursor to the end of an answer whose last entries the peer left out.
async fn finish(
    database: &Database,
    peer: PublicKey,
    intake: &Intake,
    cursor: Cursor,
) -> Result<(), SyncError> {
    match intake.brought.is_stuck || cursor.epoch == Epoch([0; 16]) {
        true => Ok(()),
        false => follow_to(database, peer, intake.cursor(), cursor).await,
    }
}

pub(crate) fn unexpected(answer: &Answer, database: &Database) -> SyncError {
    match answer {
        Answer::Refused(refusal) => SyncError::refused(refusal, &database.id(), &database.device()),
        _ => SyncError::protocol("the peer sent a frame that does not belong here"),
    }
}
