//! Owns which command does what, on its own or inside `serve`.

use eidetica::{Instance, PeerAddress};

use crate::{
    args::{
        AccessCommand, Args, Command, DataCommand, DbCommand, HistoryCommand, KindArg,
        PassphraseCommand,
    },
    commands::{
        access, care,
        data::{self, Target},
        databases, device, diff, exchange, history, listing,
    },
    demo,
    failure::{Code, Failure},
    home::Home,
    output::{Audience, Output},
    rows::Keys,
    serve,
};

/// What a command works on.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) instance: Instance,
    pub(crate) output: Output,
    /// Where the process listens, if it does.
    pub(crate) listening: Vec<PeerAddress>,
}

/// Runs one command line.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let output = Output::new(match args.json {
        true => Audience::Programs,
        false => Audience::People,
    });
    if let Command::Demo { input } = args.command {
        return Box::pin(demo::run(&output, input.as_deref())).await;
    }
    let home = Home::find(args.data)?
        .with_passphrase(args.passphrase_file.as_deref())?
        .with_tls_roots(args.tls_ca.as_deref())?;
    if let Command::Serve(listen) = args.command {
        return Box::pin(serve::run(&home, output, &listen)).await;
    }
    if let Command::Doctor { repair } = args.command {
        return care::doctor_of(&home, &output, repair).await;
    }
    let instance = match makes_data(&args.command) {
        true => home.make(Instance::builder()).await?,
        false => home.open().await?,
    };
    if matches!(args.command, Command::Init) {
        output.note(&format!("data is in {}", home.folder().display()));
    }
    let session = Session {
        instance,
        output,
        listening: Vec::new(),
    };
    Box::pin(execute(&session, args.command)).await
}

/// Whether a command makes sense, and data, on a device that has none.
fn makes_data(command: &Command) -> bool {
    matches!(
        command,
        Command::Init
            | Command::Id
            | Command::Db(DbCommand::Create { .. })
            | Command::Access(AccessCommand::Join { .. })
            | Command::Restore { .. }
    )
}

/// Runs one command on open data.
pub(crate) async fn execute(session: &Session, command: Command) -> Result<Code, Failure> {
    match command {
        Command::Demo { .. } | Command::Serve(_) => {
            return Err(Failure::new(
                Code::Usage,
                "`demo` and `serve` do not run inside `serve`",
            ));
        }
        Command::Init | Command::Id => device::id(session)?,
        Command::Db(DbCommand::Create { name, recovery }) => {
            databases::create(session, &name, recovery.as_deref()).await?;
        }
        Command::Db(DbCommand::List { peer: None }) => databases::list(session).await?,
        Command::Db(DbCommand::List { peer: Some(peer) }) => {
            databases::list_of_peer(session, &peer).await?;
        }
        Command::Db(DbCommand::Info { db }) => databases::info(session, &db).await?,
        Command::Data(command) => change(session, command).await?,
        Command::History(command) => look_back(session, command).await?,
        Command::Access(command) => return access::execute(session, command).await,
        Command::Sync { db, peer, wait } => {
            return exchange::sync(session, &db, peer, wait).await;
        }
        Command::Doctor { repair } => {
            return care::doctor(&session.instance, &session.output, repair).await;
        }
        Command::Dump { file, db, force } => care::dump(session, &file, &db, force).await?,
        Command::Restore { file } => care::restore(session, &file).await?,
        Command::Compact => care::compact(session).await?,
        Command::Passphrase(PassphraseCommand::Set { file }) => {
            care::set_passphrase(session, &file).await?;
        }
        Command::Passphrase(PassphraseCommand::Remove) => care::remove_passphrase(session).await?,
    }
    Ok(Code::Done)
}

/// Runs a command about values.
async fn change(session: &Session, command: DataCommand) -> Result<(), Failure> {
    match command {
        DataCommand::Put {
            db,
            store,
            path,
            kind,
            value,
        } => data::put(session, target(&db, &store, &path, &kind), value).await?,
        DataCommand::Get {
            db,
            store,
            path,
            kind,
            conflicts,
            at,
        } => {
            let from = target(&db, &store, &path, &kind);
            match conflicts {
                true => data::get_with_conflicts(session, from).await?,
                false => data::get(session, from, &at).await?,
            }
        }
        DataCommand::Del {
            db,
            store,
            path,
            kind,
        } => data::del(session, target(&db, &store, &path, &kind)).await?,
        DataCommand::List {
            db,
            store: None,
            kind,
            ..
        } => listing::stores(session, &db, kind.kind).await?,
        DataCommand::List {
            db,
            store: Some(store),
            kind,
            limit,
            after,
        } => {
            let range = listing::Range {
                after: after.as_deref(),
                limit,
            };
            listing::keys(session, &db, &store, kind.kind, range).await?;
        }
        DataCommand::Import {
            db,
            store,
            file,
            kind,
            keys,
            key,
            batch,
        } => {
            let keys = match key {
                Some(field) => Keys::Field(field),
                None if keys => Keys::Beside,
                None => Keys::New,
            };
            let file = &file;
            let from = data::Source { file, keys, batch };
            data::import(session, &db, &store, kind.kind, from).await?;
        }
        DataCommand::Export {
            db,
            store,
            kind,
            keys,
        } => listing::export(session, &db, store.as_deref(), kind.kind, keys).await?,
    }
    Ok(())
}

/// Runs a command about what was.
async fn look_back(session: &Session, command: HistoryCommand) -> Result<(), Failure> {
    match command {
        HistoryCommand::Log {
            db,
            limit,
            store,
            author,
            since,
        } => {
            let wanted = history::Wanted {
                limit,
                store: store.as_deref(),
                author: author.as_deref(),
                since: &since,
            };
            history::log(session, &db, wanted).await?;
        }
        HistoryCommand::Show { db, id } => history::show(session, &db, &id).await?,
        HistoryCommand::Graph { db, limit } => history::graph(session, &db, limit).await?,
        HistoryCommand::Diff { db, before, after } => {
            diff::diff(session, &db, &before, after.as_deref()).await?;
        }
        HistoryCommand::Revert {
            db,
            store,
            path,
            kind,
            at,
        } => history::revert(session, target(&db, &store, &path, &kind), &at).await?,
    }
    Ok(())
}

fn target<'a>(db: &'a str, store: &'a str, path: &'a str, kind: &KindArg) -> Target<'a> {
    Target {
        db,
        store,
        kind: kind.kind,
        path,
    }
}
