//! Owns the steps of the demo: each does one thing and says what it took.

use std::{io::BufRead, net::SocketAddr, time::Duration};

use eidetica::{
    Database, DatabaseTicket, Instance, Level, PeerAddress, SyncReport, Value, content_digest,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{entries, step};
use crate::{
    commands::{databases::hex, exchange::summary},
    failure::{Code, Failure},
    form, import,
    output::Output,
    rows::Rows,
};

const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// The store that the rows go into.
const ROWS: &str = "rows";
/// The store that both devices write to.
const NOTES: &str = "notes";
/// The key that both devices write differently.
const CONTESTED: &str = "title";
/// Rows a commit: enough entries for a history, few enough to be quick with any input.
const BATCH: u32 = 50;
/// Values that each device writes alone.
const OWN_NOTES: u64 = 20;

/// A device with a file and a key of its own.
struct Device {
    instance: Instance,
    /// Removed when dropped.
    folder: TempDir,
}

impl Device {
    async fn create() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("eidetica-demo-")
            .tempdir()?;
        let instance = Instance::builder()
            .redb(folder.path().join("data.redb"))
            .listen_quic(ANY_PORT)
            .listen_http(ANY_PORT);
        let instance = Box::pin(instance.open()).await?;
        Ok(Self { instance, folder })
    }

    async fn listen(&self, transport: &str) -> Result<Vec<PeerAddress>, Failure> {
        let listening = self.instance.sync().accept_connections(transport);
        Ok(Box::pin(listening).await?)
    }
}

/// Two devices and the database that A made.
pub(super) struct Demo<'a> {
    output: &'a Output,
    began: Instant,
    a: Device,
    b: Device,
    ours: Database,
}

impl<'a> Demo<'a> {
    pub(super) async fn start(output: &'a Output) -> Result<Self, Failure> {
        let began = Instant::now();
        let (a, b) = (Device::create().await?, Device::create().await?);
        let ours = a.instance.create_database("demo").await?;
        let keys = [&a, &b].map(|device| device.instance.public_key());
        step(
            output,
            "create",
            &format!(
                "device A ({}…) and device B ({}…), each with a redb file and a key of its own; \
                 A makes the database {}…",
                keys[0].to_short(),
                keys[1].to_short(),
                ours.id().to_short()
            ),
            [
                ("a", keys[0].to_string().into()),
                ("b", keys[1].to_string().into()),
                ("database", ours.id().to_string().into()),
                ("seconds", form::seconds(began.elapsed())),
            ],
        )?;
        Ok(Self {
            output,
            began,
            a,
            b,
            ours,
        })
    }

    pub(super) async fn import<R: BufRead>(
        &self,
        mut rows: Rows<R>,
        name: &str,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let importing = import::import(&self.ours, ROWS, &mut rows, BATCH, |_| Ok(()));
        let done = Box::pin(importing).await?;
        let took = began.elapsed();
        step(
            self.output,
            "import",
            &format!(
                "A writes {name}: {} ({}) in {}, signed and durable, {}",
                form::counted(done.rows, "row", "rows"),
                form::size(done.bytes),
                form::counted(done.commits, "commit", "commits"),
                form::duration(took)
            ),
            [
                ("rows", done.rows.into()),
                ("bytes", done.bytes.into()),
                ("commits", done.commits.into()),
                ("seconds", form::seconds(took)),
            ],
        )
    }

    pub(super) async fn grant(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let key = self.b.instance.public_key();
        let mut transaction = self.ours.transaction().await?;
        transaction.set_permission(key, Level::Write, "B");
        Box::pin(transaction.commit()).await?;
        let took = began.elapsed();
        step(
            self.output,
            "grant",
            &format!("A lets B's key write, {}", form::duration(took)),
            [
                ("key", key.to_string().into()),
                ("level", Level::Write.to_string().into()),
                ("seconds", form::seconds(took)),
            ],
        )
    }

    pub(super) async fn join(&self) -> Result<(), Failure> {
        let addresses = self.a.listen("quic").await?;
        let ticket = DatabaseTicket::new(self.ours.id(), addresses);
        let ticket = ticket.map_err(|e| Failure::new(Code::Failed, e.to_string()))?;
        let sync = self.b.instance.sync();
        let report = Box::pin(sync.join(&ticket, Duration::ZERO)).await?;
        let text = format!("B joins with A's ticket over QUIC: {}", summary(&report));
        step(self.output, "join", &text, facts(&report))
    }

