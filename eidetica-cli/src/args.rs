//! Owns the grammar of the command line, which is also that of the lines `serve` reads. Commands
//! about values are in `data`, those about history in `history`, those about who may do what in
//! `access`.

mod access;
mod data;
mod history;
mod peers;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use eidetica::PeerAddress;

pub(crate) use self::{
    access::{AccessCommand, Grant, InviteArgs},
    data::{DataCommand, KindArg},
    history::HistoryCommand,
    peers::PeerCommand,
};

const AFTER_HELP: &str = "\
DB is an id, a unique beginning of one, or a unique name. PATH is a JSON Pointer (/a/b) or keys
with dots between (a.b). Where a list is, a number names an element (/items/0), and `-` what `put`
appends (/items/-). In a table PATH is the id of a row, with a field of it if wanted
(ID.title); `put` of an object at `-` adds a row and prints its id.

A new store is a document, or a table with --kind table. Stores of other kinds are listed, and
seen by `log`, `show` and `diff`.

Data is kept in --data, else in $EIDETICA_DATA, else in $XDG_DATA_HOME/eidetica, else in
~/.local/share/eidetica. `init`, `id`, `db create`, `join`, `restore` and `serve` make it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by policy or passphrase,
4 not found, 5 unreachable.";

/// A local-first database: every device holds a full, verifiable copy, writes offline, and
/// converges with its peers.
#[derive(Debug, Parser)]
#[command(name = "eidetica", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Args {
    /// The folder that holds this device's data
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Prints one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// A file with the passphrase of the device key, else $EIDETICA_PASSPHRASE
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Root certificates (PEM) to believe for https addresses, instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows two devices, one database, from the first write to a kept conflict
    Demo {
        /// What to import: one JSON object a line; by default the history of a project
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Makes the data folder and the device key
    Init,
    /// Prints the device key
    Id,
    /// Creates and shows databases
    #[command(subcommand)]
    Db(DbCommand),
    #[command(flatten)]
    Data(DataCommand),
    #[command(flatten)]
    History(HistoryCommand),
    /// Accepts connections, keeps up with known devices, and takes commands, until it is stopped
    ///
    /// Every database that was joined or synced is kept up to date with the devices it was synced
    /// with (`peers`), what is written on either side at once. How that goes is told on standard
    /// error, and by `status`.
    ///
    /// Each line on standard input is a command in this same grammar. It is answered on standard
    /// output by one line of JSON: an object, an array of them from commands that list, or
    /// {"error","code"}.
    Serve(ServeArgs),
    #[command(flatten)]
    Access(AccessCommand),
    /// Brings this device and another to the same entries
    Sync {
        db: String,
        /// With whom (quic://KEY@HOST:PORT, KEY may be left out); those known by default
        #[arg(long, value_name = "URL")]
        peer: Option<PeerAddress>,
        /// Tries again for so long while nobody answers
        #[arg(long, value_name = "SECONDS", default_value = "0", allow_negative_numbers = true, value_parser = parse_seconds)]
        wait: Duration,
    },
    /// Checks the data
    Doctor {
        /// Builds anew what is derived from the entries, and names entries that are lost
        #[arg(long)]
        repair: bool,
    },
    /// Writes databases to a file, whole: entries as they were signed
    ///
    /// The device key is not in it: another device that restores it is another author.
    Dump {
        /// `-` writes to standard output
        file: PathBuf,
        /// All by default
        db: Vec<String>,
        /// Replaces the file if there is one
        #[arg(long)]
        force: bool,
    },
    /// Brings back the databases of a dump, merging them with what is here
    Restore {
        /// `-` reads standard input
        file: PathBuf,
    },
    /// Gives back the room that the data does not need
    Compact,
    /// Seals the device key with a passphrase
    ///
    /// Commands take the passphrase from --passphrase-file, else from $EIDETICA_PASSPHRASE. `init`
    /// seals the new key if there is one.
    #[command(subcommand)]
    Passphrase(PassphraseCommand),
}

/// Where `serve` listens, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Listens on QUIC; without any address on 127.0.0.1:0
    #[arg(long, value_name = "ADDR")]
    pub(crate) quic: Option<SocketAddr>,
    /// Listens on HTTP
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Listens on HTTP over TLS, with this certificate and its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "http", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Prints a ticket for a database; may be repeated
    #[arg(long, value_name = "DB")]
    pub(crate) share: Vec<String>,
    /// Connections that may be open at once; 2048 of QUIC and 1024 of HTTP by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Lifts the limits on what one address may have and ask: others come through a proxy, or from
    /// behind one router
    #[arg(long)]
    pub(crate) behind_proxy: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseCommand {
    /// Seals the key, or gives it another passphrase
    Set {
        /// The new passphrase, without the line's end; `-` reads standard input
        file: PathBuf,
    },
    /// Keeps the key unsealed
    Remove,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Creates a database, with this device as its first admin
    Create {
        name: String,
        /// Writes a recovery key to a new file, and makes it the first admin instead; keep it away
        /// from any device. With it `grant` and `revoke` work when the device is lost or stolen
        #[arg(long, value_name = "FILE")]
        recovery: Option<PathBuf>,
    },
    /// Lists databases
    List {
        /// Those of another device that this one may read
        #[arg(long, value_name = "URL")]
        peer: Option<PeerAddress>,
    },
    /// Prints what a database holds, in short
    Info { db: String },
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}
