//! Owns the tests of tickets.

use eidetica_core::{DatabaseId, SecretKey};
use eidetica_sync::{DatabaseTicket, InviteId, InviteSecret, TicketError, TicketInvite};
use eidetica_transport::{Address, PeerAddress};
use proptest::prelude::*;

use crate::golden::assert_golden;

fn ticket() -> DatabaseTicket {
    let key = SecretKey::from_bytes(&[7; 32]).public();
    let peers = [
        PeerAddress {
            address: Address::new("quic", "127.0.0.1:4433"),
            key: Some(key),
        },
        PeerAddress {
            address: Address::new("http", "example.org:80"),
            key: None,
        },
    ];
    DatabaseTicket::new(DatabaseId::from_bytes([5; 32]), peers)
        .unwrap()
        .with_invite(TicketInvite {
            issuer: key,
            id: InviteId::from_bytes([8; 10]),
            secret: InviteSecret::from_bytes([9; 32]),
        })
}

fn parse(text: &str) -> Result<DatabaseTicket, TicketError> {
    text.parse()
}

#[test]
fn golden_ticket() {
    let bare = DatabaseTicket::new(DatabaseId::from_bytes([5; 32]), []).unwrap();
    let line = |ticket: &DatabaseTicket| ticket.to_string().into_bytes();
    assert_golden(
        "ticket",
        &[("bare", line(&bare)), ("full", line(&ticket()))],
    );
}

#[test]
fn a_ticket_survives_its_text_form_and_blanks_around_it() {
    assert_eq!(parse(&ticket().to_string()), Ok(ticket()));
    assert_eq!(parse(&format!(" {}\n", ticket())), Ok(ticket()));
}

#[test]
fn a_damaged_ticket_says_what_is_wrong() {
    let text = ticket().to_string();
    assert_eq!(parse(&text[1..]), Err(TicketError::Prefix));
    assert_eq!(
        parse(&text.replace("idetica:", "idetica:!")),
        Err(TicketError::Character(9))
    );
    assert_eq!(
        parse(&format!("{text}aaaaaaaa")),
        Err(TicketError::Trailing)
    );
    for n in 9..text.len() {
        assert_eq!(parse(&text[..n]), Err(TicketError::Truncated), "cut at {n}");
    }
    let swapped = format!("{}b{}", &text[..40], &text[41..]);
    assert_ne!(swapped, text);
    assert_eq!(parse(&swapped), Err(TicketError::Checksum));
}

#[test]
fn any_one_wrong_character_is_noticed() {
    let text = ticket().to_string();
    for at in 0..text.len() {
        for other in ["a", "7", "0", "ü", ":"] {
            let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(
                damaged == text || parse(&damaged).is_err(),
                "{other} at {at}"
            );
        }
    }
}

#[test]
fn a_ticket_of_another_version_says_so() {
    let mut bytes = vec![9, 0, 0];
    let sum = sha256(&bytes);
    bytes.extend_from_slice(&sum[..4]);
    let text = data_encoding::BASE32_NOPAD
        .encode(&bytes)
        .to_ascii_lowercase();
    assert_eq!(
        parse(&format!("eidetica:{text}")),
        Err(TicketError::Version(9))
    );
}

#[test]
fn tickets_are_bounded() {
    let peer = |rest: &str| PeerAddress {
        address: Address::new("http", rest),
        key: None,
    };
    let database = DatabaseId::from_bytes([5; 32]);
    let many = vec![peer("h"); 17];
    assert_eq!(
        DatabaseTicket::new(database, many),
        Err(TicketError::TooManyPeers(17))
    );
    let long = [peer(&"h".repeat(506))];
    assert_eq!(
        DatabaseTicket::new(database, long),
        Err(TicketError::AddressTooLong(513))
    );
    let largest = DatabaseTicket::new(database, vec![peer(&"h".repeat(505)); 16]).unwrap();
    assert_eq!(parse(&largest.to_string()), Ok(largest));
}

#[test]
fn the_secret_of_an_invite_is_not_printed() {
    assert!(format!("{:?}", ticket()).contains("InviteSecret(..)"));
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    // An id is the plain hash of its bytes.
    *eidetica_core::EntryId::of(bytes).as_bytes()
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(eidetica:)?[a-z2-7]{0,64}") {
        prop_assert!(parse(&text).is_err());
    }
}
