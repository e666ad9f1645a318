//! Trying the levers of a diagnosis: the run that failed, replayed under each.

use std::fmt::Write as _;

use freeboard_allocator::Config;
use freeboard_snapshot::{Cause, Diagnosis, Evidence, Facts, Lever, LeverKind, Trial, Verdict};
use freeboard_units::Bytes;

use crate::least::least;
use crate::run::{RunError, RunOptions, run};
use crate::trace::{Recorded, Trace};

/// What batch sizes are counted in where the batch is not told: parts of this many.
const PARTS: u32 = 32;
/// Settings that are tried beside growing segments.
const MAX_SPLITS: [&str; 2] = ["max_split_size_mb:128", "max_split_size_mb:512"];

/// What there is to try on, and with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// The memory that this process could have had: what it held, and what was free.
    pub capacity: Bytes,
    /// The settings it ran under, as in `PYTORCH_CUDA_ALLOC_CONF`.
    pub settings: String,
    /// The batch it ran with, if that is known.
    pub batch: Option<u32>,
}

impl VerifyOptions {
    /// What the facts tell; `None` where they do not tell how much memory there was.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        let sums = facts.sums();
        let capacity = sums.within_reach.align_down(Bytes::mib(2));
        let settings = facts.settings.clone().unwrap_or_default();
        (!capacity.is_zero()).then_some(Self { capacity, settings, batch: None })
    }

    /// With the batch it ran with.
    #[must_use]
    pub const fn batch(mut self, batch: Option<u32>) -> Self {
        self.batch = batch;
        self
    }
}

/// Tries what the diagnosis advises on the recorded run, and writes into it what came of it: verified
/// levers first, those that do not help gone. `tried` hears of every policy before it is tried.
///
/// # Errors
/// When a replay fails for another reason than memory.
pub fn verify(
    diagnosis: &mut Diagnosis,
    recorded: &Recorded,
    options: &VerifyOptions,
    mut tried: impl FnMut(&str),
) -> Result<(), RunError> {
    let Ok(now) = Config::pytorch().parse_onto(&options.settings) else {
        diagnosis.evidence.push(note("the settings cannot be read, so nothing was replayed"));
        return Ok(());
    };
    let mut trial = |name: &str, config: Config| -> Result<Trial, RunError> {
        tried(name);
        let spare = spare(&recorded.trace, &RunOptions::new(config, options.capacity))?;
        Ok(Trial { policy: name.to_owned(), spare })
    };
    let mut trials = vec![trial("as it ran", now.config.clone())?];
    for lever in settings_of(diagnosis) {
        if let Ok(parsed) = Config::pytorch().parse_onto(&lever) {
            trials.push(trial(&lever, parsed.config)?);
        }
    }
    trials.push(trial("Freeboard's allocator", Config::default())?);
    report(diagnosis, recorded, options, &trials);
    diagnosis.replays = trials;
    if let Some(lever) = diagnosis.levers.iter_mut().find(|lever| lever.kind == LeverKind::Batch) {
        tried("smaller batches");
        fit_batch(lever, recorded, &RunOptions::new(now.config, options.capacity), options.batch)?;
    }
    diagnosis.levers.sort_by_key(|lever| !lever.verified);
    Ok(())
}

/// The option strings among the levers, and those that are worth a try beside them.
fn settings_of(diagnosis: &Diagnosis) -> Vec<String> {
    let option = |lever: &Lever| Some(lever.setting.as_ref()?.split_once('=')?.1.to_owned());
    let mut all: Vec<String> = diagnosis.levers.iter().filter_map(option).collect();
    if diagnosis.verdict == Verdict::Fragmentation && !all.is_empty() {
        all.extend(MAX_SPLITS.map(str::to_owned));
    }
    all
}

