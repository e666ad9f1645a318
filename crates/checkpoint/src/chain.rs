//! [`Chain`]: a model as layers one after the other, with their bytes and times.

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ChainError, Cost};

/// One layer: it maps a(i-1) to a(i).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// What it is called in errors and pictures.
    pub name: String,
    /// How long its forward pass takes, in any unit that is the same throughout the chain.
    pub forward_time: f64,
    /// How long its backward pass takes.
    pub backward_time: f64,
    /// The size of its output a(i), and of the gradient of a(i).
    pub output_bytes: Bytes,
    /// All that its backward pass needs apart from a(i-1), with a(i) included.
    pub saved_bytes: Bytes,
    /// What only the forward pass needs, while it runs.
    pub forward_extra_bytes: Bytes,
    /// What only the backward pass needs, while it runs.
    pub backward_extra_bytes: Bytes,
}

/// Layers one after the other. Always has at least one, and numbers that can be added up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    input_bytes: Bytes,
    layers: Vec<Layer>,
}

/// The largest size: JSON's numbers are exact up to here.
const LARGEST: u64 = 1 << 53;

impl Chain {
    /// A chain of these layers whose input a(0) has this size.
    ///
    /// # Errors
    /// [`ChainError`] names the layer and the number that is not one.
    pub fn new(input_bytes: Bytes, layers: Vec<Layer>) -> Result<Self, ChainError> {
        if layers.is_empty() {
            return Err(ChainError::Empty);
        }
        check_bytes(input_bytes, || "input_bytes".into())?;
        let mut total = input_bytes;
        let mut time = 0.0;
        for (layer, number) in layers.iter().zip(1..) {
            for (cost, value) in layer.times() {
                if !(value.is_finite() && value >= 0.0) {
                    let name = layer.name.clone();
                    return Err(ChainError::Time { layer: number, name, cost, value });
                }
                time += value;
            }
            for (cost, bytes) in layer.sizes() {
                check_bytes(bytes, || place(number, &layer.name, cost))?;
                total = total.saturating_add(bytes).saturating_add(bytes);
            }
        }
        // Every layer may run once more for every other.
        let runs = f64::from(u32::try_from(layers.len()).unwrap_or(u32::MAX));
        match (total.get() >> 63, (time * runs).is_finite()) {
            (0, true) => Ok(Self { input_bytes, layers }),
            (0, false) => Err(ChainError::TooLong),
            _ => Err(ChainError::TooLarge),
        }
    }

    /// Reads the text form, `{"input_bytes": n, "layers": [{"name": …, "forward_time": …}]}`.
    ///
    /// ```
    /// use freeboard_checkpoint::Chain;
    ///
    /// let chain = Chain::from_json(
    ///     r#"{"input_bytes": 8, "layers": [{"name": "embed", "forward_time": 1.0,
    ///         "backward_time": 2.0, "output_bytes": 16, "saved_bytes": 64,
    ///         "forward_extra_bytes": 0, "backward_extra_bytes": 4}]}"#,
    /// )?;
    /// assert_eq!(chain.ideal_time(), 3.0);
    /// # Ok::<(), freeboard_checkpoint::ChainError>(())
    /// ```
    ///
    /// # Errors
    /// [`ChainError`] names the line, or the layer and the number.
    pub fn from_json(text: &str) -> Result<Self, ChainError> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| ChainError::Format(error.to_string()))?;
        let input = written.input_bytes.ok_or_else(|| ChainError::Bytes {
            place: "input_bytes".into(),
            value: "missing".into(),
        })?;
        let input = whole(&input, || "input_bytes".into())?;
        let layers = written.layers.unwrap_or_default().into_iter().zip(1..);
        let layers = layers.map(|(layer, number)| layer.read(number)).collect::<Result<_, _>>()?;
        Self::new(input, layers)
    }

    /// The size of a(0).
    #[must_use]
    pub const fn input_bytes(&self) -> Bytes {
        self.input_bytes
    }

    /// The layers; layer i of the plans is at i - 1.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The size of a(i), for i from 0 to the number of layers.
    ///
    /// # Panics
    /// When there is no such layer.
    #[must_use]
    pub fn activation_bytes(&self, index: usize) -> Bytes {
        match index {
            0 => self.input_bytes,
            _ => self.layers[index - 1].output_bytes,
        }
    }

    /// The time of every layer's forward and backward pass, once each.
    #[must_use]
    pub fn ideal_time(&self) -> f64 {
        self.layers.iter().map(|layer| layer.forward_time + layer.backward_time).sum()
    }
}

