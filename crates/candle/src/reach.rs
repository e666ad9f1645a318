//! [`reach`]: which variables and inputs a tensor depends on, and whether on anything older.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use candle_core::{DType, Device, Shape, Tensor, TensorId};

/// What an output depends on.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    /// A variable.
    Variable(Tensor),
    /// The input of this number.
    Input(usize),
}

impl Argument {
    pub(crate) fn key(&self) -> (Option<TensorId>, usize) {
        match self {
            Self::Variable(variable) => (Some(variable.id()), 0),
            Self::Input(input) => (None, *input),
        }
    }
}

impl PartialEq for Argument {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

/// A moment of the program: candle numbers tensors in the order in which they are made.
///
/// A tensor that another thread makes while a function runs counts as the function's own; should
/// the function get hold of it, its gradients are right all the same, and only computed twice.
#[derive(Debug)]
pub(crate) struct Mark(Option<usize>);

impl Mark {
    pub(crate) fn now() -> candle_core::Result<Self> {
        Ok(Self(number(Tensor::zeros((), DType::U8, &Device::Cpu)?.id())))
    }

    /// Whether a tensor was made before. No, if candle no longer numbers them.
    fn is_after(&self, tensor: &Tensor) -> bool {
        matches!((self.0, number(tensor.id())), (Some(mark), Some(number)) if number < mark)
    }
}

/// The number of a tensor, which candle shows to hashers only.
fn number(id: TensorId) -> Option<usize> {
    let mut reader = Reader(None);
    id.hash(&mut reader);
    reader.0
}

struct Reader(Option<usize>);

impl Hasher for Reader {
    fn write(&mut self, _: &[u8]) {}

    fn write_usize(&mut self, number: usize) {
        self.0 = Some(number);
    }

    fn finish(&self) -> u64 {
        DefaultHasher::new().finish()
    }
}

/// What a tensor depends on: variables, then inputs, each with those that candle's walk comes to
/// first at the end. `leaves` stand for the inputs.
///
/// # Errors
/// What it depends on that was there before the mark and is no variable.
pub(crate) fn reach(
    tensor: &Tensor,
    leaves: &[Option<TensorId>],
    mark: &Mark,
) -> Result<Vec<Argument>, (Shape, DType)> {
    let (mut variables, mut inputs) = (Vec::new(), Vec::new());
    for node in tensor.sorted_nodes() {
        if node.is_variable() {
            match leaves.iter().position(|leaf| *leaf == Some(node.id())) {
                Some(input) => inputs.push(Argument::Input(input)),
                None => variables.push(Argument::Variable(node.clone())),
            }
        } else if mark.is_after(node) {
            return Err((node.shape().clone(), node.dtype()));
        }
    }
    variables.append(&mut inputs);
    Ok(variables)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot make a tensor has failed")]

    use candle_core::{Device, Tensor};

    use super::{Mark, number};

    #[test]
    fn candle_numbers_tensors_in_the_order_in_which_they_are_made() {
        let before = Tensor::new(1.0_f32, &Device::Cpu).unwrap();
        let mark = Mark::now().unwrap();
        let after = before.exp().unwrap();
        assert!(number(before.id()).unwrap() < number(after.id()).unwrap());
        assert!(mark.is_after(&before) && !mark.is_after(&after));
    }
}
