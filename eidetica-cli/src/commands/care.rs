//! Owns the commands that look after the data: checking and mending it, dumps, its size, the
//! passphrase of its key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use eidetica::{
    Instance, Value,
    store::{DumpProgress, RepairProgress, RepairReport},
};

use crate::{
    failure::{Code, Failure},
    form,
    home::{Home, read_passphrase},
    output::Output,
    progress::Progress,
    run::Session,
};

/// `doctor` on its own: data that does not open is a finding, too.
pub(crate) async fn doctor_of(home: &Home, output: &Output, repair: bool) -> Result<Code, Failure> {
    match home.open().await {
        Ok(instance) => doctor(&instance, output, repair).await,
        Err(failure) if failure.is_damage() && !repair => report(output, &[failure.to_string()]),
        Err(failure) => Err(failure),
    }
}

/// `doctor`, `doctor --repair`.
pub(crate) async fn doctor(
    instance: &Instance,
    output: &Output,
    repair: bool,
) -> Result<Code, Failure> {
    if !repair {
        let problems = Box::pin(instance.doctor()).await?;
        return report(output, &texts(&problems));
    }
    let progress = Progress::entries(output);
    let tell = |done: RepairProgress| {
        let (entries, of) = (form::count(done.entries), form::count(done.of));
        progress.set(done.entries, format!("{entries} of {of} entries"));
    };
    let done = Box::pin(instance.repair(tell)).await?;
    drop(progress);
    report_repair(output, &done)
}

fn report(output: &Output, problems: &[String]) -> Result<Code, Failure> {
    let is_ok = problems.is_empty();
    let value = Value::from([("ok", Value::from(is_ok)), ("problems", list(problems))]);
    output.answer(&value, || match is_ok {
        true => "everything holds".to_owned(),
        false => problems.join("\n"),
    })?;
    Ok(if is_ok { Code::Done } else { Code::Failed })
}

fn report_repair(output: &Output, done: &RepairReport) -> Result<Code, Failure> {
    let found = texts(&done.found);
    let rebuilt = texts(&done.rebuilt);
    let lost: Vec<_> = done.lost.iter().map(|lost| lost.to_string()).collect();
    let waiting = done.waiting.iter().map(|(_, id)| id.to_string());
    let waiting: Vec<_> = waiting.collect();
    let refused = texts(&done.refused);
    let value = Value::from([
        ("ok", Value::from(done.is_complete())),
        ("problems", list(&found)),
        ("rebuilt", list(&rebuilt)),
        ("lost", list(&lost)),
        ("waiting", list(&waiting)),
        ("refused", list(&refused)),
    ]);
    output.answer(&value, || {
        let lines = |name: &'static str, of: &[String]| {
            let of = of.iter().map(|text| format!("{name}{text}"));
            of.collect::<Vec<_>>()
        };
        let mut text = lines("", &found);
        text.extend(lines("built anew: ", &rebuilt));
        text.extend(lines("lost: ", &lost));
        text.extend(lines("waits for a lost entry: ", &waiting));
        text.extend(refused);
        text.push(match (found.is_empty(), done.is_complete()) {
            (true, _) => "everything holds".to_owned(),
            (false, true) => "everything holds again".to_owned(),
            (false, false) => {
                "sync with a device that has what is lost, then repair again".to_owned()
            }
        });
        text.join("\n")
    })?;
    Ok(match done.is_complete() {
        true => Code::Done,
        false => Code::Failed,
    })
}

fn texts<T: ToString>(of: &[T]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

fn list(texts: &[String]) -> Value {
    Value::List(texts.iter().map(|text| text.as_str().into()).collect())
}

/// `dump`.
pub(crate) async fn dump(
    session: &Session,
    file: &Path,
    dbs: &[String],
    force: bool,
) -> Result<(), Failure> {
    let mut databases = Vec::with_capacity(dbs.len());
    for db in dbs {
        let id = session.instance.find_database(db).await?.id();
        if !databases.contains(&id) {
            databases.push(id);
        }
    }
    if dbs.is_empty() {
        databases = session.instance.databases().await?;
    }
    let instance = &session.instance;
    let tell = showing(session);
    if file == Path::new("-") {
        if !session.listening.is_empty() {
            let message = "standard output is where the answers go; name a file";
            return Err(Failure::new(Code::Usage, message));
        }
        let to = BufWriter::new(io::stdout());
        instance.dump(&databases, to, tell).await?;
        return Ok(());
    }
    let at = |e: Failure| e.at(&file.display().to_string());
    let to = NewFile::beside(file, force).map_err(at)?;
    let open = to.open.try_clone().map_err(|e| at(e.into()))?;
    let written = instance.dump(&databases, BufWriter::new(open), tell).await;
    let entries = written.map_err(|e| at(e.into()))?;
    to.put(file, force).map_err(at)?;
    let count = databases.len() as u64;
    let value = Value::from([
        ("databases", Value::from(count)),
        ("entries", entries.into()),
    ]);
    session.output.answer(&value, || {
        let databases = form::counted(count, "database", "databases");
        let entries = form::counted(entries, "entry", "entries");
        format!("dumped {databases} with {entries}")
    })
}

/// What shows how far a dump or a restore is.
fn showing(session: &Session) -> impl FnMut(DumpProgress) + Send + 'static {
    let progress = Progress::entries(&session.output);
    move |done| {
        let entries = form::counted(done.entries, "entry", "entries");
        let bytes = form::size(done.bytes);
        progress.set(done.entries, format!("{entries}, {bytes}"));
    }
}

