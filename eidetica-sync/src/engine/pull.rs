//! Owns the asking side of `Open`: what this device lacks, committed as it comes.

use eidetica_core::PublicKey;
use eidetica_store::Database;

use crate::{
    Answer, Budget, Cursor, End, Epoch, Hints, Open, OpenAnswer, Request, Rule, RuleSet,
    TipsDigest,
    engine::{
        SyncError,
        connection::{AnswerStream, Connection},
        peers::Peers,
        respond::may_carry,
        transfer::{Brought, Intake},
    },
    limits::{MAX_HAVES, MAX_TIPS},
};

/// Bytes after which an answer is to stop; the rest is asked for from the last mark.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Milliseconds after which an answer is to stop.
const ANSWER_MILLIS: u32 = 20_000;

/// What a pull found out.
#[derive(Debug)]
pub(crate) struct Pulled {
    /// The last answer's head.
    pub(crate) answer: OpenAnswer,
    /// The rule that brought the first entries.
    pub(crate) rule: Rule,
    pub(crate) brought: Brought,
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
    is_joining: bool,
) -> Result<Pulled, SyncError> {
    // Whoever joins may learn only on the way that the peer has a level.
    let mut is_unproven = is_joining && !may_carry(database, &peer);
    let was_equal = peers.equal_end(database.id(), &peer).await?;
    let mut asking = Asking {
        // Where nothing was written since both were equal, the peer mostly has nothing either.
        hints: was_equal != Some(TipsDigest::of(database.frontier().tips)),
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
        let request = open(database, cursor, &asking).await?;
        let mut stream = connection
            .request(&Request::Open(Box::new(request)))
            .await?;
        match take_in(&mut stream, database, peer, &mut is_unproven).await? {
            Outcome::NeedHints if !asking.hints => asking.hints = true,
            Outcome::NeedHints if !asking.haves => asking.haves = true,
            Outcome::NeedHints => {
                return Err(SyncError::protocol(
                    "the peer asks for hints that it was given",
                ));
            }
            Outcome::Ended(answer, brought, more) => {
                let rule = *first_rule.get_or_insert(answer.rule);
                let progressed = brought.stored > 0 || brought.mark.is_some();
                let is_whole = brought.incomplete.is_empty() && has_tips(database, &answer).await?;
                let beyond = brought.reached.filter(|reached| {
                    let is_new = asking
                        .beyond
                        .is_none_or(|last| last.arrival < reached.arrival);
                    brought.over_quota > 0 && !asking.anew && is_new
                });
                add(&mut total, brought);
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
                    return Ok(Pulled {
                        answer: *answer,
                        rule,
                        brought: total,
                    });
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

/// Whether the tips that an answer names are here.
async fn has_tips(database: &Database, answer: &OpenAnswer) -> Result<bool, SyncError> {
    let found = database.find(&answer.tips).await?;
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
    cursor: Option<Cursor>,
    asking: &Asking,
) -> Result<Open, SyncError> {
    let held = database.frontier();
    let haves = match asking.haves {
        true => database.sample(MAX_HAVES).await?,
        false => Vec::new(),
    };
    let newest = held.tips.len().saturating_sub(MAX_TIPS);
    let hints = Hints {
        tips: held.tips[newest..].to_vec(),
        haves,
        ..Hints::default()
    };
    Ok(Open {
        database: database.id(),
        cursor,
        count: held.count,
        tips_digest: TipsDigest::of(held.tips),
        hints: asking.hints.then_some(hints),
        wants: Vec::new(),
        budget: Budget {
            bytes: ANSWER_BYTES,
            millis: ANSWER_MILLIS,
        },
        without: asking.without,
    })
}

async fn take_in(
    stream: &mut AnswerStream,
    database: &Database,
    peer: PublicKey,
    is_unproven: &mut bool,
) -> Result<Outcome, SyncError> {
    let answer = match stream.expect().await? {
        Answer::Open(answer) => Box::new(answer),
        Answer::NeedHints => return Ok(Outcome::NeedHints),
        other => return Err(unexpected(&other, database)),
    };
    if answer.rule == Rule::EqualTips {
        return Ok(Outcome::Ended(answer, Brought::default(), false));
    }
    let mut intake = Intake::new(database.clone(), peer);
    // The last entry may go on beyond what was asked for.
    let mut budget = 2 * ANSWER_BYTES;
    loop {
        match stream.next().await {
            Ok(Some(Answer::Data(frame))) => {
                let may_carry = may_carry(database, &peer);
                *is_unproven &= !may_carry;
                if !may_carry && !*is_unproven {
                    intake.flush().await?;
                    return Err(SyncError::no_level(database.id(), &peer));
                }
                budget = budget.saturating_sub(frame.piece.len() as u64);
                if budget == 0 {
                    return Err(SyncError::protocol("the answer goes on beyond its budget"));
                }
                if let Err(error) = intake.feed(&frame).await {
                    intake.flush().await?;
                    return Err(error);
                }
            }
            Ok(Some(Answer::End(End { mark, more }))) => {
                if !intake.is_at(&mark) {
                    return Err(SyncError::protocol("the answer does not end at its mark"));
                }
                intake.flush().await?;
                finish(database, peer, &intake, mark.cursor).await?;
                return Ok(Outcome::Ended(answer, intake.brought, more));
            }
            Ok(Some(other)) => return Err(unexpected(&other, database)),
            Ok(None) => return Err(SyncError::protocol("the answer ended without its end")),
            Err(error) => {
                // What came before the break stays, and is gone on from.
                intake.flush().await?;
                return Err(error);
            }
        }
    }
}

/// Advances the cursor to the end of an answer whose last entries the peer left out.
async fn finish(
    database: &Database,
    peer: PublicKey,
    intake: &Intake,
    cursor: Cursor,
) -> Result<(), SyncError> {
    let is_new = intake.cursor() != Some(cursor) && cursor.epoch != Epoch([0; 16]);
    if is_new && !intake.brought.is_stuck && database.frontier().count > 0 {
        let extra = Peers::advance(database.id(), &peer, cursor);
        database
            .ingest(eidetica_store::Offer {
                extra,
                ..Default::default()
            })
            .await?;
    }
    Ok(())
}

pub(crate) fn unexpected(answer: &Answer, database: &Database) -> SyncError {
    match answer {
        Answer::Refused(refusal) => SyncError::refused(refusal, &database.id(), &database.device()),
        _ => SyncError::protocol("the peer sent a frame that does not belong here"),
    }
}
