//! The options that choose a policy and a device, shared by the verbs.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use freeboard_allocator::Config;
use freeboard_replay::RunOptions;
use freeboard_units::Bytes;
use serde::Serialize;

use crate::failure::Failure;

/// Whose decisions the allocator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// PyTorch 2.15's, exactly.
    Pytorch,
    /// Ours.
    Freeboard,
}

impl Policy {
    /// The policy that goes with the options: PyTorch's where there are settings for it.
    pub(crate) fn choose(policy: Option<Self>, has_settings: bool) -> Self {
        policy.unwrap_or(if has_settings { Self::Pytorch } else { Self::Freeboard })
    }

    fn base(self) -> Config {
        match self {
            Self::Pytorch => Config::pytorch(),
            Self::Freeboard => Config::default(),
        }
    }

    /// The policy with the settings of an option string; warnings go to standard error.
    pub(crate) fn config(self, settings: &str, fraction: Option<f64>) -> Result<Config, Failure> {
        let parsed = self.base().parse_onto(settings)?;
        let limited = match fraction {
            Some(fraction) => parsed.config.clone().with_memory_fraction(fraction)?,
            None => parsed.config.clone(),
        };
        // Some settings need a fraction: look at both together.
        let inert = limited.inert_settings();
        let outdated = parsed.config.inert_settings();
        let others = parsed.warnings.iter().filter(|warning| !outdated.contains(warning));
        for warning in others.chain(&inert) {
            eprintln!("freeboard: --conf: warning: {warning}");
        }
        Ok(parsed.config)
    }
}

/// Policy and device.
#[derive(Args, Debug)]
pub(crate) struct PolicyArguments {
    /// Settings as in PYTORCH_ALLOC_CONF, like "max_split_size_mb:128"; means PyTorch's policy,
    /// also where empty
    #[arg(long, value_name = "KEY:VALUE,…", allow_hyphen_values = true)]
    pub(crate) conf: Option<String>,
    /// Whose decisions to make [default: pytorch with --conf, freeboard without]
    #[arg(long, value_enum)]
    pub(crate) policy: Option<Policy>,
    /// The device's memory, like 80GiB
    #[arg(long, value_name = "BYTES", default_value = "512GiB")]
    pub(crate) capacity: Bytes,
    /// The part of the device's memory the allocator may hold, from 0 to 1
    #[arg(long, value_name = "F")]
    pub(crate) fraction: Option<f64>,
    /// A recorded event is done this many trace operations later
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) event_lag: u64,
}

impl PolicyArguments {
    /// The options of a run.
    pub(crate) fn options(&self) -> Result<RunOptions, Failure> {
        let policy = Policy::choose(self.policy, self.conf.is_some());
        let config = policy.config(self.conf.as_deref().unwrap_or(""), self.fraction)?;
        Ok(RunOptions::new(config, check_capacity(self.capacity)?)
            .fraction(self.fraction)
            .event_lag(self.event_lag))
    }
}

/// A capacity that a device can have.
pub(crate) fn check_capacity(capacity: Bytes) -> Result<Bytes, Failure> {
    if capacity < Bytes::mib(2) {
        return Err(Failure::Usage(format!(
            "--capacity: {capacity} is less than one page of 2 MiB; did you forget a unit, as in 80GiB?"
        )));
    }
    if capacity > Bytes::gib(1 << 14) {
        return Err(Failure::Usage(format!("--capacity: {capacity} is more than 16 TiB")));
    }
    Ok(capacity)
}

/// Writes a value as JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    serde_json::to_writer_pretty(&mut output, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(output))
        .map_err(|error| Failure::write("to standard output", error))
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).map_err(|error| Failure::write("to standard output", error))
}
