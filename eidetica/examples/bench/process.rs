//! Owns the other processes of a measurement: starting them, and what they took of the machine.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::Outcome;

/// The first argument of a process that serves.
pub(crate) const SERVER: &str = "role:server";
/// The first argument of a process that joins.
pub(crate) const CLIENT: &str = "role:client";
/// The first argument of a process that writes until it is killed.
pub(crate) const WRITER: &str = "role:writer";
/// The first argument of a process that many peers follow.
pub(crate) const HUB: &str = "role:hub";
/// The first argument of a process of many peers.
pub(crate) const PEERS: &str = "role:peers";
/// The first argument of a process that fills a table.
pub(crate) const TABLE: &str = "role:table";

/// Clock ticks a second, fixed for programs on Linux.
const TICKS: u64 = 100;

/// What a process took of the machine so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// The most memory that it held at once.
    pub(crate) peak_mib: f64,
    /// The memory that it holds now.
    pub(crate) now_mib: f64,
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Of a process by its number, or `self`.
    pub(crate) fn of(process: &str) -> Outcome<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let mib = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            let kib: f64 = kib.ok_or("the system tells no memory")?.parse()?;
            Ok(kib / 1024.0)
        };
        Ok(Self {
            peak_mib: mib("VmHWM:")?,
            now_mib: mib("VmRSS:")?,
            cpu: cpu(process)?,
        })
    }
}

/// The processor time that this process took.
pub(crate) fn own_cpu() -> Outcome<Duration> {
    cpu("self")
}

fn cpu(process: &str) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold blanks and stands in brackets; 11 fields after it come user and system.
    let (_, fields) = stat.rsplit_once(')').ok_or("the system tells no times")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// This program in another process, in another role; killed when dropped.
#[derive(Debug)]
pub(crate) struct Other {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Other {
    pub(crate) fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the process has a stdout")?;
        let lines = BufReader::new(stdout);
        Ok(Self { child, lines })
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Err("the other process ended early".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    pub(crate) fn usage(&self) -> Outcome<Usage> {
        Usage::of(&self.child.id().to_string())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It has ended by itself if it cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
