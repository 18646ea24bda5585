//! Owns the tests of secure channels.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_core::{PublicKey, SecretKey};
use eidetica_sync::{
    ChannelError, ChannelErrorKind, ChannelIdentity, PeerHandler, RequestContext, SecureClient,
    SecureServer,
};
use eidetica_transport::{
    Address, FrameStream, MemoryNetwork, MemoryTransport, PeerAddress, ServerHandle, SyncHandler,
    SyncTransport, TransportContext, TransportError, TransportErrorKind,
};
use futures_core::Stream;
use tokio::sync::Barrier;

fn device(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn identity(n: u8) -> ChannelIdentity {
    ChannelIdentity::generate(&device(n)).unwrap()
}

const CLIENT: u8 = 1;
const SERVER: u8 = 2;
const STRANGER: u8 = 3;

/// The first byte of a sealed request.
const SEALED: u8 = 3;

/// Answers with the request, an empty frame and a large one.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<(RequestContext, Bytes)>>,
    /// Where requests wait for each other, if they do.
    together: Option<Barrier>,
}

impl Echo {
    fn peers(&self) -> Vec<PublicKey> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|(context, _)| context.peer)
            .collect()
    }
}

fn echo_of(request: &[u8]) -> Vec<Bytes> {
    vec![
        Bytes::copy_from_slice(request),
        Bytes::new(),
        vec![7; 256 * 1024].into(),
    ]
}

#[async_trait]
impl PeerHandler for Echo {
    async fn handle(&self, context: RequestContext, request: Bytes) -> FrameStream {
        self.seen.lock().unwrap().push((context, request.clone()));
        if let Some(barrier) = &self.together {
            barrier.wait().await;
        }
        Box::pin(Frames(echo_of(&request).into_iter().map(Ok).collect()))
    }
}

struct Frames(VecDeque<Result<Bytes, TransportError>>);

impl Stream for Frames {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// What stands between the two sides and may change what passes, by number. An empty answer
/// means that the connection ends there.
type Tap = Box<dyn Fn(usize, &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// A transport whose owner sees and changes everything.
struct Wire {
    handler: Mutex<Arc<dyn SyncHandler>>,
    proven: Option<PublicKey>,
    requests: Mutex<Vec<Bytes>>,
    on_request: Tap,
    frames: Arc<Mutex<Vec<Bytes>>>,
    on_frame: Arc<Tap>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

fn pass() -> Tap {
    Box::new(|_, bytes| Some(bytes.to_vec()))
}

impl Wire {
    fn new(handler: Arc<dyn SyncHandler>) -> Self {
        Self {
            handler: Mutex::new(handler),
            proven: None,
            requests: Mutex::default(),
            on_request: pass(),
            frames: Arc::default(),
            on_frame: Arc::new(pass()),
        }
    }

    fn to(n: u8) -> (Self, Arc<Echo>) {
        let echo = Arc::new(Echo::default());
        (Self::new(server(n, &echo)), echo)
    }

    fn requests(&self) -> Vec<Bytes> {
        self.requests.lock().unwrap().clone()
    }

    fn count(&self, kind: u8) -> usize {
        self.requests()
            .iter()
            .filter(|request| request[0] == kind)
            .count()
    }

    fn context(&self) -> TransportContext {
        TransportContext {
            transport: "wire",
            remote_address: None,
            proven: self.proven,
        }
    }

    /// Sends bytes as they are.
    async fn inject(&self, request: Bytes) -> Result<Vec<Bytes>, TransportError> {
        let handler = self.handler.lock().unwrap().clone();
        collect(handler.handle_request(self.context(), request).await).await
    }
}

#[async_trait]
impl SyncTransport for Wire {
    fn transport_type(&self) -> &'static str {
        "wire"
    }

    fn can_handle_address(&self, _: &Address) -> bool {
        true
    }

    async fn send_request(
        &self,
        _: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let request = (self.on_request)(number, &request).unwrap().into();
        let handler = self.handler.lock().unwrap().clone();
        let inner = handler.handle_request(self.context(), request).await;
        let (frames, on_frame) = (self.frames.clone(), self.on_frame.clone());
        Ok(Box::pin(Tapped {
            inner,
            frames,
            on_frame,
        }))
    }

    async fn start_server(
        &self,
        _: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        Err(TransportError::new(
            TransportErrorKind::Listen,
            "a wire has one handler",
        ))
    }
}

struct Tapped {
    inner: FrameStream,
    frames: Arc<Mutex<Vec<Bytes>>>,
    on_frame: Arc<Tap>,
}

impl Stream for Tapped {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.inner.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let mut frames = self.frames.lock().unwrap();
                frames.push(frame.clone());
                let changed = (self.on_frame)(frames.len() - 1, &frame);
                Poll::Ready(changed.map(|frame| Ok(frame.into())))
            }
            other => other,
        }
    }
}

