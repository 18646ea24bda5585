//! Owns the tests of requests and answers.

use eidetica_core::{Arrival, DatabaseId, EntryId, SecretKey, authority::Level};
use eidetica_sync::{
    Answer, Budget, Cursor, DataFrame, End, Epoch, Followed, Head, Hello, HelloAnswer, Hints,
    InviteId, InviteProof, LiveFrame, LiveOffer, Mark, Open, OpenAnswer, ProtocolError, Push,
    PushId, PushOffer, Pushed, Redeem, Refusal, Request, RequestAccess, Rule, RuleSet, RunningHash,
    Subscribe, TipsDigest, VersionRange, limits,
};
use proptest::prelude::*;

use crate::golden::assert_golden;

fn id(n: u8) -> EntryId {
    EntryId::from_bytes([n; 32])
}

fn cursor() -> Cursor {
    Cursor {
        epoch: Epoch([3; 16]),
        arrival: Arrival(300),
    }
}

fn mark() -> Mark {
    Mark {
        cursor: cursor(),
        count: 2,
        hash: RunningHash::default().with(id(1)).with(id(2)),
    }
}

fn data() -> DataFrame {
    DataFrame {
        signatures: vec![4; 64],
        piece: vec![5; 7],
        raw_len: 7,
        compressed: false,
        mark: Some(mark()),
    }
}

fn open() -> Open {
    Open {
        database: DatabaseId::from_bytes([6; 32]),
        cursor: None,
        count: 9,
        tips_digest: TipsDigest::of([id(2), id(1)]),
        hints: None,
        wants: Vec::new(),
        budget: Budget {
            bytes: 1 << 20,
            millis: 20_000,
        },
        without: RuleSet::default(),
    }
}

fn full_open() -> Open {
    let author = SecretKey::from_bytes(&[7; 32]).public();
    let hints = Hints {
        tips: vec![id(1), id(2)],
        haves: vec![id(3)],
        heads: vec![Head {
            author,
            seq: 700,
            prefix: 1,
        }],
        sketch: Some(vec![8; 3]),
        ranges: Some(Vec::new()),
    };
    Open {
        cursor: Some(cursor()),
        hints: Some(hints),
        wants: vec![id(4)],
        without: RuleSet::default().with(Rule::Cursor).with(Rule::Parents),
        ..open()
    }
}

fn request_access() -> RequestAccess {
    RequestAccess {
        database: DatabaseId::from_bytes([6; 32]),
        level: Level::Write,
        message: "the phone".into(),
    }
}

fn followed(cursor: Option<Cursor>) -> Followed {
    Followed {
        database: DatabaseId::from_bytes([6; 32]),
        cursor,
        offers: cursor.is_none(),
    }
}

fn offer() -> PushOffer {
    PushOffer {
        database: DatabaseId::from_bytes([6; 32]),
        tips: vec![id(1), id(2)],
    }
}

fn subscribe() -> Subscribe {
    Subscribe {
        databases: vec![followed(Some(cursor())), followed(None)],
        millis: 25_000,
    }
}

fn requests() -> Vec<(&'static str, Request)> {
    let versions = VersionRange { min: 1, max: 300 };
    let hello = Hello {
        versions,
        capabilities: vec!["live".into()],
        listen: vec!["quic://h:1".into()],
    };
    let push = Push {
        database: DatabaseId::from_bytes([6; 32]),
        push: PushId([1; 16]),
        index: 2,
        frames: vec![data()],
        last: true,
    };
    let redeem = Redeem {
        database: DatabaseId::from_bytes([6; 32]),
        issuer: SecretKey::from_bytes(&[7; 32]).public(),
        invite: InviteId::from_bytes([8; 10]),
        proof: InviteProof::from_bytes([9; 32]),
    };
    vec![
        ("hello", Request::Hello(hello)),
        ("list_databases", Request::ListDatabases),
        ("open", Request::Open(Box::new(open()))),
        ("open_full", Request::Open(Box::new(full_open()))),
        ("push", Request::Push(push)),
        ("subscribe", Request::Subscribe(subscribe())),
        ("offer", Request::Offer(offer())),
        ("request_access", Request::RequestAccess(request_access())),
        ("redeem", Request::Redeem(redeem)),
        ("fetch_payloads", Request::Unknown(7)),
        ("ping", Request::Ping),
    ]
}

