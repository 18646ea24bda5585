//! Owns the conformance suite of `SyncTransport`: what an implementer calls and hands in. The
//! cases and the scripted handlers they use are in the modules below.

pub mod cases;
mod script;

use std::{sync::Arc, time::Duration};

use eidetica_core::PublicKey;
use eidetica_transport::{Address, PeerAddress, SyncTransport};

/// A case that has not ended by then has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(180);

/// Two devices' ends of the transport under test, not yet listening.
#[derive(Debug, Clone)]
pub struct TransportPair {
    /// Is asked; configured to listen on any free address (port 0 or the like).
    pub server: Arc<dyn SyncTransport>,
    /// Asks.
    pub client: Arc<dyn SyncTransport>,
    /// The server's device key, if the transport proves identities.
    pub server_key: Option<PublicKey>,
    /// The client's device key, if the transport proves identities.
    pub client_key: Option<PublicKey>,
    /// A well-formed address of this transport where nobody answers.
    pub unreachable: PeerAddress,
    /// An address of another transport.
    pub foreign: Address,
}

impl TransportPair {
    /// A pair of a transport that proves no identities.
    pub fn new(
        server: impl SyncTransport,
        client: impl SyncTransport,
        unreachable: Address,
    ) -> Self {
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
            server_key: None,
            client_key: None,
            unreachable: PeerAddress {
                address: unreachable,
                key: None,
            },
            foreign: Address::new("carrier-pigeon", "loft-7"),
        }
    }

    /// Declares that the transport proves identities, and which.
    #[must_use]
    pub fn with_keys(mut self, server: PublicKey, client: PublicKey) -> Self {
        self.unreachable.key = Some(server);
        self.server_key = Some(server);
        self.client_key = Some(client);
        self
    }
}

/// Runs one case on a runtime of its own, with a deadline.
///
/// # Panics
/// When the case fails or does not end in time.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing but memory and a few file descriptors");
    runtime.block_on(async {
        tokio::time::timeout(CASE_DEADLINE, case)
            .await
            .expect("the case ends in time");
    });
}

/// Expands to one `#[test]` for each clause of `SyncTransport` (some clauses have two), named
/// after it: `t1_…` to `t11_…`.
///
/// Takes an expression that, called without arguments and awaited, gives a fresh
/// [`TransportPair`](crate::transport::TransportPair): an `async fn` or an `async` closure. It
/// runs inside a tokio runtime. The implementer's crate needs no tokio of its own. To test
/// two configurations, call it in two modules.
///
/// ```
/// mod memory {
///     use eidetica_testkit::transport::TransportPair;
///     use eidetica_transport::{Address, MemoryNetwork, MemoryTransport};
///
///     async fn pair() -> TransportPair {
///         let network = MemoryNetwork::new();
///         let (server, client) = (MemoryTransport::new(&network), MemoryTransport::new(&network));
///         TransportPair::new(server, client, Address::new("memory", "nobody"))
///     }
///
///     eidetica_testkit::transport_conformance!(pair);
/// }
/// ```
#[macro_export]
macro_rules! transport_conformance {
    ($pair:expr) => {
        $crate::transport_conformance! { @cases $pair;
            t1_requests_of_every_size_arrive_unchanged
            t2_frames_arrive_whole_in_order_and_as_cut
            t2_a_stream_of_100_mb_arrives_unchanged
            t3_an_answer_that_breaks_off_yields_an_error
            t4_a_request_over_the_limit_is_refused
            t4_a_frame_over_the_limit_is_refused
            t5_a_slow_answer_delays_no_other
            t5_an_unread_answer_delays_no_other
            t6_dropping_an_answer_drops_the_stream_of_the_handler
            t6_dropping_a_request_drops_the_future_of_the_handler
            t7_reading_slowly_slows_the_sender
            t8_unreachable_and_foreign_addresses_are_told_apart
            t9_identities_are_proven_or_not_claimed
            t10_a_server_names_where_it_listens
            t11_stopping_ends_everything_and_frees_the_address
            t11_dropping_the_handle_stops_the_server
        }
    };
    (@cases $pair:expr; $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                $crate::transport::run($crate::transport::cases::$case($pair));
            }
        )+
    };
}
