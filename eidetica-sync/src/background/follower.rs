//! Owns whether a peer comes by itself: it follows here all that is synced with it, so it need not be
//! reached.

use std::time::Duration;

use eidetica_core::{DatabaseId, PublicKey};

use crate::{
    background::Context,
    engine::{Hub, Mailbox},
};

/// How long a peer may take from the end of one subscription to the next.
const GRACE: Duration = Duration::from_secs(5);

/// A peer that follows some databases here.
pub(super) struct Follower {
    hub: Hub,
    peer: PublicKey,
    /// Told when a subscription of the peer ends, among other things.
    mailbox: Mailbox,
}

impl Follower {
    /// The peer, if it follows all of the databases.
    pub(super) fn of_all(hub: &Hub, peer: PublicKey, databases: &[DatabaseId]) -> Option<Self> {
        let mut mailbox = hub.mailbox();
        // First this, then a look: no end comes between them unseen.
        for database in databases {
            mailbox.follow(*database);
        }
        let hub = hub.clone();
        let follows_all = databases.iter().all(|id| hub.is_served(id, &peer));
        follows_all.then_some(Self { hub, peer, mailbox })
    }

    /// Waits until it no longer follows one of them.
    ///
    /// # Cancel safety
    /// Nothing is lost but the time waited.
    pub(super) async fn gone(&mut self, context: &Context) {
        loop {
            let database = self.mailbox.next().await;
            if self.hub.is_served(&database, &self.peer) {
                continue;
            }
            context.config.timer.sleep(GRACE).await;
            if !self.hub.is_served(&database, &self.peer) {
                return;
            }
        }
    }
}
