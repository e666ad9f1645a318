//! The pieces of a bundle, each for itself.

use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use freeboard_allocator::{CachingAllocator, Config, ENVIRONMENT, OutOfMemory};
use freeboard_device::Device;
use freeboard_snapshot::{Snapshot, pickle};
use freeboard_survey::{Source, Survey};

use super::folder::Outcome;
use super::name::RANKS;
use crate::bundle::{Piece, Report};

/// How long the driver may take to say what its devices are like: a lost GPU may never answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pieces tell about.
pub(super) struct Scene<'a> {
    pub(super) report: &'a OutOfMemory,
    pub(super) witness: &'a dyn Witness,
    pub(super) rank: Option<u64>,
    pub(super) step: Option<u64>,
    pub(super) lines: Vec<Arc<str>>,
}

/// The allocator, whatever its device.
pub(super) trait Witness {
    fn snapshot(&self) -> Snapshot;
    fn config(&self) -> Config;
}

impl<D: Device> Witness for CachingAllocator<D> {
    fn snapshot(&self) -> Snapshot {
        Self::snapshot(self)
    }

    fn config(&self) -> Config {
        Self::config(self)
    }
}

type Work = fn(&Scene<'_>, &mut dyn Write) -> io::Result<Outcome>;

/// What matters most comes first, in case the disk fills; what may take long comes last.
pub(super) const PIECES: &[(Piece, Work)] = &[
    (Piece::ReportText, report_text),
    (Piece::Report, report),
    (Piece::Command, command),
    (Piece::Settings, settings),
    (Piece::Timeline, timeline),
    (Piece::Snapshot, snapshot),
    (Piece::Devices, devices),
];

fn report_text(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    writeln!(out, "{}", scene.report)?;
    Ok(Outcome::Written)
}

fn report(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    let report = Report { facts: scene.report.facts(), report: scene.report.clone() };
    serde_json::to_writer_pretty(out, &report)?;
    Ok(Outcome::Written)
}

fn settings(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    serde_json::to_writer_pretty(out, &scene.witness.config())?;
    Ok(Outcome::Written)
}

fn timeline(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    if scene.lines.is_empty() {
        return Ok(Outcome::Nothing);
    }
    for line in &scene.lines {
        writeln!(out, "{line}")?;
    }
    Ok(Outcome::Written)
}

fn snapshot(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    pickle::write(&scene.witness.snapshot(), out)?;
    Ok(Outcome::Written)
}

/// On a thread of its own, which is left behind where the driver does not answer.
fn devices(_scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    let (answer, hear) = mpsc::channel();
    let ask = move || {
        // No device may be started: that takes memory of the device.
        let survey = Source::open(false).and_then(|source| source.survey());
        drop(answer.send(survey)); // nobody may be waiting any more
    };
    thread::Builder::new().name("freeboard-survey".to_owned()).spawn(ask)?;
    let survey: Survey = match hear.recv_timeout(PATIENCE) {
        Ok(survey) => survey.map_err(io::Error::other)?,
        Err(error) => {
            let why = format!("the driver gave no answer within {PATIENCE:?}: {error}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
    };
    serde_json::to_writer_pretty(out, &survey)?;
    Ok(Outcome::Written)
}

/// Variables that matter, besides the allocator's settings and the rank. Never others: they may be secrets.
const VARIABLES: [&str; 9] = [
    "CUDA_VISIBLE_DEVICES",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
];

fn command(scene: &Scene<'_>, out: &mut dyn Write) -> io::Result<Outcome> {
    let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    writeln!(out, "command: {}", without_secrets(arguments).join(" "))?;
    match env::current_dir() {
        Ok(folder) => writeln!(out, "folder: {}", folder.display())?,
        Err(error) => writeln!(out, "folder: not known: {error}")?,
    }
    writeln!(out, "process: {}", std::process::id())?;
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    writeln!(out, "rank: {}\nstep: {}", number(scene.rank), number(scene.step))?;
    writeln!(out, "freeboard: {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "system: {} {}", env::consts::OS, env::consts::ARCH)?;
    for (what, file) in
        [("kernel", "/proc/sys/kernel/osrelease"), ("nvidia driver", "/sys/module/nvidia/version")]
    {
        if let Ok(version) = std::fs::read_to_string(file) {
            writeln!(out, "{what}: {}", version.trim())?;
        }
    }
    for name in ENVIRONMENT.iter().chain(&RANKS).chain(&VARIABLES) {
        if let Some(value) = env::var_os(name) {
            writeln!(out, "{name}={}", value.to_string_lossy().replace('\n', " "))?;
        }
    }
    Ok(Outcome::Written)
}

/// Words in the name of an option whose value is nobody's business.
const SECRETS: [&str; 6] = ["token", "secret", "password", "passwd", "api-key", "credential"];

/// The command line, with `***` for the values of options named like secrets.
pub(super) fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut next_is_secret = false;
    let hide = |argument: String| {
        let is_value = std::mem::take(&mut next_is_secret);
        if is_value && !argument.starts_with('-') {
            return "***".to_owned();
        }
        let (name, value) =
            argument.split_once('=').map_or((&*argument, None), |(n, v)| (n, Some(v)));
        let plain = name.to_lowercase().replace('_', "-");
        let plain = if plain.contains("apikey") { "api-key".to_owned() } else { plain };
        if !SECRETS.iter().any(|word| plain.contains(word)) {
            return argument.replace('\n', " ");
        }
        if value.is_some() {
            return format!("{name}=***");
        }
        next_is_secret = name.starts_with('-');
        argument
    };
    arguments.map(hide).collect()
}