fn answers() -> Vec<(&'static str, Answer)> {
    let open = OpenAnswer {
        rule: Rule::Cursor,
        epoch: Epoch([3; 16]),
        count: 10,
        tips_digest: TipsDigest::of([id(1)]),
        tips: vec![id(1)],
        lacks: vec![id(2)],
        total: 4,
        cursor: Some(cursor()),
    };
    let hello = HelloAnswer {
        version: 1,
        capabilities: Vec::new(),
        listen: vec!["x://y".into()],
    };
    let entry = Refusal::Entry {
        id: id(9),
        rule: "height 9, parents say 7".into(),
    };
    let live = LiveFrame {
        index: 300,
        ends: true,
        data: data(),
    };
    let offer = LiveOffer {
        index: 300,
        cursor: cursor(),
        tips: vec![id(1), id(2)],
    };
    let refused = Answer::Refused;
    vec![
        ("hello", Answer::Hello(hello)),
        (
            "databases",
            Answer::Databases(vec![DatabaseId::from_bytes([6; 32])]),
        ),
        ("open", Answer::Open(open)),
        ("data", Answer::Data(data())),
        (
            "end",
            Answer::End(End {
                mark: mark(),
                more: true,
            }),
        ),
        ("need_hints", Answer::NeedHints),
        (
            "pushed",
            Answer::Pushed(Pushed {
                index: 2,
                mark: Some(mark()),
                known: 300,
            }),
        ),
        ("no_database", refused(Refusal::NoDatabase)),
        ("unsupported", refused(Refusal::Unsupported)),
        ("busy", refused(Refusal::Busy)),
        (
            "versions",
            refused(Refusal::Versions(VersionRange { min: 1, max: 1 })),
        ),
        ("malformed", refused(Refusal::Malformed)),
        ("quota", refused(Refusal::Quota)),
        ("entry", refused(entry)),
        ("unknown_push", refused(Refusal::UnknownPush)),
        ("pong", Answer::Pong),
        ("live", Answer::Live(live)),
        ("behind", Answer::Behind(300)),
        ("closed", Answer::Closed(1)),
        ("heartbeat", Answer::Heartbeat),
        ("offered", Answer::Offered(offer)),
        ("wanted", Answer::Wanted(vec![id(1), id(2)])),
        ("granted", Answer::Granted(Level::Admin(300))),
        ("requested", Answer::Requested),
        ("invite", refused(Refusal::Invite)),
        ("ask_issuer", refused(Refusal::AskIssuer)),
        (
            "limited",
            refused(Refusal::Limited {
                limit: "requests of a peer".to_owned(),
                wait_millis: 250,
            }),
        ),
    ]
}

#[test]
fn golden_requests() {
    let lines: Vec<_> = requests()
        .iter()
        .map(|(name, request)| (*name, request.encode().to_vec()))
        .collect();
    assert_golden("requests", &lines);
}

#[test]
fn golden_answers() {
    let lines: Vec<_> = answers()
        .iter()
        .map(|(name, answer)| (*name, answer.encode().to_vec()))
        .collect();
    assert_golden("answers", &lines);
}

#[test]
fn messages_round_trip() {
    for (name, request) in requests() {
        assert_eq!(Request::decode(&request.encode()), Ok(request), "{name}");
    }
    for (name, answer) in answers() {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer), "{name}");
    }
}

#[test]
fn truncated_and_trailing_messages_are_refused() {
    for (name, request) in requests() {
        let bytes = request.encode();
        if matches!(request, Request::Unknown(_)) {
            continue;
        }
        for n in 0..bytes.len() {
            assert!(Request::decode(&bytes[..n]).is_err(), "{name} cut at {n}");
        }
        assert!(
            Request::decode(&[&bytes[..], &[0]].concat()).is_err(),
            "{name} and more"
        );
    }
    for (name, answer) in answers() {
        let bytes = answer.encode();
        for n in 0..bytes.len() {
            assert!(Answer::decode(&bytes[..n]).is_err(), "{name} cut at {n}");
        }
        assert!(
            Answer::decode(&[&bytes[..], &[0]].concat()).is_err(),
            "{name} and more"
        );
    }
}

#[test]
fn overlong_integers_are_refused() {
    let answer = Answer::Pushed(Pushed {
        index: 2,
        mark: None,
        known: 0,
    })
    .encode();
    assert_eq!(answer[..], [6, 2, 0, 0]);
    assert_eq!(
        Answer::decode(&[6, 0x82, 0, 0, 0]),
        Err(ProtocolError::Malformed("push answer"))
    );
}

#[test]
fn unknown_requests_are_told_from_malformed_ones() {
    assert_eq!(
        Request::decode(&[1, 200, 1, 2, 3]),
        Ok(Request::Unknown(200))
    );
    assert_eq!(Request::decode(&[9, 8]), Err(ProtocolError::Version(9)));
    assert_eq!(
        Answer::decode(&[200]),
        Err(ProtocolError::UnknownAnswer(200))
    );
}

#[test]
fn a_hello_is_read_whatever_version_sent_it() {
    let (_, hello) = requests().remove(0);
    let mut bytes = hello.encode().to_vec();
    bytes[0] = 9;
    assert_eq!(Request::decode(&bytes), Ok(hello));
}

#[test]
fn the_highest_common_version_is_chosen() {
    let range = |min, max| VersionRange { min, max };
    assert_eq!(range(1, 3).highest_common(range(2, 9)), Some(3));
    assert_eq!(range(1, 3).highest_common(range(3, 3)), Some(3));
    assert_eq!(range(1, 3).highest_common(range(4, 9)), None);
}