    pub(super) async fn write_offline(&self) -> Result<(), Failure> {
        let began = Instant::now();
        self.a.instance.sync().stop().await;
        let theirs = self.theirs().await?;
        for (database, name) in [(&self.ours, "a"), (&theirs, "b")] {
            for i in 0..OWN_NOTES {
                write(
                    database,
                    &format!("{name}.{i}"),
                    &format!("note {i} of {name}"),
                )
                .await?;
            }
            write(database, CONTESTED, &format!("as {name} calls it")).await?;
        }
        let took = began.elapsed();
        let written = 2 * (OWN_NOTES + 1);
        step(
            self.output,
            "offline",
            &format!(
                "nobody listens; A and B write {} each, one of them to the same key, {}",
                entries(OWN_NOTES + 1),
                form::duration(took)
            ),
            [
                ("entries", written.into()),
                ("seconds", form::seconds(took)),
            ],
        )
    }

    pub(super) async fn sync(&self) -> Result<(), Failure> {
        let addresses = self.a.listen("http").await?;
        let sync = self.b.instance.sync();
        let meeting = sync.sync_with_any(self.ours.id(), &addresses, Duration::ZERO);
        let report = Box::pin(meeting).await?;
        let text = format!("B syncs with A over HTTP: {}", summary(&report));
        step(self.output, "sync", &text, facts(&report))
    }

    /// Whether both devices hold and show the same, the conflict included.
    pub(super) async fn compare(&self) -> Result<bool, Failure> {
        let theirs = self.theirs().await?;
        let (held, held_there) = (self.ours.frontier(), theirs.frontier());
        let has_equal_tips =
            held.tips.len() == held_there.tips.len() && held.digest == held_there.digest;
        let digest = content_digest(&self.ours).await?;
        let has_equal_content = digest == content_digest(&theirs).await?;
        let reading = self.ours.doc(NOTES)?.read(CONTESTED).await?;
        let reads_equal = reading == theirs.doc(NOTES)?.read(CONTESTED).await?;
        let has_conflict = reading.conflicts.len() == 1;
        let shown = reading.winner.map(|(_, value)| value).unwrap_or_default();
        let kept: Vec<_> = reading.conflicts.into_iter().map(|(_, v)| v).collect();
        let all = has_equal_tips && has_equal_content && reads_equal && has_conflict;
        let word = |is_equal: bool| if is_equal { "equal" } else { "DIFFERENT" };
        step(
            self.output,
            "compare",
            &format!(
                "{} entries, {} tips: {}; content digest {}…: {}\n          `{CONTESTED}` reads \
                 `{}` on both: {}; kept beside it: {}",
                form::count(held.count),
                held.tips.len(),
                word(has_equal_tips),
                &hex(&digest)[..16],
                word(has_equal_content),
                form::to_text(&shown),
                word(reads_equal),
                kept.iter()
                    .map(|v| format!("`{}`", form::to_text(v)))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            [
                ("entries", held.count.into()),
                ("tips", (held.tips.len() as u64).into()),
                ("equal_tips", has_equal_tips.into()),
                ("digest", hex(&digest).into()),
                ("equal_digests", has_equal_content.into()),
                ("value", shown),
                ("conflicts", kept.into()),
                ("equal", all.into()),
            ],
        )?;
        Ok(all)
    }

    pub(super) async fn end(self) -> Result<(), Failure> {
        self.a.instance.sync().stop().await;
        let took = self.began.elapsed();
        for device in [self.a, self.b] {
            drop(device.instance);
            device.folder.close()?;
        }
        let text = format!("{}; the temporary files are removed", form::duration(took));
        step(
            self.output,
            "done",
            &text,
            [("seconds", form::seconds(took))],
        )
    }

    async fn theirs(&self) -> Result<Database, Failure> {
        Ok(self.b.instance.database(self.ours.id()).await?)
    }
}

async fn write(database: &Database, path: &str, value: &str) -> Result<(), Failure> {
    let transaction = database.transaction().await?;
    transaction.doc(NOTES)?.set(path, value).await?;
    Box::pin(transaction.commit()).await?;
    Ok(())
}

fn facts(report: &SyncReport) -> [(&'static str, Value); 6] {
    [
        ("received", report.received.into()),
        ("sent", report.sent.into()),
        ("bytes_in", report.bytes_in.into()),
        ("bytes_out", report.bytes_out.into()),
        ("round_trips", report.round_trips.into()),
        ("seconds", form::seconds(report.elapsed)),
    ]
}
