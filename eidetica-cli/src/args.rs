//! Owns the grammar of the command line, which is also that of the lines `serve` reads.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use eidetica::{DatabaseTicket, Level, PeerAddress, PublicKey, Subject, Value};

use crate::{form, kind::StoreKind};

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
    /// Writes a value
    Put {
        db: String,
        store: String,
        path: String,
        #[command(flatten)]
        kind: KindArg,
        /// The value, in JSON; a text needs its quotes
        #[arg(value_name = "JSON", value_parser = form::parse_value, allow_hyphen_values = true)]
        value: Value,
    },
    /// Prints a value
    Get {
        db: String,
        store: String,
        /// The whole document by default
        #[arg(default_value = "")]
        path: String,
        #[command(flatten)]
        kind: KindArg,
        /// Shows the concurrent values that it won over, too
        #[arg(long)]
        conflicts: bool,
        /// As it was after an entry, named by the beginning of its id; may be repeated
        #[arg(long, value_name = "ID", conflicts_with = "conflicts")]
        at: Vec<String>,
    },
    /// Removes a value with all that is below it, and prints it
    Del {
        db: String,
        store: String,
        path: String,
        #[command(flatten)]
        kind: KindArg,
    },
    /// Lists the stores of a database, the keys of a document, or the rows of a table
    List {
        db: String,
        store: Option<String>,
        #[command(flatten)]
        kind: KindArg,
        /// How many keys or rows at most
        #[arg(long, value_name = "N", requires = "store")]
        limit: Option<usize>,
        /// Only what follows a key or a row's id, such as the last one listed
        #[arg(long, value_name = "KEY", requires = "store")]
        after: Option<String>,
    },
    /// Writes rows: one JSON object a line
    Import {
        db: String,
        store: String,
        /// `-` reads standard input
        file: PathBuf,
        #[command(flatten)]
        kind: KindArg,
        /// Each line is {"key","value"}, as `export --keys` writes them
        #[arg(long, conflicts_with = "key")]
        keys: bool,
        /// The field that names a row; without it rows get a new name each (UUIDv7)
        #[arg(long, value_name = "FIELD")]
        key: Option<String>,
        /// Rows a commit at most; fewer where they would not fit in one entry
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch: u32,
    },
    /// Prints rows, one JSON object a line, ascending by key
    ///
    /// With STORE each row as it is, so that what `import --key` read comes back; a row that is
    /// no object is {"key","value"}. Without STORE every row of every document and table is
    /// {"store","key","value"}.
    Export {
        db: String,
        store: Option<String>,
        #[command(flatten)]
        kind: KindArg,
        /// Each row as {"key","value"}, which `import --keys` reads
        #[arg(long, requires = "store")]
        keys: bool,
    },
    /// Prints entries, the last to arrive first
    Log {
        db: String,
        /// All by default
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        limit: Option<usize>,
        /// Those that change a store
        #[arg(long)]
        store: Option<String>,
        /// Those of an author, named by the beginning of its key
        #[arg(long, value_name = "KEY")]
        author: Option<String>,
        /// Those that came after an entry or beside it, named by the beginning of its id; may be
        /// repeated, for what is in the past of none of them
        #[arg(long, value_name = "ID")]
        since: Vec<String>,
    },
    /// Prints an entry with its operations
    Show {
        db: String,
        /// The beginning of its id
        id: String,
    },
    /// Prints the last entries and their parents, in the language of Graphviz
    Graph {
        db: String,
        #[arg(
            long,
            value_name = "N",
            default_value_t = 50,
            allow_negative_numbers = true
        )]
        limit: usize,
    },
    /// Prints what differs between the states after two entries
    Diff {
        db: String,
        /// The beginning of an entry's id
        before: String,
        /// The last entries of all by default
        after: Option<String>,
    },
    /// Writes a value again as it was after an entry, and prints it
    Revert {
        db: String,
        store: String,
        path: String,
        #[command(flatten)]
        kind: KindArg,
        /// The entry, named by the beginning of its id; may be repeated
        #[arg(long, value_name = "ID", required = true)]
        at: Vec<String>,
    },
    /// Prints who may do what
    Members { db: String },
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
    },
    /// Accepts connections, and commands on standard input, until it is stopped
    ///
    /// Each line on standard input is a command in this same grammar. It is answered on standard
    /// output by one line of JSON: an object, an array of them from commands that list, or
    /// {"error","code"}.
    Serve {
        /// Listens on QUIC; without any address on 127.0.0.1:0
        #[arg(long, value_name = "ADDR")]
        quic: Option<SocketAddr>,
        /// Listens on HTTP
        #[arg(long, value_name = "ADDR")]
        http: Option<SocketAddr>,
        /// Prints a ticket for a database; may be repeated
        #[arg(long, value_name = "DB")]
        share: Vec<String>,
    },
    /// Prints a ticket: what another device needs to find a database
    Share {
        db: String,
        /// Where this device is reached; may be repeated, and left out inside `serve`
        #[arg(long, value_name = "URL")]
        address: Vec<PeerAddress>,
    },
    /// Fetches a database
    Join {
        ticket: DatabaseTicket,
        /// Tries again for so long while nobody answers
        #[arg(long, value_name = "SECONDS", default_value = "0", allow_negative_numbers = true, value_parser = parse_seconds)]
        wait: Duration,
    },
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
    /// Prints the devices that this one has synced with
    Peers,
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

#[derive(Debug, clap::Args)]
pub(crate) struct KindArg {
    /// The kind of the store, where it is new or programs wrote both
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<StoreKind>,
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
    Create { name: String },
    /// Lists databases
    List {
        /// Those of another device that this one may read
        #[arg(long, value_name = "URL")]
        peer: Option<PeerAddress>,
    },
    /// Prints what a database holds, in short
    Info { db: String },
}

/// The level that `grant` gives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Grant {
    /// This one.
    Level(Level),
    /// An admin just below the one who grants.
    NextAdmin,
}

fn parse_grant(text: &str) -> Result<Grant, eidetica::core::authority::LevelError> {
    match text {
        "admin" => Ok(Grant::NextAdmin),
        _ => text.parse().map(Grant::Level),
    }
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    if text == "anyone" {
        return Ok(Subject::Anyone);
    }
    let key = format!("ed25519:{}", text.trim_start_matches("ed25519:"));
    let key = key.parse::<PublicKey>();
    key.map(Subject::Key).map_err(|e| e.to_string())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}
