//! Owns the grammar of the commands about values in a database.

use std::path::PathBuf;

use clap::Subcommand;
use eidetica::Value;

use crate::{form, kind::StoreKind};

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
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
}

#[derive(Debug, clap::Args)]
pub(crate) struct KindArg {
    /// The kind of the store, where it is new or programs wrote both; without STORE only such
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<StoreKind>,
}
