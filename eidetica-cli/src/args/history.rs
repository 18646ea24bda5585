//! Owns the grammar of the commands about what was.

use clap::Subcommand;

use super::KindArg;

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
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
}
