//! Owns `serve`: accepting connections, keeping up with other devices, and taking commands, until
//! told to stop.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
    mem,
    net::SocketAddr,
    thread,
};

use clap::Parser;
use eidetica::{
    HttpConfig, Instance, InstanceBuilder, QuicLimits, SyncConfig, SyncLimits, TlsIdentity, Value,
    sync::{SyncEventKind, SyncEvents},
};
use tokio::sync::mpsc;

use crate::{
    args::{Args, ServeArgs},
    commands::{exchange, peers},
    failure::{Code, Failure},
    home::Home,
    output::{Audience, Output},
    run::{Session, execute},
    stop::stop_signal,
    words,
};

/// Bytes of a command at most; a value that fits in an entry is shorter even when escaped.
const MAX_COMMAND_BYTES: u64 = 8 * 1024 * 1024;
/// Commands that may wait; whoever types more waits.
const WAITING_COMMANDS: usize = 16;
/// Where QUIC listens if nothing else is said.
const ANY_LOCAL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Runs until SIGINT or SIGTERM. The end of standard input ends nothing.
pub(crate) async fn run(home: &Home, output: Output, listen: &ServeArgs) -> Result<Code, Failure> {
    let stop = stop_signal()?;
    let (http, share) = (listen.http, &listen.share);
    let quic = listen.quic.or(http.is_none().then_some(ANY_LOCAL));
    let mut builder = limited(listen);
    if let (Some(chain), Some(key)) = (&listen.tls_cert, &listen.tls_key) {
        builder = builder.tls_identity(TlsIdentity::from_files(chain, key)?);
    }
    builder = quic.into_iter().fold(builder, |b, at| b.listen_quic(at));
    builder = http.into_iter().fold(builder, |b, at| b.listen_http(at));
    for address in quic.iter().chain(&http) {
        if address.ip().is_unspecified() {
            output.note(&format!(
                "{} names no device: make tickets with `eidetica share DB --address URL`",
                address.ip()
            ));
        }
    }
    if !share.is_empty() {
        home.require_data()?;
    }
    let mut session = Session {
        instance: home.make(builder).await?,
        output,
        listening: Vec::new(),
    };
    let tell = Box::pin(tell(session.instance.sync().events()));
    let done = tokio::select! {
        done = Box::pin(work(&mut session, quic.is_some(), http.is_some(), share)) => done,
        never = tell => never,
        () = stop => Ok(Code::Done),
    };
    session.instance.sync().stop().await;
    done
}

/// What others may have of this device.
fn limited(listen: &ServeArgs) -> InstanceBuilder {
    let (mut quic, mut sync) = (QuicLimits::new(), SyncLimits::new());
    let mut builder = Instance::builder();
    if let Some(connections) = listen.connections {
        let connections = connections as usize;
        quic = quic.with_connections(connections);
        builder = builder.http(|http| http.with_connections(connections));
        // A channel for each, and for what those left behind that come back.
        sync = sync.with_sessions(connections.saturating_mul(2));
    }
    if listen.behind_proxy {
        quic = quic.without_limits_of_address();
        sync = sync.without_limits_of_address();
        builder = builder.http(HttpConfig::without_limit_of_address);
    }
    let config = SyncConfig::new().with_limits(sync);
    builder.quic_limits(quic).sync_config(config)
}

async fn work(
    session: &mut Session,
    has_quic: bool,
    has_http: bool,
    share: &[String],
) -> Result<Code, Failure> {
    let mut shared = Vec::with_capacity(share.len());
    for db in share {
        shared.push(session.instance.find_database(db).await?);
    }
    let transports = [("quic", has_quic), ("http", has_http)];
    for (transport, _) in transports.into_iter().filter(|(_, is_used)| *is_used) {
        let sync = session.instance.sync();
        let addresses = Box::pin(sync.accept_connections(transport)).await;
        // An address that cannot be listened on is nothing that is wrong with the call.
        let addresses = addresses.map_err(|e| Failure::from(e).with_code(Code::Failed))?;
        for address in addresses {
            let text = address.to_string();
            let value = Value::from([("listening", text.as_str())]);
            session
                .output
                .answer(&value, || format!("listening  {text}"))?;
            session.listening.push(address);
        }
    }
    for database in &shared {
        let ticket = exchange::ticket(session, database, session.listening.clone())?.to_string();
        let value = Value::from([
            ("ticket", ticket.clone()),
            ("database", database.id().to_string()),
        ]);
        session
            .output
            .answer(&value, || format!("ticket     {ticket}"))?;
    }
    Box::pin(session.instance.sync().start()).await?;
    session.output = Output::new(Audience::Conversation);
    let mut commands = commands();
    while let Some(line) = commands.recv().await {
        answer(session, &line).await?;
    }
    std::future::pending().await
}

/// Tells people how sync with other devices goes, for ever.
async fn tell<T>(mut events: SyncEvents) -> T {
    let mut last = BTreeMap::new();
    while let Some(event) = events.next().await {
        let SyncEventKind::Status(status) = event.kind else {
            continue;
        };
        // How far a transfer has got is for `status`.
        let kind = mem::discriminant(&status);
        if last.insert((event.peer, event.database), kind) != Some(kind) {
            let (database, peer) = (event.database.to_short(), event.peer);
            eprintln!("{database}  {peer}  {}", peers::status_text(&status));
        }
    }
    std::future::pending().await
}

/// The lines of standard input. They are read on a thread of their own, which the end of the
/// process ends: a read cannot be called off.
fn commands() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(WAITING_COMMANDS);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let mut limited = stdin.by_ref().take(MAX_COMMAND_BYTES);
            let read = limited.read_until(b'\n', &mut line);
            let is_last = !matches!(read, Ok(n) if n > 0);
            if matches!(read, Ok(0)) || sender.blocking_send(read.map(|_| line)).is_err() {
                return;
            }
            if is_last {
                return;
            }
        }
    });
    receiver
}

/// Answers one line by one line.
async fn answer(session: &Session, line: &io::Result<Vec<u8>>) -> Result<(), Failure> {
    let done = match line {
        Ok(line) => converse(session, line).await,
        Err(error) => Err(Failure::new(Code::Failed, error.to_string())),
    };
    let Err(failure) = done else {
        return Ok(());
    };
    session.output.discard();
    if failure.is_silent() {
        // Nobody reads the answers any more; peers are served all the same.
        return Ok(());
    }
    let value = Value::from([
        ("error", Value::from(failure.to_string())),
        ("code", (failure.code() as u8).into()),
    ]);
    match session.output.answer(&value, String::new) {
        Err(failure) if !failure.is_silent() => Err(failure),
        _ => Ok(()),
    }
}

async fn converse(session: &Session, line: &[u8]) -> Result<(), Failure> {
    let usage = |message: String| Failure::new(Code::Usage, message);
    let line = str::from_utf8(line).map_err(|_| usage("the command is not UTF-8".to_owned()))?;
    let words = words::split(line).map_err(|e| usage(e.to_owned()))?;
    if words.is_empty() {
        return Ok(());
    }
    let words = std::iter::once("eidetica".to_owned()).chain(words);
    let args = Args::try_parse_from(words).map_err(|e| usage(e.render().to_string()))?;
    if args.data.is_some() {
        return Err(usage("the data folder of `serve` is fixed".to_owned()));
    }
    if args.tls_ca.is_some() {
        return Err(usage(
            "the root certificates of `serve` are fixed".to_owned(),
        ));
    }
    Box::pin(execute(session, args.command)).await?;
    Ok(())
}