fn server(n: u8, echo: &Arc<Echo>) -> Arc<SecureServer> {
    Arc::new(SecureServer::new(identity(n), echo.clone()))
}

fn client() -> SecureClient {
    SecureClient::new(identity(CLIENT))
}

fn address(key: Option<PublicKey>) -> PeerAddress {
    PeerAddress {
        address: Address::new("wire", "there"),
        key,
    }
}

fn meant() -> PeerAddress {
    address(Some(device(SERVER).public()))
}

async fn collect(mut stream: FrameStream) -> Result<Vec<Bytes>, TransportError> {
    let mut frames = Vec::new();
    while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        frames.push(frame?);
    }
    Ok(frames)
}

#[derive(Debug)]
enum Failure {
    Request(ChannelError),
    Answer(TransportError),
}

async fn ask(
    client: &SecureClient,
    wire: &dyn SyncTransport,
    to: &PeerAddress,
    request: &[u8],
) -> Result<(PublicKey, Vec<Bytes>), Failure> {
    let request = Bytes::copy_from_slice(request);
    let (peer, frames) = client
        .request(wire, to, request)
        .await
        .map_err(Failure::Request)?;
    Ok((peer, collect(frames).await.map_err(Failure::Answer)?))
}

fn kind(failure: Result<(PublicKey, Vec<Bytes>), Failure>) -> ChannelErrorKind {
    match failure {
        Err(Failure::Request(error)) => error.kind(),
        other => panic!("the request should fail: {other:?}"),
    }
}

#[tokio::test]
async fn both_sides_learn_who_is_at_the_other_end() {
    let (wire, echo) = Wire::to(SERVER);
    let (peer, frames) = ask(&client(), &wire, &address(None), b"hello")
        .await
        .unwrap();
    assert_eq!(peer, device(SERVER).public());
    assert_eq!(frames, echo_of(b"hello"));
    assert_eq!(echo.peers(), [device(CLIENT).public()]);
}

#[tokio::test]
async fn the_largest_request_and_an_empty_one_arrive_over_a_real_transport() {
    let network = MemoryNetwork::new();
    let echo = Arc::new(Echo::default());
    let listening = MemoryTransport::new(&network).with_name("server");
    let handle = listening.start_server(server(SERVER, &echo)).await.unwrap();
    let to = PeerAddress {
        address: handle.addresses().remove(0),
        key: None,
    };
    let (client, dialling) = (client(), MemoryTransport::new(&network));
    for request in [vec![], vec![1; 65_518], vec![2; 65_519], vec![3; 1 << 20]] {
        let handled = echo.seen.lock().unwrap().len();
        // The echo of a request of 1 MiB is no frame, so only what the handler saw counts.
        let answer = ask(&client, &dialling, &to, &request).await;
        assert!(answer.is_ok() || request.len() == 1 << 20);
        assert_eq!(echo.seen.lock().unwrap()[handled].1, request);
    }
}

#[tokio::test]
async fn sealed_requests_and_answers_are_not_readable_on_the_way() {
    let (wire, _) = Wire::to(SERVER);
    let secret = b"a sentence that nobody else shall read";
    ask(&client(), &wire, &meant(), secret).await.unwrap();
    let frames = wire.frames.lock().unwrap().clone();
    for passed in wire.requests().iter().chain(&frames) {
        assert!(!passed.windows(secret.len()).any(|window| window == secret));
        let client = device(CLIENT).public();
        assert!(!passed.windows(32).any(|window| window == client.as_bytes()));
    }
}

#[tokio::test]
async fn another_key_than_the_one_meant_is_refused_before_the_own_identity_is_sent() {
    let (wire, echo) = Wire::to(STRANGER);
    assert_eq!(
        kind(ask(&client(), &wire, &meant(), b"x").await),
        ChannelErrorKind::WrongPeer
    );
    // Only the ephemeral key has left.
    let sizes: Vec<_> = wire.requests().iter().map(Bytes::len).collect();
    assert_eq!(sizes, [1 + 32]);
    assert_eq!(echo.peers(), []);
}

/// A handler of the man in the middle: answers as itself and asks the real server.
struct Middle {
    client: SecureClient,
    wire: Wire,
}

#[async_trait]
impl PeerHandler for Middle {
    async fn handle(&self, _: RequestContext, request: Bytes) -> FrameStream {
        self.client
            .request(&self.wire, &address(None), request)
            .await
            .unwrap()
            .1
    }
}

