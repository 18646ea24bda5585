//! Owns tickets: the text that one person hands to another so that a device can join a database.
//! What proves an invite is `invite`'s, what it allows the engine's.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use eidetica_core::{DatabaseId, PublicKey};
use eidetica_transport::{Address, PeerAddress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    InviteId, InviteSecret,
    wire::{
        codec,
        limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES},
    },
};

/// Starts the text of a ticket.
const PREFIX: &str = "eidetica:";
/// The version of tickets written here.
const VERSION: u8 = 1;
/// Bytes of the checksum that ends a ticket: finds every slip of a person but one in 2³².
const CHECKSUM_BYTES: usize = 4;
/// Bytes before the body: the version and, big-endian, the length of the body.
const HEAD_BYTES: usize = 3;
/// What a device needs to join a database: its name, where it is held and, if the ticket lets
/// its bearer in, an invite. Written `eidetica:` and base32.
///
/// ```
/// use eidetica_sync::DatabaseTicket;
///
/// let root = "a".repeat(52).parse::<eidetica_core::DatabaseId>()?;
/// let ticket = DatabaseTicket::new(root, ["http://127.0.0.1:7000".parse()?])?;
/// assert_eq!(ticket.to_string().parse(), Ok(ticket));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTicket {
    database: DatabaseId,
    peers: Vec<PeerAddress>,
    invite: Option<TicketInvite>,
}

/// What the bearer of a ticket needs to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketInvite {
    /// The device that issued the invite and alone redeems it.
    pub issuer: PublicKey,
    /// The invite's name there.
    pub id: InviteId,
    /// What proves it; never sent.
    pub secret: InviteSecret,
}

/// Why a ticket is none, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The text does not start with `eidetica:`.
    Prefix,
    /// The position of a character that no ticket has.
    Character(usize),
    /// The end of the text is missing.
    Truncated,
    /// The text goes on after the end of the ticket.
    Trailing,
    /// Some characters were changed.
    Checksum,
    /// A version newer than this crate's.
    Version(u8),
    /// More addresses than a ticket holds; the number found.
    TooManyPeers(usize),
    /// An address longer than a ticket holds; its bytes.
    AddressTooLong(usize),
    /// The ticket was made by something that does not follow its format.
    Malformed,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => write!(f, "a ticket starts with `{PREFIX}`"),
            Self::Character(at) => write!(f, "no ticket has this character. position=`{at}`"),
            Self::Truncated => write!(f, "the end of the ticket is missing"),
            Self::Trailing => write!(f, "the text goes on after the end of the ticket"),
            Self::Checksum => write!(f, "characters of the ticket were changed"),
            Self::Version(n) => write!(f, "ticket version is unknown. version=`{n}`"),
            Self::TooManyPeers(n) => {
                write!(
                    f,
                    "a ticket has at most {MAX_ADDRESSES} addresses. addresses=`{n}`"
                )
            }
            Self::AddressTooLong(n) => {
                write!(
                    f,
                    "an address has at most {MAX_ADDRESS_BYTES} bytes. bytes=`{n}`"
                )
            }
            Self::Malformed => write!(f, "ticket does not follow its format"),
        }
    }
}

impl std::error::Error for TicketError {}

impl DatabaseTicket {
    /// A ticket for a database that is held at these addresses.
    ///
    /// # Errors
    /// [`TicketError::TooManyPeers`] or [`TicketError::AddressTooLong`].
    pub fn new(
        database: DatabaseId,
        peers: impl IntoIterator<Item = PeerAddress>,
    ) -> Result<Self, TicketError> {
        let peers: Vec<_> = peers.into_iter().collect();
        if peers.len() > MAX_ADDRESSES {
            return Err(TicketError::TooManyPeers(peers.len()));
        }
        match peers
            .iter()
            .map(|peer| peer.address.to_string().len())
            .max()
        {
            Some(n) if n > MAX_ADDRESS_BYTES => Err(TicketError::AddressTooLong(n)),
            _ => Ok(Self {
                database,
                peers,
                invite: None,
            }),
        }
    }

    /// Adds an invite; whoever sees the ticket's text can then redeem it.
    #[must_use]
    pub fn with_invite(mut self, invite: TicketInvite) -> Self {
        self.invite = Some(invite);
        self
    }

