//! Owns how peers are reached: the transports, the sessions with those at the other end, and the
//! first words exchanged with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eidetica_core::PublicKey;
use eidetica_transport::{PeerAddress, SyncTransport};

use crate::{
    Answer, Hello, Refusal, Request, SUPPORTED_VERSIONS, SecureClient, SyncConfig,
    bandwidth::Throttle,
    engine::{
        SyncError, SyncErrorKind, connection::Connection, listening::Listening, peers::Peers,
    },
};

type Transports = Vec<Arc<dyn SyncTransport>>;

/// What reaches peers. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    client: Arc<SecureClient>,
    transports: Arc<Mutex<Transports>>,
    peers: Peers,
    config: SyncConfig,
    listening: Arc<Listening>,
    throttle: Arc<Throttle>,
}

impl Links {
    pub(crate) fn new(
        client: SecureClient,
        peers: Peers,
        listening: Arc<Listening>,
        throttle: Arc<Throttle>,
        config: SyncConfig,
    ) -> Self {
        Self {
            listening,
            throttle,
            client: Arc::new(client),
            transports: Arc::default(),
            peers,
            config,
        }
    }

    /// What is known of peers.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) fn register(&self, transport: Arc<dyn SyncTransport>) {
        self.lock().push(transport);
    }

    pub(crate) fn transport(&self, name: &str) -> Result<Arc<dyn SyncTransport>, SyncError> {
        let transports = self.lock();
        let found = transports.iter().find(|t| t.transport_type() == name);
        found.cloned().ok_or_else(|| no_transport(name))
    }

    pub(crate) fn connection(&self, to: &PeerAddress) -> Result<Connection, SyncError> {
        let transports = self.lock();
        let found = transports
            .iter()
            .find(|t| t.can_handle_address(&to.address));
        let transport = found.ok_or_else(|| no_transport(to.address.scheme()))?;
        let client = Arc::clone(&self.client);
        let config = self.config.clone();
        Ok(Connection::new(
            client,
            Arc::clone(transport),
            to.clone(),
            config,
            Arc::clone(&self.throttle),
        ))
    }

    /// Asks who answers, and in which version.
    pub(crate) async fn greet(&self, connection: &Connection) -> Result<PublicKey, SyncError> {
        let hello = Hello {
            versions: SUPPORTED_VERSIONS,
            capabilities: Vec::new(),
            // Who answers where nobody was named may be anybody.
            listen: match connection.address().key {
                Some(_) => self.listening.told(),
                None => Vec::new(),
            },
        };
        let mut answer = connection.request(&Request::Hello(hello)).await?;
        match answer.expect().await? {
            Answer::Hello(theirs) if theirs.version == SUPPORTED_VERSIONS.max => {
                let seen_at = Some(&connection.address().address);
                let now = self.config.timer.instant();
                let heard = self.peers.hear(answer.peer, &theirs.listen, seen_at, now);
                heard.await?;
                Ok(answer.peer)
            }
            Answer::Refused(Refusal::Versions(range)) => Err(SyncError::versions(range)),
            Answer::Refused(Refusal::Limited { limit, wait_millis }) => {
                Err(SyncError::limited(&limit, wait_millis))
            }
            _ => Err(SyncError::protocol(
                "the peer answers a greeting with something else",
            )),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Transports> {
        // A panic elsewhere leaves a list that is whole.
        self.transports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_transport(scheme: &str) -> SyncError {
    SyncError::new(
        SyncErrorKind::Invalid,
        format!("no transport is set up for it. type=`{scheme}`"),
    )
}
