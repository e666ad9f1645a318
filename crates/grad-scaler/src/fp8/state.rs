//! [`Fp8State`]: what a checkpoint keeps.

use serde::{Deserialize, Serialize};

use super::meta::MOST_TENSORS;
use super::{Direction, Fp8Error, Fp8Meta, Fp8Recipe};

/// The version of states that are written.
const VERSION: u32 = 1;

/// What a checkpoint keeps of the scales of both directions, under Transformer Engine's names.
///
/// Numbers that are not finite are written as words, since JSON has none.
///
/// ```
/// use freeboard_grad_scaler::fp8::{Direction, Fp8Meta, Fp8Recipe, Fp8State};
///
/// let forward = Fp8Meta::new(Fp8Recipe::default(), Direction::Forward, 3)?;
/// let backward = Fp8Meta::new(Fp8Recipe::default(), Direction::Backward, 2)?;
/// let state = Fp8State::of(&forward, &backward)?;
/// assert_eq!(state.metas()?, (forward, backward));
/// # Ok::<(), freeboard_grad_scaler::fp8::Fp8Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fp8State {
    /// The version of this form: 1.
    pub version: u32,
    /// What scales follow by, forward and backward.
    pub recipe: Fp8Recipe,
    /// A scale for each tensor, forward.
    #[serde(with = "list")]
    pub scale_fwd: Vec<f32>,
    /// The rows of the history, forward.
    #[serde(with = "rows")]
    pub amax_history_fwd: Vec<Vec<f32>>,
    /// A scale for each tensor, backward.
    #[serde(with = "list")]
    pub scale_bwd: Vec<f32>,
    /// The rows of the history, backward.
    #[serde(with = "rows")]
    pub amax_history_bwd: Vec<Vec<f32>>,
}

impl Fp8State {
    /// What to keep of both.
    ///
    /// # Errors
    /// When they are not one of each direction, or their recipes differ.
    pub fn of(forward: &Fp8Meta, backward: &Fp8Meta) -> Result<Self, Fp8Error> {
        if (forward.direction, backward.direction) != (Direction::Forward, Direction::Backward) {
            let reason = "pass the forward scales first, then the backward ones".to_owned();
            return Err(Fp8Error::State { part: "direction", reason });
        }
        if forward.recipe != backward.recipe {
            let reason = "forward and backward have different ones".to_owned();
            return Err(Fp8Error::State { part: "recipe", reason });
        }
        let rows = |meta: &Fp8Meta| meta.amax_history().map(<[f32]>::to_vec).collect();
        Ok(Self {
            version: VERSION,
            recipe: forward.recipe,
            scale_fwd: forward.scale.clone(),
            amax_history_fwd: rows(forward),
            scale_bwd: backward.scale.clone(),
            amax_history_bwd: rows(backward),
        })
    }

    /// The forward and backward scales that were kept.
    ///
    /// # Errors
    /// When the state is of another version, or its parts do not fit one another.
    pub fn metas(&self) -> Result<(Fp8Meta, Fp8Meta), Fp8Error> {
        if self.version != VERSION {
            return Err(Fp8Error::StateVersion { version: self.version, expected: VERSION });
        }
        let forward = ["scale_fwd", "amax_history_fwd"];
        let backward = ["scale_bwd", "amax_history_bwd"];
        Ok((
            self.meta(Direction::Forward, forward, &self.scale_fwd, &self.amax_history_fwd)?,
            self.meta(Direction::Backward, backward, &self.scale_bwd, &self.amax_history_bwd)?,
        ))
    }

    fn meta(
        &self,
        direction: Direction,
        [scale_name, rows_name]: [&'static str; 2],
        scale: &[f32],
        rows: &[Vec<f32>],
    ) -> Result<Fp8Meta, Fp8Error> {
        self.recipe.check()?;
        let (tensors, len) = (scale.len(), self.recipe.amax_history_len);
        if tensors == 0 || tensors > MOST_TENSORS {
            return Err(Fp8Error::Tensors { tensors, most: MOST_TENSORS });
        }
        if let Some(scale) = scale.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
            let reason = format!("{scale} is no scale, which is finite and above 0");
            return Err(Fp8Error::State { part: scale_name, reason });
        }
        if rows.len() != len || rows.iter().any(|row| row.len() != tensors) {
            let reason = format!("it needs {len} rows of {tensors}");
            return Err(Fp8Error::State { part: rows_name, reason });
        }
        if let Some(amax) = rows.iter().flatten().find(|&&amax| amax < 0.0) {
            let reason = format!("{amax} is no magnitude");
            return Err(Fp8Error::State { part: rows_name, reason });
        }
        Ok(Fp8Meta {
            recipe: self.recipe,
            direction,
            scale: scale.to_vec(),
            scale_inv: scale.iter().map(|scale| 1.0 / scale).collect(),
            history: rows.concat(),
        })
    }
}

/// A number, as a word where it is not finite.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f32),
    Special(Special),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Special {
    Inf,
    Nan,
}

impl From<f32> for Number {
    fn from(value: f32) -> Self {
        match value {
            value if value.is_nan() => Self::Special(Special::Nan),
            value if value.is_infinite() => Self::Special(Special::Inf),
            value => Self::Finite(value),
        }
    }
}

impl From<Number> for f32 {
    fn from(number: Number) -> Self {
        match number {
            Number::Finite(value) => value,
            Number::Special(Special::Inf) => Self::INFINITY,
            Number::Special(Special::Nan) => Self::NAN,
        }
    }
}

mod list {
    //! A list of [`Number`]s.

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Number;

    pub(super) fn serialize<S: Serializer>(list: &[f32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().copied().map(Number::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<Number>::deserialize(from)?.into_iter().map(f32::from).collect())
    }
}

mod rows {
    //! Lists of [`Number`]s.

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Number;

    pub(super) fn serialize<S: Serializer>(rows: &[Vec<f32>], to: S) -> Result<S::Ok, S::Error> {
        let row = |row: &Vec<f32>| row.iter().copied().map(Number::from).collect::<Vec<_>>();
        to.collect_seq(rows.iter().map(row))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<f32>>, D::Error> {
        let rows = Vec::<Vec<Number>>::deserialize(from)?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(f32::from).collect()).collect())
    }
}
