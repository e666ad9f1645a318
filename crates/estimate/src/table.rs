//! [`LayerTable`]: a model of any kind, as layers with bytes of their own.

use freeboard_units::Bytes;

use crate::count::Count;
use crate::json::Object;
use crate::profile::{Elements, Point, Profile};
use crate::{Checkpoint, EstimateError, Trainable, Training, When};

/// One layer, for a batch of 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLayer {
    /// What it is called.
    pub name: String,
    /// The size of its output, and of the gradient of that.
    pub output: Bytes,
    /// All that its backward pass needs apart from its input, with its output included.
    pub saved: Bytes,
    /// What only its forward pass needs, while it runs.
    pub forward_extra: Bytes,
    /// What only its backward pass needs, while it runs.
    pub backward_extra: Bytes,
    /// How many parameters it has.
    pub parameters: u64,
}

/// Layers one after the other. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTable {
    input: Bytes,
    layers: Vec<TableLayer>,
}

impl LayerTable {
    /// Reads `{"input_bytes": n, "layers": [{"name": …, "output_bytes": n, "saved_bytes": n,
    /// "forward_extra_bytes": n, "backward_extra_bytes": n, "parameters": n}]}`. Without a name a
    /// layer has its number; without parameters it has none; other keys are not looked at. Copies of
    /// weights that autocast makes belong to what a layer saves.
    ///
    /// # Errors
    /// [`EstimateError`] names the layer and the key.
    pub fn from_json(text: &str) -> Result<Self, EstimateError> {
        let mut table = Object::parse(text)?;
        let input = table.whole("input_bytes")?.ok_or_else(|| table.missing("input_bytes"))?;
        let layers = match table.get("layers") {
            Some(serde_json::Value::Array(layers)) if !layers.is_empty() => layers,
            Some(value) => return Err(table.wrong("layers", &value, "give at least one layer")),
            None => return Err(table.missing("layers")),
        };
        let layers = (1..).zip(layers).map(|(number, layer)| {
            let mut layer = Object::inside(format!("layer {number}, "), layer)?;
            let name = layer.text("name")?.unwrap_or_else(|| format!("layer {number}"));
            let mut layer = layer.at(format!("layer {number} (`{name}`), "));
            let mut bytes = |key| {
                let bytes = layer.whole(key)?.ok_or_else(|| layer.missing(key))?;
                Ok::<_, EstimateError>(Bytes::new(bytes))
            };
            Ok(TableLayer {
                name,
                output: bytes("output_bytes")?,
                saved: bytes("saved_bytes")?,
                forward_extra: bytes("forward_extra_bytes")?,
                backward_extra: bytes("backward_extra_bytes")?,
                parameters: layer.whole("parameters")?.unwrap_or(0),
            })
        });
        Ok(Self { input: Bytes::new(input), layers: layers.collect::<Result<_, _>>()? })
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[TableLayer] {
        &self.layers
    }

    pub(crate) fn profile(&self, training: &Training) -> Result<Profile, EstimateError> {
        let every = match training.checkpoint {
            Checkpoint::None => None,
            Checkpoint::Every(every) => Some(every as usize),
            Checkpoint::Selective => return Err(conflict("selective checkpointing")),
        };
        if matches!(training.trainable, Trainable::Lora(_)) {
            return Err(conflict("LoRA"));
        }
        if training.tensor > 1 {
            return Err(conflict("tensor parallelism"));
        }
        let bytes = |bytes: Bytes| Count::from(bytes) * training.batch;
        let parameters = |layer: &TableLayer| Count::from(Bytes::new(layer.parameters));
        let mut elements = Elements::default();
        for layer in &self.layers {
            let count = parameters(layer);
            elements.own = elements.own + count;
            elements.block = elements.block.max(count);
            elements.add_state(count, (count, Count::from(1)), Count::from(1));
        }
        (elements.trained, elements.trained_block) = (elements.own, elements.block);
        elements.largest = elements.block;
        elements.train(training.trainable);
        let part = if let Trainable::Part(part) = training.trainable { part } else { 1.0 };
        let mut points = Vec::new();
        // Bytes kept of the layers before; bytes made again since the last checkpoint; parameters
        // of the layers before.
        let (mut kept, mut again, mut before) = (Count::ZERO, Count::ZERO, Count::ZERO);
        let mut kept_by_one = Count::ZERO;
        let mut input = self.input;
        for (index, layer) in self.layers.iter().enumerate() {
            let backward = bytes(layer.backward_extra) + bytes(layer.output) + bytes(input);
            let extra = backward.max(bytes(layer.forward_extra));
            input = layer.output;
            again = again + bytes(layer.saved);
            let when = When::Layer(u32::try_from(index + 1).unwrap_or(u32::MAX));
            let made = (elements.own - before).part(part);
            points.push(Point { when, kept, working: again + extra, made });
            before = before + parameters(layer);
            // Where nothing is checkpointed, every layer keeps what it saves.
            let keeps = match every {
                None => again,
                Some(every) if (index + 1).is_multiple_of(every) => bytes(layer.output),
                Some(_) => continue,
            };
            (kept, again) = (kept + keeps, Count::ZERO);
            kept_by_one = kept_by_one.max(keeps);
        }
        points.reverse();
        let extra = self.layers.iter().map(|layer| bytes(layer.forward_extra)).max();
        Ok(Profile {
            elements,
            blocks: u32::try_from(self.layers.len()).unwrap_or(u32::MAX),
            before: bytes(self.input),
            kept,
            kept_by_one,
            kept_formula: "b × bytes of the layers".into(),
            after: extra.unwrap_or(Count::ZERO),
            logits: (Count::ZERO, Count::ZERO),
            logits_formula: (String::new(), String::new()),
            embedding: Count::ZERO,
            points,
        })
    }
}

fn conflict(setting: &'static str) -> EstimateError {
    let remedy = "leave it out, or describe the model by its shape";
    EstimateError::Conflict { setting, with: "a table of layers", remedy }
}