    /// The database.
    pub fn database(&self) -> DatabaseId {
        self.database
    }

    /// Where the database is held, best first.
    pub fn peers(&self) -> &[PeerAddress] {
        &self.peers
    }

    /// The invite.
    pub fn invite(&self) -> Option<&TicketInvite> {
        self.invite.as_ref()
    }
}

/// The body of a ticket, in canonical postcard.
#[derive(Serialize, Deserialize)]
struct Body {
    database: DatabaseId,
    #[serde(deserialize_with = "codec::list::<_, _, MAX_ADDRESSES>")]
    peers: Vec<BodyPeer>,
    invite: Option<TicketInvite>,
}

#[derive(Serialize, Deserialize)]
struct BodyPeer {
    key: Option<PublicKey>,
    /// The address without its key.
    #[serde(deserialize_with = "codec::text::<_, MAX_ADDRESS_BYTES>")]
    address: String,
}

impl fmt::Display for DatabaseTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = |peer: &PeerAddress| BodyPeer {
            key: peer.key,
            address: peer.address.to_string(),
        };
        let body = Body {
            database: self.database,
            peers: self.peers.iter().map(peer).collect(),
            invite: self.invite.clone(),
        };
        let body = codec::write(Vec::new(), &body);
        let length = u16::try_from(body.len()).expect("16 addresses of 512 bytes fit in 64 KiB");
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&checksum(&bytes));
        write!(
            f,
            "{PREFIX}{}",
            BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
        )
    }
}

impl FromStr for DatabaseTicket {
    type Err = TicketError;

    /// Reads a ticket; blanks around it are ignored.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let bytes = from_base32(
            text.trim()
                .strip_prefix(PREFIX)
                .ok_or(TicketError::Prefix)?,
        )?;
        let (head, rest) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(TicketError::Truncated)?;
        let [version, length @ ..] = *head;
        let length = usize::from(u16::from_be_bytes(length));
        match rest.len() {
            n if n < length + CHECKSUM_BYTES => return Err(TicketError::Truncated),
            n if n > length + CHECKSUM_BYTES => return Err(TicketError::Trailing),
            _ => {}
        }
        let (body, sum) = rest.split_at(length);
        if checksum(&bytes[..HEAD_BYTES + length]) != sum {
            return Err(TicketError::Checksum);
        }
        if version != VERSION {
            return Err(TicketError::Version(version));
        }
        let body: Body = codec::read(body, "ticket").map_err(|_| TicketError::Malformed)?;
        let peers: Option<Vec<_>> = body.peers.into_iter().map(BodyPeer::into_address).collect();
        let ticket = Self::new(body.database, peers.ok_or(TicketError::Malformed)?)?;
        Ok(match body.invite {
            Some(invite) => ticket.with_invite(invite),
            None => ticket,
        })
    }
}

impl BodyPeer {
    fn into_address(self) -> Option<PeerAddress> {
        let (scheme, rest) = self.address.split_once("://")?;
        if scheme.is_empty() || rest.is_empty() {
            return None;
        }
        Some(PeerAddress {
            address: Address::new(scheme, rest),
            key: self.key,
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(bytes));
    [a, b, c, d]
}

/// Bytes of the whole ticket by what its beginning says; the fewest there are if that is short.
fn declared_bytes(bytes: &[u8]) -> usize {
    let body = match bytes {
        [_, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    HEAD_BYTES + body + CHECKSUM_BYTES
}

/// Positions are counted from the beginning of the trimmed ticket.
fn from_base32(text: &str) -> Result<Vec<u8>, TicketError> {
    let alien = |c: char| !matches!(c, 'a'..='z' | '2'..='7');
    if let Some(at) = text.find(alien) {
        return Err(TicketError::Character(PREFIX.len() + at));
    }
    match BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind == data_encoding::DecodeKind::Length => Err(TicketError::Truncated),
        // Bits that a whole text leaves at zero: the text is cut off or its end is changed.
        Err(_) => {
            let whole_blocks = text.len() / 8 * 8;
            let beginning =
                BASE32_NOPAD.decode(text[..whole_blocks].to_ascii_uppercase().as_bytes());
            let is_cut = declared_bytes(&beginning.unwrap_or_default()) > text.len() * 5 / 8;
            Err(if is_cut {
                TicketError::Truncated
            } else {
                TicketError::Checksum
            })
        }
    }
}
