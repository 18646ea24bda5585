//! Owns the grammar of the commands about other devices that this one keeps up with.

use clap::{Subcommand, ValueEnum};
use eidetica::{PeerAddress, sync::Direction};

/// What is to be done about other devices.
#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Keeps databases up to date with a device from now on, whenever `serve` runs
    Add {
        /// Where it is reached, and its key: quic://KEY@HOST:PORT
        peer: PeerAddress,
        /// Which databases: those that it lets this device read by default
        db: Vec<String>,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
    },
    /// Forgets a device and how far it was followed; what came from it stays
    Remove {
        /// Its key, the beginning of it, or its name
        peer: String,
    },
    /// Lets the databases of a device, or one of them, rest until `resume`
    Pause {
        /// Its key, the beginning of it, or its name
        peer: String,
        /// One database; all by default
        db: Option<String>,
    },
    /// Ends a rest
    Resume {
        /// Its key, the beginning of it, or its name
        peer: String,
        /// One database; all by default
        db: Option<String>,
    },
    /// Sets which way entries go, and whose turn comes first
    Set {
        /// Its key, the beginning of it, or its name
        peer: String,
        db: String,
        /// Which way entries go
        #[arg(long)]
        direction: Option<DirectionArg>,
        /// Greater goes first; 0 unless set
        #[arg(long, value_name = "-128..127", allow_negative_numbers = true)]
        priority: Option<i8>,
    },
}

/// Which way entries go.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DirectionArg {
    /// Both ways
    Both,
    /// From the other device to this one
    Pull,
    /// From this device to the other one
    Push,
}

impl From<DirectionArg> for Direction {
    fn from(direction: DirectionArg) -> Self {
        match direction {
            DirectionArg::Both => Self::Both,
            DirectionArg::Pull => Self::PullOnly,
            DirectionArg::Push => Self::PushOnly,
        }
    }
}
