//! Owns of which kind a store is, as far as commands can read and write it. What is at a place in
//! one is `place`'s.

use clap::ValueEnum;
use eidetica::{
    Database,
    crdt::{Crdt, Doc, TableKind},
    store::StoreView,
};

use crate::{
    failure::{Code, Failure},
    output::Output,
};

/// The kinds of stores whose content commands read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// A document: maps, lists and values
    Doc,
    /// A table: rows of fields, by id
    Table,
}

impl StoreKind {
    /// The kind that a name means.
    pub(crate) fn named(kind: &str) -> Option<Self> {
        match kind {
            Doc::KIND => Some(Self::Doc),
            TableKind::KIND => Some(Self::Table),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Doc => Doc::KIND,
            Self::Table => TableKind::KIND,
        }
    }

    /// The kind of a store to read from or to remove from, which must be there.
    pub(crate) async fn of_store(
        output: &Output,
        database: &Database,
        store: &str,
        asked: Option<Self>,
    ) -> Result<Self, Failure> {
        let views = views_of(database, store).await?;
        let kind = match choose(&views, store, asked)? {
            Some(kind) => kind,
            None => return Err(no_store(store)),
        };
        let view = views.iter().find(|view| view.kind.as_str() == kind.name());
        match view {
            Some(view) if !view.is_complete => output
                .note("note: a newer program wrote to the store too; what it wrote is not shown"),
            Some(_) => {}
            None => return Err(other_kind(&views, store, kind)),
        }
        Ok(kind)
    }

    /// The kind of a store to write to: a document where no store is and nothing is asked for.
    pub(crate) async fn to_write(
        database: &Database,
        store: &str,
        asked: Option<Self>,
    ) -> Result<Self, Failure> {
        let views = views_of(database, store).await?;
        let kind = choose(&views, store, asked)?.unwrap_or(Self::Doc);
        match views.is_empty() || views.iter().any(|view| view.kind.as_str() == kind.name()) {
            true => Ok(kind),
            false => Err(other_kind(&views, store, kind)),
        }
    }
}

async fn views_of(database: &Database, store: &str) -> Result<Vec<StoreView>, Failure> {
    // Refuses what is no name.
    database.doc(store)?;
    let stores = database.views().await?.into_iter();
    let mut views = stores.filter(|views| views.store.as_str() == store);
    Ok(views.next().map(|views| views.views).unwrap_or_default())
}

/// The kind asked for, or the only one that there is.
fn choose(
    views: &[StoreView],
    store: &str,
    asked: Option<StoreKind>,
) -> Result<Option<StoreKind>, Failure> {
    let known = views
        .iter()
        .filter_map(|view| StoreKind::named(view.kind.as_str()));
    let known: Vec<_> = known.collect();
    match (asked, known.as_slice(), views) {
        (Some(kind), ..) => Ok(Some(kind)),
        (None, [kind], _) => Ok(Some(*kind)),
        (None, [], []) => Ok(None),
        (None, [], [view, ..]) => Err(unknown(store, view.kind.as_str())),
        (None, ..) => {
            let message = format!(
                "programs wrote two kinds to the store; say which with --kind doc or --kind \
                 table. store=`{store}`"
            );
            Err(Failure::new(Code::Usage, message))
        }
    }
}

fn unknown(store: &str, kind: &str) -> Failure {
    if store == "_auth" {
        let message = "the store holds the authority: `members` shows it, `grant` changes it";
        return Failure::new(Code::Usage, message);
    }
    let message = format!(
        "this program cannot read what is in stores of this kind; `log`, `show`, `diff`, `dump` \
         and `sync` work with them. store=`{store}` kind=`{kind}`"
    );
    Failure::new(Code::Failed, message)
}

fn other_kind(views: &[StoreView], store: &str, asked: StoreKind) -> Failure {
    let kinds: Vec<_> = views.iter().map(|view| view.kind.as_str()).collect();
    match kinds.is_empty() {
        true => no_store(store),
        false => {
            let message = format!(
                "the store is of another kind. store=`{store}` kind=`{}` asked=`{}`",
                kinds.join(","),
                asked.name()
            );
            Failure::new(Code::Usage, message)
        }
    }
}

fn no_store(store: &str) -> Failure {
    let message = format!("the database has no such store. store=`{store}`");
    Failure::new(Code::NotFound, message)
}