#[test]
fn messages_over_the_limit_are_refused_unread() {
    let mut request = vec![1, 4];
    request.resize(limits::MAX_REQUEST_BYTES + 1, 0);
    let too_large = |what, max| Err(ProtocolError::TooLarge(what, max, max + 1));
    assert_eq!(
        Request::decode(&request),
        too_large("request", limits::MAX_REQUEST_BYTES)
    );
    let mut push = vec![1, 3];
    push.resize(limits::MAX_PUSH_BYTES + 1, 0);
    assert_eq!(
        Request::decode(&push),
        too_large("push", limits::MAX_PUSH_BYTES)
    );
    let frame = vec![3; limits::MAX_FRAME_BYTES + 1];
    assert_eq!(
        Answer::decode(&frame).err(),
        Some(ProtocolError::TooLarge(
            "frame",
            limits::MAX_FRAME_BYTES,
            frame.len()
        ))
    );
}

#[test]
fn lists_over_their_limits_are_refused() {
    let with = |change: fn(&mut Open)| {
        let mut open = full_open();
        change(&mut open);
        Request::decode(&Request::Open(Box::new(open)).encode())
    };
    let refused = Err(ProtocolError::Malformed("open"));
    assert!(with(|open| open.wants = vec![id(1); limits::MAX_WANTS]).is_ok());
    assert_eq!(
        with(|open| open.wants = vec![id(1); limits::MAX_WANTS + 1]),
        refused
    );
    let tips = |open: &mut Open| {
        open.hints = Some(Hints {
            tips: vec![id(1); limits::MAX_TIPS + 1],
            ..Hints::default()
        });
    };
    assert_eq!(with(tips), refused);
    let haves = |open: &mut Open| {
        open.hints = Some(Hints {
            haves: vec![id(1); limits::MAX_HAVES + 1],
            ..Hints::default()
        });
    };
    assert_eq!(with(haves), refused);
    let sketch = |open: &mut Open| {
        let sketch = Some(vec![0; limits::MAX_SKETCH_BYTES + 1]);
        open.hints = Some(Hints {
            sketch,
            ..Hints::default()
        });
    };
    assert_eq!(with(sketch), refused);
    let refusal = Refusal::Entry {
        id: id(1),
        rule: "x".repeat(limits::MAX_REASON_BYTES + 1),
    };
    assert_eq!(
        Answer::decode(&Answer::Refused(refusal).encode()),
        Err(ProtocolError::Malformed("refusal"))
    );
}

#[test]
fn as_many_databases_are_followed_as_fit_a_request_and_no_more() {
    let last = Cursor {
        epoch: Epoch([3; 16]),
        arrival: Arrival(u64::MAX),
    };
    let with = |count| {
        let databases = vec![followed(Some(last)); count];
        let millis = u32::MAX;
        Request::decode(&Request::Subscribe(Subscribe { databases, millis }).encode())
    };
    assert!(with(limits::MAX_FOLLOWED).is_ok());
    let refused = Err(ProtocolError::Malformed("subscription"));
    assert_eq!(with(limits::MAX_FOLLOWED + 1), refused);
}

#[test]
fn nobody_can_ask_to_be_an_admin_or_with_a_long_message() {
    let with = |change: fn(&mut RequestAccess)| {
        let mut asked = request_access();
        change(&mut asked);
        Request::decode(&Request::RequestAccess(asked).encode())
    };
    let refused = Err(ProtocolError::Malformed("request for access"));
    assert!(with(|asked| asked.message = "x".repeat(limits::MAX_MESSAGE_BYTES)).is_ok());
    assert_eq!(
        with(|asked| asked.message = "x".repeat(limits::MAX_MESSAGE_BYTES + 1)),
        refused
    );
    for change in [
        |asked: &mut RequestAccess| asked.level = Level::None,
        |asked: &mut RequestAccess| asked.level = Level::WEAKEST_ADMIN,
    ] {
        assert_eq!(with(change), refused);
    }
}

#[test]
fn a_declared_length_beyond_the_message_is_refused() {
    // A list of 2⁶³ databases in three bytes more than its number.
    let bytes = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(
        Answer::decode(&bytes),
        Err(ProtocolError::Malformed("list of databases"))
    );
}

#[test]
fn the_digest_of_tips_does_not_depend_on_their_order() {
    assert_eq!(
        TipsDigest::of([id(1), id(2), id(1)]),
        TipsDigest::of([id(2), id(1)])
    );
    assert_ne!(TipsDigest::of([id(1)]), TipsDigest::of([id(2)]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_decode_canonically(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(answer) = Answer::decode(&bytes) {
            prop_assert_eq!(&answer.encode()[..], &bytes[..]);
        }
        let request = [&[1], &bytes[..]].concat();
        match Request::decode(&request) {
            Ok(Request::Unknown(_)) | Err(_) => {}
            Ok(decoded) => prop_assert_eq!(&decoded.encode()[..], &request[..]),
        }
    }
}