impl Layer {
    /// A layer with these times and no bytes, to be filled in.
    #[must_use]
    pub fn new(name: &str, forward_time: f64, backward_time: f64) -> Self {
        Self {
            name: name.into(),
            forward_time,
            backward_time,
            output_bytes: Bytes::ZERO,
            saved_bytes: Bytes::ZERO,
            forward_extra_bytes: Bytes::ZERO,
            backward_extra_bytes: Bytes::ZERO,
        }
    }

    const fn times(&self) -> [(Cost, f64); 2] {
        [(Cost::ForwardTime, self.forward_time), (Cost::BackwardTime, self.backward_time)]
    }

    const fn sizes(&self) -> [(Cost, Bytes); 4] {
        [
            (Cost::OutputBytes, self.output_bytes),
            (Cost::SavedBytes, self.saved_bytes),
            (Cost::ForwardExtraBytes, self.forward_extra_bytes),
            (Cost::BackwardExtraBytes, self.backward_extra_bytes),
        ]
    }
}

fn place(layer: usize, name: &str, cost: Cost) -> String {
    format!("layer {layer} (`{name}`): {cost}")
}

fn check_bytes(bytes: Bytes, place: impl Fn() -> String) -> Result<(), ChainError> {
    if bytes.get() > LARGEST {
        return Err(ChainError::Bytes { place: place(), value: bytes.get().to_string() });
    }
    Ok(())
}

/// A whole number of bytes, however it is written: `1024` or `1024.0`.
fn whole(number: &serde_json::Number, place: impl Fn() -> String) -> Result<Bytes, ChainError> {
    let bytes = number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        let fits = (0.0..=9_007_199_254_740_992.0).contains(&float) && float.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        fits.then_some(float as u64)
    });
    bytes
        .map(Bytes::new)
        .ok_or_else(|| ChainError::Bytes { place: place(), value: number.to_string() })
}

/// The text form, before it is looked at.
#[derive(Deserialize)]
struct Written {
    input_bytes: Option<serde_json::Number>,
    layers: Option<Vec<WrittenLayer>>,
}

#[derive(Deserialize)]
struct WrittenLayer {
    name: Option<String>,
    forward_time: Option<f64>,
    backward_time: Option<f64>,
    output_bytes: Option<serde_json::Number>,
    saved_bytes: Option<serde_json::Number>,
    forward_extra_bytes: Option<serde_json::Number>,
    backward_extra_bytes: Option<serde_json::Number>,
}

impl WrittenLayer {
    fn read(self, layer: usize) -> Result<Layer, ChainError> {
        let name = self.name.unwrap_or_else(|| format!("layer {layer}"));
        let missing = |cost| ChainError::Missing { layer, name: name.clone(), cost };
        let time = |value: Option<f64>, cost| value.ok_or_else(|| missing(cost));
        let bytes = |value: Option<serde_json::Number>, cost| {
            whole(&value.ok_or_else(|| missing(cost))?, || place(layer, &name, cost))
        };
        Ok(Layer {
            forward_time: time(self.forward_time, Cost::ForwardTime)?,
            backward_time: time(self.backward_time, Cost::BackwardTime)?,
            output_bytes: bytes(self.output_bytes, Cost::OutputBytes)?,
            saved_bytes: bytes(self.saved_bytes, Cost::SavedBytes)?,
            forward_extra_bytes: bytes(self.forward_extra_bytes, Cost::ForwardExtraBytes)?,
            backward_extra_bytes: bytes(self.backward_extra_bytes, Cost::BackwardExtraBytes)?,
            name,
        })
    }
}