fn middle() -> (Wire, Arc<Echo>) {
    let (wire, echo) = Wire::to(SERVER);
    let own = identity(STRANGER);
    let middle = Middle {
        client: SecureClient::new(own.clone()),
        wire,
    };
    (
        Wire::new(Arc::new(SecureServer::new(own, Arc::new(middle)))),
        echo,
    )
}

#[tokio::test]
async fn a_man_in_the_middle_is_refused() {
    let (wire, echo) = middle();
    assert_eq!(
        kind(ask(&client(), &wire, &meant(), b"x").await),
        ChannelErrorKind::WrongPeer
    );
    assert_eq!(echo.peers(), []);
}

#[tokio::test]
async fn without_an_expected_key_a_man_in_the_middle_succeeds_but_under_its_own_key() {
    let (wire, echo) = middle();
    let (peer, frames) = ask(&client(), &wire, &address(None), b"x").await.unwrap();
    assert_eq!(frames, echo_of(b"x"));
    assert_eq!(peer, device(STRANGER).public());
    assert_eq!(echo.peers(), [device(STRANGER).public()]);
}

#[tokio::test]
async fn a_recorded_request_is_not_answered_again() {
    let (wire, echo) = Wire::to(SERVER);
    ask(&client(), &wire, &meant(), b"once").await.unwrap();
    let recorded = wire.requests();
    assert_eq!(recorded.len(), 3);
    let replayed = wire.inject(recorded[2].clone()).await.unwrap_err();
    assert_eq!(replayed.kind(), TransportErrorKind::Interrupted);
    // The handshake it belongs to is over and cannot be ended a second time.
    assert_eq!(wire.inject(recorded[1].clone()).await.unwrap(), [&[0][..]]);
    assert_eq!(echo.peers().len(), 1);
}

#[tokio::test]
async fn a_recorded_request_means_nothing_to_another_server() {
    let (wire, _) = Wire::to(SERVER);
    ask(&client(), &wire, &meant(), b"once").await.unwrap();
    for n in [SERVER, STRANGER] {
        let (other, echo) = Wire::to(n);
        for request in &wire.requests()[1..] {
            assert_eq!(other.inject(request.clone()).await.unwrap(), [&[0][..]]);
        }
        assert_eq!(echo.peers(), []);
    }
}

