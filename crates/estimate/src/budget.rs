//! [`estimate`]: adding up.

use crate::count::Count;
use crate::profile::{Point, Profile};
use crate::{Activations, Category, Checkpoint, Estimate, EstimateError, Model, Moment, Optimizer};
use crate::{Part, Precision, Step, Trainable, Training, When};

/// The bytes that a training step needs on each device: tensors as the program asks for them, what
/// libraries keep, and what the driver keeps. An allocator may hold more.
///
/// ```
/// use freeboard_estimate::{Category, Model, Training, estimate, presets};
/// use freeboard_units::Bytes;
///
/// let model = Model::Transformer(presets::find("llama-3-8b")?);
/// let training = Training { batch: 2, sequence: 4096, ..Training::default() };
/// let peak = estimate(&model, &training)?.peak().clone();
/// assert_eq!(peak.bytes(Category::Parameters), Bytes::new(2 * 8_030_261_248));
/// # Ok::<(), freeboard_estimate::EstimateError>(())
/// ```
///
/// # Errors
/// [`EstimateError`] names the number that cannot be, or says what is too large.
pub fn estimate(model: &Model, training: &Training) -> Result<Estimate, EstimateError> {
    training.check()?;
    let (profile, parameters, activations) = match model {
        Model::Transformer(model) => {
            let parameters = model.parameters()?;
            let rows = Activations::new(model, training)?;
            (Profile::of_transformer(model, training, &rows)?, parameters, Some(rows))
        }
        Model::Table(table) => {
            let profile = table.profile(training)?;
            let parameters = profile.elements.own.bytes("the parameters")?.get();
            (profile, parameters, None)
        }
    };
    let budget = Budget { training, profile: &profile };
    Ok(Estimate {
        parameters,
        trained: profile.elements.trained.bytes("the parameters")?.get(),
        moments: budget.moments()?,
        host: budget.host()?,
        activations,
    })
}

/// Parts before they are known to be small enough.
type Sketch = Vec<(Category, Count, String)>;

/// Adds up.
struct Budget<'a> {
    training: &'a Training,
    profile: &'a Profile,
}

