//! Devices: a data folder each, and the processes that work on it. Every wait has a deadline.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a finished process left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The JSON of each line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The JSON of the only line.
    #[track_caller]
    pub(crate) fn line(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.into_iter().next().unwrap()
    }
}

/// A device with a folder of its own.
#[derive(Debug)]
pub(crate) struct Device {
    folder: TempDir,
}

impl Device {
    /// A folder without data.
    pub(crate) fn empty() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside the data.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("--data")
            .arg(self.data())
            .arg("--json")
            .args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        run(self.command(args), "")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Outcome {
        run(self.command(args), input)
    }

    /// Runs with a variable of the environment.
    pub(crate) fn run_with(&self, name: &str, value: &str, args: &[&str]) -> Outcome {
        let mut command = self.command(args);
        command.env(name, value);
        run(command, "")
    }

    /// The bytes that a command writes to standard output.
    pub(crate) fn pipe(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Runs with files that grow to so many KiB at most, as on a disk that is full then.
    #[cfg(target_os = "linux")]
    pub(crate) fn spawn_limited(&self, kib: u64, args: &[&str]) -> Process {
        let script = "trap '' XFSZ; ulimit -S -f \"$1\"; shift; exec \"$@\"";
        let mut limited = Command::new("bash");
        limited.args(["-c", script, "bash", &kib.to_string()]);
        Process::spawn(wrapped(limited, &self.command(args)))
    }

    /// Runs as somebody who can read the data and write none of it; the superuser could.
    #[cfg(target_os = "linux")]
    pub(crate) fn run_unable_to_write(&self, args: &[&str]) -> Outcome {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let (folder, data) = (self.folder.path(), self.data());
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let (file, program) = (data.join("data.redb"), folder.join("eidetica"));
        std::fs::copy(env!("CARGO_BIN_EXE_eidetica"), &program).unwrap();
        set(folder, 0o755);
        set(&data, 0o555);
        set(&file, 0o444);
        let mut command = Command::new(program);
        command.args(self.command(args).get_args());
        if std::fs::metadata(folder).unwrap().uid() == 0 {
            let mut nobody = Command::new("setpriv");
            nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command = wrapped(nobody, &command);
        }
        let outcome = run(command, "");
        set(&data, 0o700);
        set(&file, 0o600);
        outcome
    }

    /// Runs what must succeed.
    #[track_caller]
    pub(crate) fn done(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        outcome
    }

    /// The device's key; makes the data.
    pub(crate) fn key(&self) -> String {
        text(&self.done(&["id"]).line()["key"])
    }

    /// Creates a database with one value in it.
    pub(crate) fn create(&self, name: &str) -> String {
        let id = text(&self.done(&["db", "create", name]).line()["database"]);
        self.done(&["put", &id, "app", "theme", "\"dark\""]);
        id
    }

    /// What a database holds.
    #[track_caller]
    pub(crate) fn info(&self, db: &str) -> Value {
        self.done(&["db", "info", db]).line()
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        Process::spawn(self.command(args))
    }

    pub(crate) fn serve(&self, args: &[&str]) -> Process {
        self.spawn(&[&["serve"], args].concat())
    }
}

/// A command run by another, whose arguments it follows.
#[cfg(target_os = "linux")]
fn wrapped(mut by: Command, command: &Command) -> Command {
    by.arg(command.get_program()).args(command.get_args());
    by.env_remove("EIDETICA_DATA")
        .env_remove("EIDETICA_PASSPHRASE");
    by
}

/// The program, without what the environment would tell it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eidetica"));
    command.env_remove("EIDETICA_DATA");
    command.env_remove("EIDETICA_PASSPHRASE");
    command
}

/// Runs a process to its end.
pub(crate) fn run(command: Command, input: &str) -> Outcome {
    let mut process = Process::spawn(command);
    process.stdin.write_all(input.as_bytes()).unwrap();
    process.finish()
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Box<dyn WriteDebug>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

trait WriteDebug: Write + Send + std::fmt::Debug {}

impl<T: Write + Send + std::fmt::Debug> WriteDebug for T {}

impl Process {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The next line of standard output.
    #[track_caller]
    pub(crate) fn line(&self) -> Value {
        let line = self.stdout.recv_timeout(PATIENCE);
        let line = line
            .unwrap_or_else(|e| panic!("{e}: {:?}", self.stderr.try_iter().collect::<Vec<_>>()));
        serde_json::from_str(&line).unwrap()
    }

    /// The next line of standard output, or `None` at its end.
    pub(crate) fn next_line(&self) -> Option<Value> {
        let line = self.stdout.recv_timeout(PATIENCE).ok()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The next line of standard error.
    pub(crate) fn complaint(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).unwrap()
    }

    /// Where `serve` listens.
    pub(crate) fn listening(&self) -> String {
        text(&self.line()["listening"])
    }

    /// The ticket that `serve --share` prints.
    pub(crate) fn ticket(&self) -> String {
        text(&self.line()["ticket"])
    }

    /// Types a command into `serve`; its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> Value {
        self.stdin.write_all(command.as_bytes()).unwrap();
        self.stdin.write_all(b"\n").unwrap();
        self.line()
    }

    /// Types a command whose answer is no error.
    #[track_caller]
    pub(crate) fn done(&mut self, command: &str) -> Value {
        let answer = self.ask(command);
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    /// Ends standard input.
    pub(crate) fn close_input(&mut self) {
        self.stdin = Box::new(std::io::sink());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Lets its files grow again.
    #[cfg(target_os = "linux")]
    pub(crate) fn lift_limit(&self) {
        let process = format!("--pid={}", self.child.id());
        let lifted = Command::new("prlimit")
            .args([&process, "--fsize=unlimited"])
            .status();
        assert!(lifted.unwrap().success());
    }

    /// Ends it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end, without giving it more input.
    pub(crate) fn finish(mut self) -> Outcome {
        self.close_input();
        let stdout = until_end(&self.stdout);
        let stderr = until_end(&self.stderr);
        // Its output has ended, so it has, or is about to.
        let code = self.child.wait().unwrap().code();
        Outcome {
            code,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, or there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread, so that waiting for one can have a deadline.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn until_end(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => text += &(line + "\n"),
            Err(mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no end in sight: {text}"),
        }
    }
}

/// The text in a JSON value.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// An address that nobody listens on.
pub(crate) fn free_address(scheme: &str) -> String {
    let address = match scheme {
        "quic" => UdpSocket::bind("127.0.0.1:0").unwrap().local_addr(),
        _ => TcpListener::bind("127.0.0.1:0").unwrap().local_addr(),
    };
    address.unwrap().to_string()
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