/// A file that is written beside its place, and removed if it never gets there.
#[derive(Debug)]
struct NewFile {
    open: File,
    path: PathBuf,
    is_placed: bool,
}

impl NewFile {
    fn beside(place: &Path, force: bool) -> Result<Self, Failure> {
        refuse_existing(place, force)?;
        let mut path = place.as_os_str().to_owned();
        path.push(format!(".new-{}", std::process::id()));
        let path = PathBuf::from(path);
        let mut open = OpenOptions::new();
        open.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let open = open.open(&path)?;
        let is_placed = false;
        Ok(Self {
            open,
            path,
            is_placed,
        })
    }

    /// Puts the file where it belongs.
    fn put(mut self, place: &Path, force: bool) -> Result<(), Failure> {
        (&self.open).flush()?;
        self.open.sync_all()?;
        refuse_existing(place, force)?;
        fs::rename(&self.path, place)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            // Left behind, it harms nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_existing(place: &Path, force: bool) -> Result<(), Failure> {
    if !force && place.exists() {
        let message = "the file exists; --force replaces it";
        return Err(Failure::new(Code::Usage, message));
    }
    Ok(())
}

/// `restore`.
pub(crate) async fn restore(session: &Session, file: &Path) -> Result<(), Failure> {
    let instance = &session.instance;
    let tell = showing(session);
    let restored = if file == Path::new("-") {
        if !session.listening.is_empty() {
            let message = "standard input is where the commands come from; name a file";
            return Err(Failure::new(Code::Usage, message));
        }
        instance.restore(io::stdin(), tell).await?
    } else {
        let at = |e: Failure| e.at(&file.display().to_string());
        let from = File::open(file).map_err(|e| at(e.into()))?;
        let restored = instance.restore(from, tell).await;
        restored.map_err(|e| at(e.into()))?
    };
    for of in restored {
        let value = Value::from([
            ("database", Value::from(of.database.to_string())),
            ("stored", of.stored.into()),
            ("known", of.known.into()),
        ]);
        session.output.item(value, || {
            let stored = form::counted(of.stored, "entry", "entries");
            let known = form::count(of.known);
            format!("{}  {stored} stored, {known} were here", of.database)
        })?;
    }
    session.output.end()
}

/// `compact`.
pub(crate) async fn compact(session: &Session) -> Result<(), Failure> {
    let done = session.instance.compact().await?;
    let value = Value::from([("before", done.before), ("after", done.after)]);
    session.output.answer(&value, || {
        format!("{} -> {}", form::size(done.before), form::size(done.after))
    })
}

/// `passphrase set`.
pub(crate) async fn set_passphrase(session: &Session, file: &Path) -> Result<(), Failure> {
    if file == Path::new("-") && !session.listening.is_empty() {
        let message = "standard input is where the commands come from; name a file";
        return Err(Failure::new(Code::Usage, message));
    }
    let passphrase = read_passphrase(file)?;
    Box::pin(session.instance.set_passphrase(Some(passphrase))).await?;
    answer_sealed(session).await
}

/// `passphrase remove`.
pub(crate) async fn remove_passphrase(session: &Session) -> Result<(), Failure> {
    Box::pin(session.instance.set_passphrase(None)).await?;
    answer_sealed(session).await
}

async fn answer_sealed(session: &Session) -> Result<(), Failure> {
    let is_sealed = session.instance.is_sealed().await?;
    let value = Value::from([("sealed", is_sealed)]);
    session.output.answer(&value, || match is_sealed {
        true => "the device key is sealed".to_owned(),
        false => "the device key is not sealed".to_owned(),
    })
}
