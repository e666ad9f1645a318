//! [`largest_batch`] and [`advise`]: what fits a card.

use freeboard_units::Bytes;
use serde::Serialize;

use crate::{
    Attention, Checkpoint, EstimateError, Loss, Model, Optimizer, Step, Training, estimate,
};

/// The largest batch that fits, or 0 where not even 1 does.
///
/// # Errors
/// As [`estimate`], but not for what is too large.
pub fn largest_batch(
    model: &Model,
    training: &Training,
    card: Bytes,
) -> Result<u32, EstimateError> {
    // The largest that fits lies in fits..=limit.
    let (mut fits, mut limit) = (0, u32::MAX);
    let mut next = 1;
    while fits < limit {
        let training = Training { batch: next, ..*training };
        if peak(model, &training)?.is_some_and(|peak| peak <= card) {
            fits = next;
            next = if limit == u32::MAX { fits.saturating_mul(2) } else { middle(fits, limit) };
        } else {
            limit = next - 1;
            next = middle(fits, limit);
        }
    }
    Ok(fits)
}

/// Halfway, rounded up.
const fn middle(low: u32, high: u32) -> u32 {
    low + (high - low).div_ceil(2)
}

/// The bytes at the peak, unless they are too many to write down.
fn peak(model: &Model, training: &Training) -> Result<Option<Bytes>, EstimateError> {
    match estimate(model, training) {
        Ok(estimate) => Ok(Some(estimate.peak().total)),
        Err(EstimateError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A change of the settings that needs less memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What to do, changes joined by "and".
    pub change: String,
    /// The bytes at the peak after it.
    pub peak: Bytes,
    /// Whether that fits the card.
    pub fits: bool,
}

/// One lever: what it is called, and how it is pulled; `None` where it is pulled already.
type Lever = (&'static str, fn(&Model, &Training) -> Option<(Model, Training)>);

/// The cheapest first: those that cost no time, then those that cost some, then more devices.
const LEVERS: &[Lever] = &[
    ("flash attention", |model, training| match model {
        Model::Transformer(shape) if shape.attention != Attention::Flash => {
            let mut shape = shape.clone();
            shape.attention = Attention::Flash;
            let checkpoint = match training.checkpoint {
                Checkpoint::Selective => Checkpoint::None,
                other => other,
            };
            Some((Model::Transformer(shape), Training { checkpoint, ..*training }))
        }
        _ => None,
    }),
    ("a loss in chunks", |model, training| match model {
        Model::Transformer(_) if training.loss != Loss::Chunked => {
            Some((model.clone(), Training { loss: Loss::Chunked, ..*training }))
        }
        _ => None,
    }),
    ("a fused optimizer", |model, training| {
        let has_gain = training.optimizer == Optimizer::Adam && training.step != Step::Fused;
        has_gain.then(|| (model.clone(), Training { step: Step::Fused, ..*training }))
    }),
    ("checkpointing of every block", |model, training| {
        let is_new = training.checkpoint != Checkpoint::Every(1);
        let checkpoint = Checkpoint::Every(1);
        is_new.then(|| (model.clone(), Training { checkpoint, ..*training }))
    }),
    ("ZeRO stage 1", |model, training| stage(model, training, 1)),
    ("ZeRO stage 2", |model, training| stage(model, training, 2)),
    ("ZeRO stage 3", |model, training| stage(model, training, 3)),
    ("optimizer offload", |model, training| {
        let mut changed = *training;
        changed.offload.optimizer = true;
        let is_new = !training.offload.optimizer && !training.offload.parameters;
        is_new.then(|| (model.clone(), changed))
    }),
    ("activation offload", |model, training| {
        let mut changed = *training;
        changed.offload.activations = true;
        (!training.offload.activations).then(|| (model.clone(), changed))
    }),
    ("parameter offload", |model, training| {
        let mut changed = *training;
        changed.offload.parameters = true;
        (!training.offload.parameters).then(|| (model.clone(), changed))
    }),
];

fn stage(model: &Model, training: &Training, zero: u8) -> Option<(Model, Training)> {
    let is_new = training.world > 1 && training.zero < zero;
    is_new.then(|| (model.clone(), Training { zero, ..*training }))
}

/// What would make it need less: every change by itself that fits the card, the cheapest first; where
/// there is none, one change after the other, each with those before, until it fits or none is left;
/// then, where there is one device, so many that it fits with `ZeRO` stage 3, each with the same batch.
///
/// # Errors
/// As [`estimate`].
pub fn advise(
    model: &Model,
    training: &Training,
    card: Bytes,
) -> Result<Vec<Advice>, EstimateError> {
    let mut advice = Vec::new();
    for (name, pull) in LEVERS {
        let Some((model, training)) = pull(model, training) else { continue };
        if let Some(peak) = peak(&model, &training)?.filter(|peak| *peak <= card) {
            advice.push(Advice { change: (*name).to_owned(), peak, fits: true });
        }
    }
    let (mut changed, mut settings, mut names) = (model.clone(), *training, Vec::new());
    let mut least = peak(model, training)?;
    for (name, pull) in LEVERS {
        if !advice.is_empty() || least.is_some_and(|peak| peak <= card) {
            break;
        }
        let Some((model, training)) = pull(&changed, &settings) else { continue };
        let next = peak(&model, &training)?;
        if let Some(next) = next.filter(|next| least.is_none_or(|least| *next < least)) {
            least = Some(next);
            (changed, settings) = (model, training);
            names.push(*name);
        }
    }
    if let Some(peak) = least.filter(|_| !names.is_empty()) {
        advice.push(Advice { change: names.join(" and "), peak, fits: peak <= card });
    }
    if training.world == 1 {
        advice.extend(devices(model, training, card)?);
    }
    Ok(advice)
}

/// As many devices as are enough with `ZeRO` stage 3, by powers of two up to 4,096; with checkpointing
/// where that alone is not enough.
fn devices(
    model: &Model,
    training: &Training,
    card: Bytes,
) -> Result<Option<Advice>, EstimateError> {
    for (more, checkpoint) in
        [("", training.checkpoint), (" and checkpointing of every block", Checkpoint::Every(1))]
    {
        for world in (1..=12).map(|power| 1 << power) {
            let training = Training { zero: 3, world, checkpoint, ..*training };
            if let Some(peak) = peak(model, &training)?.filter(|peak| *peak <= card) {
                let change = format!("ZeRO stage 3 over {world} devices{more}");
                return Ok(Some(Advice { change, peak, fits: true }));
            }
        }
    }
    Ok(None)
}
