//! The options that choose a policy and a device, shared by the verbs.

use clap::{Args, ValueEnum};
use freeboard_allocator::Config;
use freeboard_replay::RunOptions;
use freeboard_units::Bytes;

use crate::failure::Failure;
use crate::output::complain;

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
    fn choose(policy: Option<Self>, has_settings: bool) -> Self {
        policy.unwrap_or(if has_settings { Self::Pytorch } else { Self::Freeboard })
    }

    /// How it is called on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pytorch => "pytorch",
            Self::Freeboard => "freeboard",
        }
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
            complain(&format!("--conf: warning: {warning}"));
        }
        Ok(parsed.config)
    }
}

/// Policy and device.
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "this is the text of the help, where backticks would show")]
pub(crate) struct PolicyArguments {
    /// Settings as in PYTORCH_ALLOC_CONF, like "max_split_size_mb:128"; means PyTorch's policy,
    /// also where empty
    #[arg(long, value_name = "KEY:VALUE,…", allow_hyphen_values = true)]
    conf: Option<String>,
    /// Whose decisions to make [default: pytorch with --conf, freeboard without]
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

impl PolicyArguments {
    /// The options of a run.
    pub(crate) fn options(&self) -> Result<RunOptions, Failure> {
        let policy = Policy::choose(self.policy, self.conf.is_some());
        let fraction = self.device.fraction;
        let config = policy.config(self.conf.as_deref().unwrap_or(""), fraction)?;
        Ok(RunOptions::new(config, self.device.capacity()?)
            .fraction(fraction)
            .event_lag(self.device.event_lag))
    }
}

/// The device.
#[derive(Args, Debug)]
pub(crate) struct DeviceArguments {
    /// The device's memory, like 80GiB
    #[arg(long, value_name = "BYTES", default_value = "512GiB", allow_hyphen_values = true)]
    capacity: Bytes,
    /// The part of the device's memory the allocator may hold, from 0 to 1
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = part)]
    pub(crate) fraction: Option<f64>,
    /// A recorded event is done this many trace operations later
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0)]
    pub(crate) event_lag: u64,
}

impl DeviceArguments {
    /// The device's memory, if a device can have that much.
    pub(crate) fn capacity(&self) -> Result<Bytes, Failure> {
        let capacity = self.capacity;
        if capacity < Bytes::mib(2) {
            return Err(Failure::Usage(format!(
                "--capacity: {capacity} is less than one page of 2 MiB; did you forget a unit, \
                 as in 80GiB?"
            )));
        }
        if capacity > Bytes::gib(1 << 14) {
            return Err(Failure::Usage(format!(
                "--capacity: {capacity} is more than 16 TiB, the most that is simulated"
            )));
        }
        Ok(capacity)
    }
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().map_err(|_| "write a number from 0 to 1, like 0.9")?;
    if !(0.0..=1.0).contains(&part) {
        return Err("it must be from 0 to 1, like 0.9".to_owned());
    }
    Ok(part)
}