impl Budget<'_> {
    fn moments(&self) -> Result<Vec<Moment>, EstimateError> {
        let profile = self.profile;
        let mut moments = Vec::new();
        let mut add = |when, parts: Sketch| {
            moments.push(moment(when, parts)?);
            Ok::<_, EstimateError>(())
        };
        let (forward, backward) = profile.logits;
        let formulas = &profile.logits_formula;
        let is_table = profile.logits.1 == Count::ZERO;
        for (when, bytes, formula) in
            [(When::Forward, forward, &formulas.0), (When::Loss, backward, &formulas.1)]
        {
            if is_table && when == When::Loss {
                continue;
            }
            let mut parts = self.always();
            parts.extend(self.copies(when));
            parts.extend(self.gradients(Count::ZERO, Count::ZERO));
            parts.extend(self.activations(profile.kept, profile.after));
            parts.push((Category::Logits, bytes, formula.clone()));
            add(when, parts)?;
        }
        for point in &profile.points {
            add(point.when, self.point(point))?;
        }
        let elements = &profile.elements;
        if !is_table {
            let mut parts = self.always();
            parts.extend(self.copies(When::Embedding));
            parts.extend(self.gradients(elements.trained, elements.root));
            parts.extend(self.activations(Count::ZERO, Count::ZERO));
            parts.push((Category::Temporary, profile.embedding, "embedding's gradient".into()));
            add(When::Embedding, parts)?;
        }
        let mut parts = self.always();
        parts.extend(self.gradients(elements.trained, Count::ZERO));
        parts.push(self.step());
        add(When::Step, parts)?;
        Ok(moments)
    }

    fn point(&self, point: &Point) -> Sketch {
        let elements = &self.profile.elements;
        let mut parts = self.always();
        parts.extend(self.copies(point.when));
        parts.extend(self.gradients(point.made, elements.trained_block + elements.trained_after));
        parts.extend(self.activations(point.kept, Count::ZERO));
        let what = "made again, and gradients of activations".into();
        parts.push((Category::Temporary, point.working, what));
        parts
    }

    fn weights(&self) -> (Count, String) {
        let elements = &self.profile.elements;
        let bytes = self.training.precision.weight();
        let shards = self.training.shards(3);
        let all = elements.own * bytes + elements.adapters * 4;
        (all.shared(shards), format!("{bytes} B × parameters{}", among(shards)))
    }

    fn state(&self) -> (Count, String) {
        let (training, elements) = (self.training, &self.profile.elements);
        let (_, _, bytes) = training.trained();
        let (kept, mut formula) = match training.optimizer {
            Optimizer::Sgd => (Count::ZERO, "0 B".to_owned()),
            Optimizer::Momentum => (elements.trained * bytes, format!("{bytes} B × trained")),
            Optimizer::Adam => (elements.trained * bytes * 2, format!("2 × {bytes} B × trained")),
            Optimizer::Adam8bit => (elements.adam8bit, "2 × (1 + 4/256) B × trained".to_owned()),
            Optimizer::Adafactor => (elements.adafactor, "4 B × (rows + columns)".to_owned()),
        };
        let has_master = training.precision == Precision::Master
            && !matches!(training.trainable, Trainable::Lora(_));
        let master = if has_master { elements.trained * 4 } else { Count::ZERO };
        if has_master {
            formula = format!("(4 B × trained + {formula})");
        }
        let shards = training.shards(1);
        ((kept + master).shared(shards), format!("{formula}{}", among(shards)))
    }

    const fn optimizer_is_on_host(&self) -> bool {
        self.training.offload.optimizer || self.training.offload.parameters
    }

    const fn gradients_are_on_host(&self) -> bool {
        let offload = self.training.offload;
        offload.parameters || (offload.optimizer && self.training.zero >= 2)
    }

    /// What is there from one step to the next.
    fn always(&self) -> Sketch {
        let mut parts = Vec::new();
        if !self.training.offload.parameters {
            let (bytes, formula) = self.weights();
            parts.push((Category::Parameters, bytes, formula));
        }
        if !self.optimizer_is_on_host() {
            let (bytes, formula) = self.state();
            parts.push((Category::Optimizer, bytes, formula));
        }
        let libraries = (Category::Workspace, self.training.workspace.into(), "as set".into());
        let driver = (Category::Context, self.training.context.into(), "as set".into());
        parts.extend([libraries, driver]);
        parts
    }

    /// Weights gathered from other devices or this machine, or copied by autocast.
    fn copies(&self, when: When) -> Option<(Category, Count, String)> {
        let (training, elements) = (self.training, &self.profile.elements);
        let low = training.precision.low();
        if training.shards(3) > 1 || training.offload.parameters {
            let blocks = match when {
                When::Forward | When::Loss | When::Embedding | When::Step => 0,
                _ => 2.min(self.profile.blocks),
            };
            let bytes = (elements.root + elements.block * blocks) * low;
            let formula = format!("{low} B × (outside blocks + {blocks} blocks)");
            return Some((Category::Copies, bytes, formula));
        }
        if training.precision != Precision::Autocast {
            return None;
        }
        let is_kept = !matches!(training.checkpoint, Checkpoint::Every(_));
        let (blocks, output) = match when {
            When::Forward => (self.profile.blocks, 1),
            When::Loss if is_kept => (self.profile.blocks, 1),
            When::LastBlock if is_kept => (self.profile.blocks, 0),
            When::Loss => (0, 1),
            When::Embedding | When::Step => (0, 0),
            _ => (1, 0),
        };
        let bytes = (elements.linear * blocks + elements.output * output) * low;
        Some((Category::Copies, bytes, format!("{low} B × linear layers of {blocks} blocks")))
    }

    /// Gradients when so many elements are made, of which these are not shared out or added yet.
    fn gradients(&self, made: Count, fresh: Count) -> Sketch {
        let (training, elements) = (self.training, &self.profile.elements);
        let (weight, bytes, _) = training.trained();
        let shards = training.shards(2);
        let there = if training.accumulates { elements.trained } else { made };
        let on_host = self.gradients_are_on_host();
        let mut parts = Vec::new();
        if !on_host {
            let formula = format!("{bytes} B × trained, so far{}", among(shards));
            parts.push((Category::Gradients, (there * bytes).shared(shards), formula));
        }
        if on_host || shards > 1 || training.accumulates || bytes != weight {
            let formula = format!("{weight} B × those of a block, before they are added or shared");
            parts.push((Category::Gradients, fresh.min(made) * weight, formula));
        }
        parts
    }

    fn activations(&self, kept: Count, after: Count) -> Sketch {
        let profile = self.profile;
        let (kept, formula) = if self.training.offload.activations {
            (kept.min(profile.kept_by_one * 2), "those of two blocks; the rest is offloaded".into())
        } else {
            (kept, profile.kept_formula.clone())
        };
        let around = profile.before + after;
        vec![
            (Category::Activations, kept, formula),
            (Category::Activations, around, "rows outside blocks".into()),
        ]
    }

    /// What the optimizer needs while it works.
    fn step(&self) -> (Category, Count, String) {
        let (training, elements) = (self.training, &self.profile.elements);
        let (_, gradient, state) = training.trained();
        let shards = training.shards(1);
        let all = elements.trained.shared(shards);
        let largest = elements.largest.shared(shards);
        let (mut bytes, mut formula) = match (training.optimizer, training.step) {
            (Optimizer::Adam, Step::Foreach) => (all * state, format!("{state} B × trained")),
            (Optimizer::Adam, Step::ForLoop) => {
                (largest * state * 2, format!("2 × {state} B × the largest tensor"))
            }
            (Optimizer::Adafactor, _) => (largest * 8, "2 × 4 B × the largest tensor".to_owned()),
            _ => (Count::ZERO, String::new()),
        };
        if training.precision == Precision::Master && gradient == 2 {
            let (more, what) = match training.step {
                Step::Foreach => (all * 4, "gradients in f32"),
                Step::ForLoop => (largest * 4, "a gradient in f32"),
                Step::Fused => (Count::ZERO, ""),
            };
            bytes = bytes + more;
            formula =
                if formula.is_empty() { what.into() } else { format!("({formula} + {what})") };
        }
        if self.optimizer_is_on_host() {
            bytes = Count::ZERO;
        }
        (Category::Temporary, bytes, format!("{formula}{}", among(shards)))
    }

    fn host(&self) -> Result<Vec<Part>, EstimateError> {
        let (training, elements) = (self.training, &self.profile.elements);
        let mut sketch = Vec::new();
        if training.offload.parameters {
            let (bytes, formula) = self.weights();
            sketch.push((Category::Parameters, bytes, formula));
        }
        if self.gradients_are_on_host() {
            let (_, bytes, _) = training.trained();
            let shards = training.shards(2);
            let formula = format!("{bytes} B × trained{}", among(shards));
            let all = (elements.trained * bytes).shared(shards);
            sketch.push((Category::Gradients, all, formula));
        }
        if self.optimizer_is_on_host() {
            let (bytes, formula) = self.state();
            sketch.push((Category::Optimizer, bytes, formula));
        }
        if training.offload.activations {
            let formula = self.profile.kept_formula.clone();
            sketch.push((Category::Activations, self.profile.kept, formula));
        }
        finish(sketch)
    }
}

fn among(shards: u32) -> String {
    if shards > 1 { format!(" / {shards}") } else { String::new() }
}

fn finish(sketch: Sketch) -> Result<Vec<Part>, EstimateError> {
    let some = sketch.into_iter().filter(|(_, count, _)| *count > Count::ZERO);
    let parts = some.map(|(category, count, formula)| {
        Ok(Part { category, bytes: count.bytes("the bytes on a device")?, formula })
    });
    parts.collect()
}

fn moment(when: When, sketch: Sketch) -> Result<Moment, EstimateError> {
    let total: Count = sketch.iter().map(|(_, count, _)| *count).sum();
    let total = total.bytes("the bytes on a device")?;
    Ok(Moment { when, total, parts: finish(sketch)? })
}