/// How much less memory the run would survive on; `None` where it fails on the whole.
fn spare(trace: &Trace, options: &RunOptions) -> Result<Option<Bytes>, RunError> {
    match least(trace, options) {
        Ok(least) => Ok(Some(options.capacity.saturating_sub(least.min_capacity))),
        Err(RunError::NeverSurvives { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn report(
    diagnosis: &mut Diagnosis,
    recorded: &Recorded,
    options: &VerifyOptions,
    trials: &[Trial],
) {
    let floor = recorded.trace.peak_requested;
    let nothing_fits = trials.iter().all(|trial| trial.spare.is_none());
    if nothing_fits && floor > options.capacity && diagnosis.cause == Cause::Fragmentation {
        // However memory is laid out, the live blocks alone are more than there is.
        diagnosis.verdict = Verdict::Exhaustion;
        diagnosis.cause = Cause::Exhaustion;
        diagnosis.summary = format!(
            "Exhaustion: {floor} were live at once, more than the {} there were, however they had \
             been laid out.",
            options.capacity
        );
    }
    let fits = |setting: &str| trials.iter().find(|trial| trial.policy == setting)?.spare;
    for lever in &mut diagnosis.levers {
        match lever.kind {
            LeverKind::Setting => {
                let option = lever.setting.as_ref().and_then(|setting| setting.split_once('='));
                let spare = option.and_then(|(_, option)| fits(option));
                lever.verified = spare.is_some();
                if let Some(spare) = spare {
                    let _ = write!(lever.action, ": this run fits with {spare} to spare");
                }
            }
            LeverKind::Freeboard => lever.verified = fits("Freeboard's allocator").is_some(),
            _ => {}
        }
    }
    let failed = |lever: &Lever| lever.kind == LeverKind::Setting && !lever.verified;
    diagnosis.levers.retain(|lever| !failed(lever));
    let best = trials.iter().skip(1).filter(|trial| trial.policy.starts_with("max_split"));
    let known = |name: &str| diagnosis.levers.iter().any(|lever| lever.action.contains(name));
    if let Some(best) = best.filter(|trial| trial.spare.is_some()).max_by_key(|trial| trial.spare)
        && !diagnosis.levers.iter().any(|lever| lever.verified)
        && !known(&best.policy)
    {
        let spare = best.spare.unwrap_or_default();
        diagnosis.levers.push(Lever {
            action: format!("keep large blocks whole: this run fits with {spare} to spare"),
            setting: Some(format!("PYTORCH_CUDA_ALLOC_CONF={}", best.policy)),
            gain_bytes: Some(spare),
            verified: true,
            kind: LeverKind::Setting,
        });
    }
}

/// Finds the largest batch that fits, and says so in the lever.
fn fit_batch(
    lever: &mut Lever,
    recorded: &Recorded,
    options: &RunOptions,
    batch: Option<u32>,
) -> Result<(), RunError> {
    let of = batch.unwrap_or(PARTS).max(1);
    // A first step was never seen whole: what more it would have needed is not known.
    let Some(whole) = recorded.whole_step() else { return Ok(()) };
    if !recorded.has_batch() {
        return Ok(());
    }
    let part = |number: u32| f64::from(number) / f64::from(of);
    let fits = |number: u32| -> Result<bool, RunError> {
        let trace = recorded.with_batch(part(number), whole);
        Ok(trace.peak_requested <= options.capacity && run(&trace, options)?.survived)
    };
    let (mut fitting, mut failing) = (0, of);
    while failing - fitting > 1 {
        let middle = fitting.midpoint(failing);
        if fits(middle)? { fitting = middle } else { failing = middle }
    }
    if fitting == 0 {
        return Ok(());
    }
    let transient = recorded.transient();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
    let gain = Bytes::new((transient.as_f64() * (1.0 - part(fitting))) as u64);
    lever.gain_bytes = Some(gain);
    lever.verified = true;
    lever.action = match batch {
        Some(batch) => format!(
            "use a batch of {fitting} instead of {batch}, the largest that fits when this run is \
             replayed with it; accumulate gradients to keep the sum the same"
        ),
        None => format!(
            "use a batch of {:.0} % of this one, the largest part that fits when this run is replayed \
             with it; accumulate gradients to keep the sum the same",
            part(fitting) * 100.0
        ),
    };
    Ok(())
}

fn note(text: &str) -> Evidence {
    Evidence { what: "replay".to_owned(), bytes: None, text: text.to_owned() }
}
