//! Owns going on with joins that are not done: an admin may decide, or an issuer be reached, at any
//! time.

use std::{sync::Arc, time::Duration};

use crate::{
    Sync, Timer,
    engine::{SyncError, WeakSync},
};

/// From one attempt to the next.
const PAUSE: Duration = Duration::from_secs(30);

/// Goes on with joins for as long as there is the sync that they are of.
pub(super) async fn pursue_joins(sync: WeakSync, timer: Arc<dyn Timer>) {
    while let Some(sync) = sync.upgrade() {
        if let Err(error) = attempt_all(&sync).await {
            tracing::error!(%error, "joins that are not done cannot be read");
        }
        drop(sync);
        timer.sleep(PAUSE).await;
    }
}

async fn attempt_all(sync: &Sync) -> Result<(), SyncError> {
    for join in sync.pending_joins().await? {
        let database = join.ticket.database();
        match sync.complete_join(database, Duration::ZERO).await {
            Ok(report) => tracing::info!(%database, peer = %report.peer, "join done"),
            Err(error) => tracing::debug!(%database, %error, "join not done yet"),
        }
    }
    Ok(())
}
