//! Owns the grammar of the commands about who may do what, and of the ways in.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use eidetica::{
    DatabaseTicket, Level, PeerAddress, PublicKey, Subject, core::authority::LevelError,
    sync::TrustPolicy,
};

use super::{PeerCommand, parse_seconds};

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Prints who may do what, who gave it, and when
    Members {
        db: String,
        /// Every change instead, in order of arrival, with those that became void
        #[arg(long)]
        history: bool,
    },
    /// Gives a key a level; `none` takes it away
    Grant {
        db: String,
        /// A device's key, or `anyone`
        #[arg(value_parser = parse_subject)]
        key: Subject,
        /// none, relay, read, write, admin or admin:N; `admin` is one below your own
        #[arg(value_parser = parse_grant)]
        level: Grant,
        /// A name for the key, for people
        #[arg(long, default_value = "")]
        name: String,
        /// Signs by the recovery key in a file instead of this device's
        #[arg(long, value_name = "FILE")]
        recovery: Option<PathBuf>,
    },
    /// Takes a key's level away, so that it gets nothing more and is not listened to
    ///
    /// What it wrote before stays; what it writes beside the removal, or later, does not count.
    Revoke {
        db: String,
        /// A device's key, or `anyone`
        #[arg(value_parser = parse_subject)]
        key: Subject,
        /// Signs by the recovery key in a file instead of this device's
        #[arg(long, value_name = "FILE")]
        recovery: Option<PathBuf>,
    },
    /// Prints who asks for access to databases of which this device is an admin
    Requests {
        /// Those for one database; for all by default
        db: Option<String>,
        /// Those that were denied, too
        #[arg(long)]
        denied: bool,
        /// Who was refused without asking, and what would let them in; inside `serve`, since it began
        #[arg(long, conflicts_with = "denied")]
        refused: bool,
    },
    /// Lets a key in that has asked for access
    Approve {
        db: String,
        /// The key, or the beginning of it
        key: String,
        /// Another level than it asked for
        level: Option<Level>,
    },
    /// Denies a request for access; whoever asked is not told
    Deny {
        db: String,
        /// The key, or the beginning of it
        key: String,
    },
    /// Prints or sets whom this device deals with, and the keys that you vouch for
    ///
    /// Nobody gets more of a database than its admins gave. A key that you vouch for may answer at
    /// an address without a key. With the policy `open` any key may; with `known`, the default,
    /// a key that nobody here knows can only redeem an invite, ask for access, and sync what anyone
    /// may.
    Trust {
        /// Vouches for a device's key
        #[arg(value_parser = parse_key)]
        key: Option<PublicKey>,
        /// Whose key it is, for people
        #[arg(long, requires = "key", default_value = "", value_name = "NAME")]
        name: String,
        /// Vouches for the key no more
        #[arg(long, requires = "key", conflicts_with = "name")]
        remove: bool,
        /// Sets the policy: known or open
        #[arg(long, value_name = "POLICY", conflicts_with = "key")]
        policy: Option<TrustPolicy>,
        /// Sets whether requests for access are listed: on or off
        #[arg(long, value_name = "ON", conflicts_with = "key", value_parser = parse_on)]
        requests: Option<bool>,
        /// About one database instead of all
        #[arg(long, value_name = "DB", conflicts_with = "key")]
        db: Option<String>,
    },
    /// Prints a ticket: what another device needs to find a database
    Share {
        db: String,
        /// Where this device is reached; may be repeated, and left out inside `serve`
        #[arg(long, value_name = "URL")]
        address: Vec<PeerAddress>,
        /// Lets whoever has the ticket in, once; this device must be reached for it
        #[arg(long)]
        invite: bool,
        #[command(flatten)]
        options: InviteArgs,
    },
    /// Fetches a database, or asks its admins for access
    ///
    /// A ticket with an invite lets this device in. Without one, and without a level that an admin
    /// has given before, access is asked for: once an admin has approved, `eidetica sync` or the
    /// same command again goes on.
    Join {
        ticket: DatabaseTicket,
        /// What to tell the admins of this device if access must be asked for
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
        /// What to ask for then: relay, read or write
        #[arg(long, value_name = "LEVEL", default_value = "read")]
        level: Level,
        /// Tries again for so long while nobody answers
        #[arg(long, value_name = "SECONDS", default_value = "0", allow_negative_numbers = true, value_parser = parse_seconds)]
        wait: Duration,
    },
    /// Prints the invites that this device has issued, or revokes one
    Invites {
        /// Those to one database; to all by default
        db: Option<String>,
        /// Ends an invite, named by the beginning of its id; who was let in stays
        #[arg(long, value_name = "ID", conflicts_with = "db")]
        revoke: Option<String>,
    },
    /// Prints the devices that this one keeps up with, or changes what is done with one
    Peers {
        #[command(subcommand)]
        command: Option<PeerCommand>,
    },
    /// Prints how each database stands with each device
    ///
    /// Inside `serve` what happens now; else what became of it when `serve` or `sync` last ran.
    Status {
        /// One database; all by default
        db: Option<String>,
    },
}

/// What an invite allows.
#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    /// The level that the invite gives: relay, read, write or admin:N
    #[arg(
        long,
        value_name = "LEVEL",
        requires = "invite",
        default_value = "read"
    )]
    pub(crate) level: Level,
    /// How many devices may use it
    #[arg(long, value_name = "N", requires = "invite", default_value_t = 1)]
    pub(crate) uses: u32,
    /// For how long, as in 90m, 12h or 7d
    #[arg(long, value_name = "TIME", requires = "invite", default_value = "7d", value_parser = parse_time)]
    pub(crate) expires: Duration,
    /// For whom, for people; becomes the name of who uses it
    #[arg(
        long = "for",
        value_name = "NAME",
        requires = "invite",
        default_value = ""
    )]
    pub(crate) note: String,
}

/// The level that `grant` gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Grant {
    /// This one.
    Level(Level),
    /// An admin just below the one who grants.
    NextAdmin,
}

fn parse_grant(text: &str) -> Result<Grant, LevelError> {
    match text {
        "admin" => Ok(Grant::NextAdmin),
        _ => text.parse().map(Grant::Level),
    }
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    match text {
        "anyone" => Ok(Subject::Anyone),
        _ => parse_key(text).map(Subject::Key),
    }
}

fn parse_key(text: &str) -> Result<PublicKey, String> {
    let key = format!("ed25519:{}", text.trim_start_matches("ed25519:"));
    key.parse::<PublicKey>().map_err(|e| e.to_string())
}

fn parse_on(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

/// A number and s, m, h or d.
fn parse_time(text: &str) -> Result<Duration, String> {
    let message = || "a time is a number and s, m, h or d, as in 12h".to_owned();
    let (at, unit) = text.char_indices().last().ok_or_else(message)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(message()),
    };
    let number: u64 = text[..at].parse().map_err(|_| message())?;
    let seconds = number.checked_mul(seconds).ok_or_else(message)?;
    Ok(Duration::from_secs(seconds))
}
