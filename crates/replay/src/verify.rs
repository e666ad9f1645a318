//! Trying the levers of a diagnosis: the run that failed, replayed under each.

use std::fmt::Write as _;

use freeboard_allocator::Config;
use freeboard_snapshot::{Cause, Diagnosis, Evidence, Facts, Lever, LeverKind, Trial, Verdict};
use freeboard_units::Bytes;

use crate::run::{RunError, RunOptions, run};
use crate::trace::{Recorded, Trace};

/// What batch sizes are counted in where the batch is not told: parts of this many.
const PARTS: u32 = 32;
/// Runs to find how much less memory a policy would do with, beside the first.
const HALVINGS: usize = 4;

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
/// levers first, settings that do not help gone. `tried` hears of every policy before it is tried.
///
/// Where the run as it was does not fail when it is replayed, because more came before the history,
/// all is tried on as much less memory as it takes to make it fail.
///
/// # Errors
/// When a replay fails for another reason than memory.
pub fn verify(
    diagnosis: &mut Diagnosis,
    recorded: &Recorded,
    options: &VerifyOptions,
    mut tried: impl FnMut(&str),
) -> Result<(), RunError> {
    let has_batch = diagnosis.levers.iter().any(|lever| lever.kind == LeverKind::Batch);
    let policies = tries_policies(diagnosis.cause);
    if !has_batch && !policies {
        return Ok(());
    }
    let Ok(now) = Config::pytorch().parse_onto(&options.settings) else {
        diagnosis.evidence.push(note("the settings cannot be read, so nothing was replayed"));
        return Ok(());
    };
    tried(AS_IT_RAN);
    let mut options = options.clone();
    let trace = &recorded.trace;
    if let Some(margin) = margin(trace, &RunOptions::new(now.config.clone(), options.capacity))? {
        let less = options.capacity.saturating_sub(margin.fails);
        diagnosis.evidence.push(Evidence {
            what: "replayed on".to_owned(),
            bytes: Some(margin.fails),
            text: format!(
                "{less} less than there was: with what came before the history unknown, the run as it \
                 ran fails only there"
            ),
        });
        options.capacity = margin.fails;
    }
    if policies {
        let mut trials = vec![Trial { policy: AS_IT_RAN.to_owned(), spare: None }];
        let mut trial = |name: &str, config: Config| -> Result<Trial, RunError> {
            tried(name);
            let margin = margin(trace, &RunOptions::new(config, options.capacity))?;
            let spare = margin.map(|margin| options.capacity.saturating_sub(margin.fits));
            Ok(Trial { policy: name.to_owned(), spare })
        };
        for option in settings_of(diagnosis) {
            if let Ok(parsed) = Config::pytorch().parse_onto(&option) {
                trials.push(trial(&option, parsed.config)?);
            }
        }
        trials.push(trial(FREEBOARD, Config::default())?);
        report(diagnosis, recorded, &options, &trials);
        diagnosis.replays = trials;
    }
    if let Some(lever) = diagnosis.levers.iter_mut().find(|lever| lever.kind == LeverKind::Batch) {
        tried("smaller batches");
        fit_batch(lever, recorded, &RunOptions::new(now.config, options.capacity), options.batch)?;
    }
    diagnosis.levers.sort_by_key(|lever| !lever.verified);
    Ok(())
}

const AS_IT_RAN: &str = "as it ran";
const FREEBOARD: &str = "Freeboard's allocator";

/// Whether another policy can help. What a replay does not know does not count: it waits for no
/// stream, and its pools give memory back.
fn tries_policies(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Exhaustion | Cause::Fragmentation | Cause::Rounding | Cause::StrandedByStream
    )
}

/// The option strings among the levers.
fn settings_of(diagnosis: &Diagnosis) -> Vec<String> {
    let settings = diagnosis.levers.iter().filter_map(|lever| lever.setting.as_ref());
    settings.filter_map(|setting| Some(setting.split_once('=')?.1.to_owned())).collect()
}

/// What a run needs, within a few pages.
struct Margin {
    /// The least memory it was seen to survive on.
    fits: Bytes,
    /// The most memory below that it was seen to fail on.
    fails: Bytes,
}

/// What a run needs; `None` where it fails on the whole.
fn margin(trace: &Trace, options: &RunOptions) -> Result<Option<Margin>, RunError> {
    let page = Bytes::mib(2);
    let attempt = |capacity: Bytes| run(trace, &RunOptions { capacity, ..options.clone() });
    // A page less than the live peak cannot hold it.
    let mut fails = trace.peak_requested.align_down(page).saturating_sub(page);
    let mut fits = options.capacity;
    if fails >= fits {
        return Ok(None);
    }
    let whole = attempt(fits)?;
    if !whole.survived {
        return Ok(None);
    }
    // What was reserved at leisure is a good first guess.
    let mut next = whole.device_peak_used.checked_align_up(page).unwrap_or(fits);
    for _ in 0..HALVINGS {
        if next <= fails || next >= fits {
            next = fails.saturating_add(Bytes::new(fits.saturating_sub(fails).get() / 2));
            next = next.align_down(page);
        }
        if next <= fails || next >= fits {
            break;
        }
        if attempt(next)?.survived { fits = next } else { fails = next }
    }
    Ok(Some(Margin { fits, fails }))
}

fn report(
    diagnosis: &mut Diagnosis,
    recorded: &Recorded,
    options: &VerifyOptions,
    trials: &[Trial],
) {
    let floor = recorded.trace.peak_requested;
    if floor > options.capacity && diagnosis.cause == Cause::Fragmentation {
        // However memory is laid out, the live blocks alone are more than there is.
        diagnosis.verdict = Verdict::Exhaustion;
        diagnosis.cause = Cause::Exhaustion;
        diagnosis.summary = format!(
            "Exhaustion: {floor} were live at once, more than the {} there were, however they had \
             been laid out.",
            options.capacity
        );
    }
    let fits = |policy: &str| trials.iter().find(|trial| trial.policy == policy)?.spare;
    for lever in &mut diagnosis.levers {
        let spare = match lever.kind {
            LeverKind::Setting => {
                let option = lever.setting.as_ref().and_then(|setting| setting.split_once('='));
                option.and_then(|(_, option)| fits(option))
            }
            LeverKind::Freeboard => fits(FREEBOARD),
            _ => None,
        };
        if let Some(spare) = spare {
            lever.verified = true;
            let _ = write!(lever.action, " (this run fits with at least {spare} to spare)");
        }
    }
    let failed = |lever: &Lever| lever.kind == LeverKind::Setting && !lever.verified;
    diagnosis.levers.retain(|lever| !failed(lever));
    let is_helped = diagnosis.levers.iter().any(|lever| lever.verified);
    if let (Some(spare), false) =
        (fits(FREEBOARD), is_helped || diagnosis.cause == Cause::Exhaustion)
    {
        diagnosis.levers.push(Lever {
            action: format!(
                "Freeboard's allocator joins free memory wherever it lies (this run fits with at least \
                 {spare} to spare)"
            ),
            setting: None,
            gain_bytes: None,
            verified: true,
            kind: LeverKind::Freeboard,
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

#[cfg(test)]
mod tests;
