//! Owns reaching a peer: its addresses one beside the other, until the first that works.

use std::{sync::Arc, time::Duration};

use eidetica_core::PublicKey;
use eidetica_transport::PeerAddress;
use tokio::task::JoinSet;

use crate::{
    SyncErrorKind,
    background::{Context, addresses::Dialling},
    engine::{Connection, SyncError},
    timer::within,
};

/// How long an address may take to answer a greeting.
const ATTEMPT: Duration = Duration::from_secs(10);

/// A connection to a peer over the first of its addresses that answers.
pub(super) async fn dial(
    context: &Arc<Context>,
    peer: PublicKey,
    addresses: &[PeerAddress],
) -> Result<Connection, SyncError> {
    let mut dialling = Dialling::new(addresses.to_vec(), context.now());
    let mut attempts = JoinSet::new();
    let mut failed = None;
    loop {
        while let Some(address) = dialling.due(context.now()) {
            attempts.spawn(attempt(Arc::clone(context), peer, address));
        }
        if attempts.is_empty() && dialling.next_at().is_none() {
            return Err(failed.unwrap_or_else(nowhere));
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => {
                match ended {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(error)) => failed = Some(more_telling(failed, error)),
                    Err(error) => tracing::error!(%peer, %error, "an attempt to connect ended"),
                }
                dialling.failed(context.now());
            },
            () = context.sleep_until(dialling.next_at()) => {}
        }
    }
}

async fn attempt(
    context: Arc<Context>,
    peer: PublicKey,
    address: PeerAddress,
) -> Result<Connection, SyncError> {
    let connection = context.links.connection(&address)?.pinned(peer);
    let greeted = within(
        &*context.config.timer,
        ATTEMPT,
        context.links.greet(&connection),
    )
    .await;
    match greeted {
        Ok(greeted) => greeted.map(|_| connection),
        Err(_) => Err(SyncError::new(
            SyncErrorKind::Unreachable,
            format!("nobody answered in time. address=`{address}`"),
        )),
    }
}

/// Of the errors at two addresses, the one that says that somebody was there.
fn more_telling(before: Option<SyncError>, error: SyncError) -> SyncError {
    let is_silence = |error: &SyncError| {
        matches!(
            error.kind(),
            SyncErrorKind::Unreachable | SyncErrorKind::Invalid
        )
    };
    match before {
        Some(before) if is_silence(&error) => before,
        _ => error,
    }
}

fn nowhere() -> SyncError {
    SyncError::new(
        SyncErrorKind::Unreachable,
        "no address of the peer is known",
    )
}