#[tokio::test]
async fn a_request_under_another_number_is_refused() {
    let (wire, echo) = Wire::to(SERVER);
    ask(&client(), &wire, &meant(), b"once").await.unwrap();
    let mut renumbered = wire.requests()[2].to_vec();
    renumbered[20] += 1;
    assert!(wire.inject(renumbered.into()).await.is_err());
    assert_eq!(echo.peers().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_noticed() {
    // Two frames of the handshake, three of the answer and its end.
    for cut in 2..6 {
        let (mut wire, _) = Wire::to(SERVER);
        wire.on_frame = Arc::new(Box::new(move |n, frame| (n != cut).then(|| frame.to_vec())));
        let failure = ask(&client(), &wire, &meant(), b"x").await.unwrap_err();
        let interrupted = match failure {
            Failure::Request(error) => {
                error.kind() == ChannelErrorKind::Transport(TransportErrorKind::Interrupted)
            }
            Failure::Answer(error) => error.kind() == TransportErrorKind::Interrupted,
        };
        assert!(interrupted, "cut before frame {cut}");
    }
}

#[tokio::test]
async fn without_a_channel_a_cut_answer_passes_for_a_whole_one() {
    let (mut wire, _) = Wire::to(SERVER);
    wire.proven = Some(device(CLIENT).public());
    wire.on_frame = Arc::new(Box::new(|n, frame| (n != 1).then(|| frame.to_vec())));
    let client = client().with_proving_transport("wire");
    let (_, frames) = ask(&client, &wire, &meant(), b"x").await.unwrap();
    assert_eq!(frames, echo_of(b"x")[..1]);
}

#[tokio::test]
async fn frames_repeated_or_taken_from_another_answer_are_refused() {
    // Frames 2 to 5 are the first answer, 6 to 9 the second, of the same session.
    for (at, other) in [(7, 6), (8, 7), (6, 2), (7, 3), (9, 5)] {
        let (mut wire, _) = Wire::to(SERVER);
        let earlier = Mutex::new(Vec::new());
        wire.on_frame = Arc::new(Box::new(move |n, frame| {
            let mut earlier = earlier.lock().unwrap();
            earlier.push(frame.to_vec());
            Some(earlier[if n == at { other } else { n }].clone())
        }));
        let client = client();
        ask(&client, &wire, &meant(), b"x").await.unwrap();
        let failure = ask(&client, &wire, &meant(), b"x").await.unwrap_err();
        let refused =
            matches!(&failure, Failure::Answer(e) if e.kind() == TransportErrorKind::Protocol);
        assert!(refused, "frame {other} in place of {at}: {failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_lost_its_state_costs_one_new_handshake() {
    let (wire, echo) = Wire::to(SERVER);
    let client = client();
    ask(&client, &wire, &meant(), b"before").await.unwrap();
    *wire.handler.lock().unwrap() = server(SERVER, &echo);
    let (_, frames) = ask(&client, &wire, &meant(), b"after").await.unwrap();
    assert_eq!(frames, echo_of(b"after"));
    ask(&client, &wire, &meant(), b"later").await.unwrap();
    assert_eq!(
        (wire.count(1), wire.count(2), wire.count(SEALED)),
        (2, 2, 4)
    );
    assert_eq!(echo.peers().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_now_is_refused() {
    let (wire, echo) = Wire::to(SERVER);
    let client = client();
    ask(&client, &wire, &meant(), b"before").await.unwrap();
    *wire.handler.lock().unwrap() = server(STRANGER, &echo);
    assert_eq!(
        kind(ask(&client, &wire, &meant(), b"x").await),
        ChannelErrorKind::WrongPeer
    );
    assert_eq!(echo.peers().len(), 1);
}

#[tokio::test]
async fn a_server_that_forgets_at_once_does_not_keep_the_client_busy() {
    struct Amnesia(Arc<Echo>);
    #[async_trait]
    impl SyncHandler for Amnesia {
        async fn handle_request(&self, context: TransportContext, request: Bytes) -> FrameStream {
            server(SERVER, &self.0)
                .handle_request(context, request)
                .await
        }
    }
    let wire = Wire::new(Arc::new(Amnesia(Arc::default())));
    assert_eq!(
        kind(ask(&client(), &wire, &meant(), b"x").await),
        ChannelErrorKind::Handshake
    );
    assert_eq!(wire.requests().len(), 4);
}

#[tokio::test]
async fn requests_that_overlap_share_a_handshake_and_do_not_mix() {
    let echo = Arc::new(Echo {
        together: Some(Barrier::new(3)),
        ..Echo::default()
    });
    let wire = Wire::new(server(SERVER, &echo));
    let (client, to) = (client(), meant());
    let (a, b, c) = tokio::join!(
        ask(&client, &wire, &to, b"a"),
        ask(&client, &wire, &to, b"b"),
        ask(&client, &wire, &to, b"c"),
    );
    for (answer, request) in [(a, b"a"), (b, b"b"), (c, b"c")] {
        assert_eq!(answer.unwrap().1, echo_of(request));
    }
    assert_eq!(
        (wire.count(1), wire.count(2), wire.count(SEALED)),
        (1, 1, 3)
    );
}

#[tokio::test]
async fn many_handshakes_begun_by_others_do_not_keep_a_client_out() {
    let (wire, _) = Wire::to(SERVER);
    let client = client();
    ask(&client, &wire, &address(None), b"x").await.unwrap();
    let begin = wire.requests()[0].clone();
    for _ in 0..600 {
        wire.inject(begin.clone()).await.unwrap();
    }
    ask(&client, &wire, &meant(), b"x").await.unwrap();
    ask(&client, &wire, &address(None), b"x").await.unwrap();
    assert_eq!((wire.count(1), wire.count(SEALED)), (2, 3));
}

#[tokio::test]
async fn one_peer_keeps_sixteen_channels_and_takes_none_of_another() {
    let (wire, echo) = Wire::to(SERVER);
    let other = SecureClient::new(identity(STRANGER));
    ask(&other, &wire, &meant(), b"x").await.unwrap();
    let clients: Vec<_> = (0..17).map(|_| client()).collect();
    for client in &clients {
        ask(client, &wire, &meant(), b"x").await.unwrap();
    }
    let begun = wire.count(1);
    assert_eq!(begun, 18);
    // The other's and the last sixteen are there; the first of the peer begins anew.
    ask(&other, &wire, &meant(), b"x").await.unwrap();
    for client in &clients[1..] {
        ask(client, &wire, &meant(), b"x").await.unwrap();
    }
    assert_eq!(wire.count(1), begun);
    ask(&clients[0], &wire, &meant(), b"x").await.unwrap();
    assert_eq!(wire.count(1), begun + 1);
    assert_eq!(echo.peers().len(), 18 + 17 + 1);
}

#[tokio::test]
async fn a_plain_request_is_answered_only_where_the_transport_proves_its_sender() {
    let (mut wire, echo) = Wire::to(SERVER);
    let client = client().with_proving_transport("wire");
    let failure = ask(&client, &wire, &meant(), b"x").await.unwrap_err();
    assert!(matches!(failure, Failure::Answer(e) if e.kind() == TransportErrorKind::Protocol));
    assert_eq!(echo.peers(), []);

    wire.proven = Some(device(CLIENT).public());
    let (peer, frames) = ask(&client, &wire, &meant(), b"x").await.unwrap();
    assert_eq!((peer, frames), (device(SERVER).public(), echo_of(b"x")));
    assert_eq!(echo.peers(), [device(CLIENT).public()]);
    assert_eq!(wire.count(0), 2);
}

#[tokio::test]
async fn without_a_key_the_peer_is_proven_by_a_handshake_on_any_transport() {
    let (mut wire, echo) = Wire::to(SERVER);
    wire.proven = Some(device(CLIENT).public());
    let client = client().with_proving_transport("wire");
    let (peer, _) = ask(&client, &wire, &address(None), b"x").await.unwrap();
    assert_eq!(peer, device(SERVER).public());
    assert_eq!(echo.peers(), [device(CLIENT).public()]);
    assert_eq!(wire.count(0), 0);
}

#[tokio::test]
async fn a_handshake_by_another_key_than_the_transport_proves_is_refused() {
    let (mut wire, echo) = Wire::to(SERVER);
    wire.proven = Some(device(STRANGER).public());
    assert!(ask(&client(), &wire, &address(None), b"x").await.is_err());
    assert_eq!(echo.peers(), []);
}

#[tokio::test]
async fn a_session_taken_over_by_another_proven_sender_is_refused() {
    let (wire, echo) = Wire::to(SERVER);
    let client = client();
    ask(&client, &wire, &meant(), b"x").await.unwrap();
    let handler = wire.handler.lock().unwrap().clone();
    let mut other = Wire::new(handler);
    other.proven = Some(device(STRANGER).public());
    assert!(ask(&client, &other, &meant(), b"y").await.is_err());
    assert_eq!(echo.peers().len(), 1);
}

#[tokio::test]
async fn requests_of_no_known_form_are_refused() {
    let (wire, _) = Wire::to(SERVER);
    for request in [
        &[][..],
        &[0],
        &[1],
        &[1, 2, 3],
        &[2],
        &[3],
        &[3; 17],
        &[9],
        &[255; 40],
    ] {
        let refused = wire.inject(Bytes::copy_from_slice(request)).await;
        assert!(
            refused.is_err() || refused.unwrap() == [&[0][..]],
            "{request:?}"
        );
    }
    assert!(wire.inject(vec![1; 5000].into()).await.is_err());
}

/// Flips a bit of one message; what arrives must be right or nothing.
async fn tampered(request: bool, number: usize, at: usize) {
    let (mut wire, echo) = Wire::to(SERVER);
    let flip: Tap = Box::new(move |n, bytes| {
        let mut bytes = bytes.to_vec();
        if n == number {
            bytes[at] ^= 1;
        }
        Some(bytes)
    });
    match request {
        true => wire.on_request = flip,
        false => wire.on_frame = Arc::new(flip),
    }
    let outcome = ask(&client(), &wire, &meant(), b"right").await;
    for (context, request) in echo.seen.lock().unwrap().iter() {
        assert_eq!(
            (context.peer, &request[..]),
            (device(CLIENT).public(), &b"right"[..])
        );
    }
    if let Ok((peer, frames)) = outcome {
        let whole = peer == device(SERVER).public() && frames == echo_of(b"right");
        assert!(whole, "request={request} number={number} at={at}");
        // Only a name that the server does not know makes the client start anew.
        assert!(
            wire.requests().len() > 3,
            "request={request} number={number} at={at}"
        );
    }
}

#[tokio::test]
async fn a_byte_changed_anywhere_on_the_way_is_never_taken() {
    let (wire, _) = Wire::to(SERVER);
    ask(&client(), &wire, &meant(), b"right").await.unwrap();
    for (number, request) in wire.requests().iter().enumerate() {
        for at in 0..request.len() {
            tampered(true, number, at).await;
        }
    }
    let frames = wire.frames.lock().unwrap().clone();
    for (number, frame) in frames.iter().enumerate() {
        let step = if frame.len() > 1000 { 20_011 } else { 1 };
        for at in (0..frame.len()).step_by(step) {
            tampered(false, number, at).await;
        }
    }
}
