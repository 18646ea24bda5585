//! Owns the cases of addresses, identities and stopping: T8 to T11.

use bytes::Bytes;
use eidetica_core::{PublicKey, SecretKey};
use eidetica_transport::{FrameStream, PeerAddress, TransportError, TransportErrorKind};
use tokio::task::JoinSet;

use crate::transport::{
    TransportPair,
    cases::Session,
    script::{Counter, Script, frames, hanging, next, read, within},
};

fn stray_key() -> PublicKey {
    SecretKey::from_bytes(&[0xa5; 32]).public()
}

/// T8: an address where nobody is and an address of another type are different errors.
pub async fn t8_unreachable_and_foreign_addresses_are_told_apart(
    pair: impl AsyncFnOnce() -> TransportPair,
) {
    let TransportPair {
        client,
        unreachable,
        foreign,
        ..
    } = pair().await;
    assert!(client.can_handle_address(&unreachable.address));
    assert!(!client.can_handle_address(&foreign));
    let foreign = PeerAddress {
        address: foreign,
        key: unreachable.key,
    };
    for (to, kind) in [
        (unreachable, TransportErrorKind::Unreachable),
        (foreign, TransportErrorKind::Address),
    ] {
        let answer = within("an answer or none", client.send_request(&to, Bytes::new())).await;
        let error = answer.err().expect("nobody answers there");
        assert_eq!(error.kind(), kind, "{to}: {error}");
    }
}

/// T9: the caller's key is proven to the handler, a wrong server is refused; or nothing is
/// claimed.
pub async fn t9_identities_are_proven_or_not_claimed(pair: impl AsyncFnOnce() -> TransportPair) {
    let seen = Counter::new();
    let counter = seen.clone();
    let script = Script::new(move |context, _| {
        counter.add();
        let key = context.proven.map_or(String::new(), |key| key.to_string());
        async move { frames([Bytes::from(key), Bytes::from(context.transport)]) }
    });
    let mut session = Session::start(pair, script).await;
    let proven = session
        .pair
        .client_key
        .map_or(String::new(), |key| key.to_string());
    let expected = [proven.as_str(), session.pair.server.transport_type()];
    assert_eq!(session.ask_whole("who am I").await, expected);

    session.to.key = Some(stray_key());
    if session.pair.server_key.is_none() {
        assert_eq!(session.ask_whole("who am I").await, expected);
        return;
    }
    let error = session.ask_in_vain("who are you").await;
    assert_eq!(error.kind(), TransportErrorKind::WrongPeer, "{error}");
    assert_eq!(
        seen.count(),
        1,
        "a request reached a peer that was not meant"
    );
    session.to.key = session.pair.server_key;
    assert_eq!(
        session.ask_whole("who am I").await,
        expected,
        "the right key goes on working"
    );
}

/// T10: a server names what it really listens on, and that can be asked.
pub async fn t10_a_server_names_where_it_listens(pair: impl AsyncFnOnce() -> TransportPair) {
    let mut session = Session::start(pair, Script::new(|_, r| async { frames([r]) })).await;
    let addresses = session.handle.addresses();
    assert!(!addresses.is_empty(), "a server has an address");
    for address in addresses {
        assert!(
            !address.rest().ends_with(":0"),
            "port 0 is no real port: {address}"
        );
        assert!(
            session.pair.client.can_handle_address(&address),
            "{address}"
        );
        let to = PeerAddress {
            address,
            key: session.pair.server_key,
        };
        session.to = to
            .to_string()
            .parse()
            .expect("an address survives its text form");
        assert_eq!(session.ask_whole("hello").await, ["hello"], "{to}");
    }
}

/// One answer that hangs and one request that is not answered yet, on a session of two.
async fn under_way(
    pair: impl AsyncFnOnce() -> TransportPair,
) -> (
    Session,
    FrameStream,
    JoinSet<Option<TransportError>>,
    Counter,
) {
    let (seen, dropped) = (Counter::new(), Counter::new());
    let (saw, counter) = (seen.clone(), dropped.clone());
    let script = Script::new(move |_, request: Bytes| {
        let (saw, guard) = (saw.clone(), counter.guard());
        async move {
            saw.add();
            if request == "hang" {
                return hanging(request, guard);
            }
            std::future::pending::<()>().await;
            hanging(request, guard)
        }
    });
    let session = Session::start(pair, script).await;
    let mut answer = session.ask("hang").await;
    next(&mut answer)
        .await
        .expect("a first frame")
        .expect("a whole one");
    let (client, to) = (session.pair.client.clone(), session.to.clone());
    let mut pending = JoinSet::new();
    pending.spawn(async move {
        match client.send_request(&to, Bytes::from_static(b"wait")).await {
            Ok(mut answer) => read(&mut answer).await.1,
            Err(e) => Some(e),
        }
    });
    within("both requests are under way", seen.reached(2)).await;
    (session, answer, pending, dropped)
}

/// Both exchanges of [`under_way`] end with an error.
async fn ends(mut answer: FrameStream, mut pending: JoinSet<Option<TransportError>>) {
    let error = next(&mut answer)
        .await
        .expect("no quiet end")
        .expect_err("no further frame");
    assert_eq!(error.kind(), TransportErrorKind::Interrupted, "{error}");
    let error = within("the unanswered request ends", pending.join_next()).await;
    let error = error.expect("one task").expect("that ends");
    assert!(
        error.is_some(),
        "a request that was never answered ended well"
    );
}

/// T11: after `stop` nothing is accepted, nothing is under way, and the server can start anew.
pub async fn t11_stopping_ends_everything_and_frees_the_address(
    pair: impl AsyncFnOnce() -> TransportPair,
) {
    let (session, answer, pending, dropped) = under_way(pair).await;
    within("stop returns", session.handle.stop()).await;
    assert_eq!(
        dropped.count(),
        2,
        "the handler still works on answers after stop"
    );
    ends(answer, pending).await;
    let error = session.ask_in_vain("too late").await;
    let kinds = [
        TransportErrorKind::Unreachable,
        TransportErrorKind::Interrupted,
    ];
    assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
    within("stop returns again", session.handle.stop()).await;

    let again = session.pair.clone();
    let echo = Script::new(|_, request| async { frames([request]) });
    let session = Session::start(async || again, echo).await;
    assert_eq!(session.ask_whole("hello").await, ["hello"]);
}

/// T11: dropping the handle stops too.
pub async fn t11_dropping_the_handle_stops_the_server(pair: impl AsyncFnOnce() -> TransportPair) {
    let (session, answer, pending, dropped) = under_way(pair).await;
    let Session { pair, handle, to } = session;
    drop(handle);
    ends(answer, pending).await;
    within("the handler works on nothing", dropped.reached(2)).await;
    let refused = async {
        while let Ok(answer) = pair.client.send_request(&to, Bytes::new()).await {
            drop(answer);
        }
    };
    within("requests are refused", refused).await;
}
