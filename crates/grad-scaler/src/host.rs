//! Tensors in this process's memory, multiplied and checked without any device.
//!
//! What the scaler's kernels do to gradients on the host, for programs that have plain slices: one
//! sweep of memory with the best vector instructions this processor has, shared among the threads
//! of [`rayon`]'s current pool where there is much to do.

use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};

pub use crate::kernels::list::Bad;
use crate::kernels::multiply::{Kind, List, Piece, Task, multiply_list};

/// A tensor in this process's memory: a mutable slice of `f32`, `f16`, `bf16` or `f64`.
#[derive(Debug)]
pub struct HostTensor<'memory> {
    piece: Piece,
    memory: PhantomData<&'memory mut [u8]>,
}

// SAFETY: it is a mutable slice of plain numbers, and those may be sent.
unsafe impl Send for HostTensor<'_> {}
// SAFETY: nothing is read or written through a shared reference to it, except by
// `multiply_and_check`, whose caller has the only reference and lends it to threads.
unsafe impl Sync for HostTensor<'_> {}

macro_rules! tensors {
    ($($number:ty, $kind:ident;)*) => {
        $(impl<'memory> From<&'memory mut [$number]> for HostTensor<'memory> {
            fn from(slice: &'memory mut [$number]) -> Self {
                let (len, start) = (slice.len(), slice.as_mut_ptr().cast());
                Self { piece: Piece { start, len, kind: Kind::$kind }, memory: PhantomData }
            }
        })*
    };
}

tensors! {
    f32, F32;
    f16, F16;
    bf16, BF16;
    f64, F64;
}

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Check {
    /// Nothing.
    Nothing,
    /// Infinities and NaN in the numbers as they are given, which is what `PyTorch` looks for.
    #[default]
    Before,
    /// Those, and products that are not finite although the number was.
    BeforeAndAfter,
}

/// The first number that was not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BadNumber {
    /// Which tensor of the list it is in, from 0.
    pub tensor: usize,
    /// Which of its elements it is, from 0.
    pub element: usize,
    /// What is wrong with it.
    pub what: Bad,
}

impl fmt::Display for BadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Bad::Infinite => "is infinite",
            Bad::NotANumber => "is not a number",
            Bad::Overflow => "is finite, but not so when multiplied",
        };
        write!(f, "element {} of tensor {} {what}", self.element, self.tensor)
    }
}

/// Multiplies every number by `factor`, and returns the first one that was not finite.
///
/// The product is made in `f32` (`f64` for `f64`) and rounded to the tensor's type, to nearest, ties
/// to even. A factor of 1 leaves every bit as it is. A bad number ends the checks, not the
/// multiplication. The payload of a NaN is not specified.
///
/// ```
/// use freeboard_grad_scaler::host::{Bad, BadNumber, Check, HostTensor, multiply_and_check};
/// use half::f16;
///
/// let mut weights = [1024.0_f32, -512.0];
/// let mut bias = [f16::from_f32(64.0), f16::INFINITY];
/// let mut gradients = [HostTensor::from(&mut weights[..]), HostTensor::from(&mut bias[..])];
/// let bad = multiply_and_check(&mut gradients, 1.0 / 1024.0, Check::Before);
///
/// assert_eq!(bad, Some(BadNumber { tensor: 1, element: 1, what: Bad::Infinite }));
/// assert_eq!(weights, [1.0, -0.5]);
/// ```
pub fn multiply_and_check(
    tensors: &mut [HostTensor<'_>],
    factor: f32,
    check: Check,
) -> Option<BadNumber> {
    let after = check == Check::BeforeAndAfter;
    let task = Task::new(factor, true, check != Check::Nothing, after);
    let found = multiply_list(&Tensors(tensors), task)?;
    Some(BadNumber { tensor: found.piece, element: found.element, what: found.bad })
}

/// Tensors that nobody else can reach.
struct Tensors<'list, 'memory>(&'list mut [HostTensor<'memory>]);

// SAFETY: each piece is a mutable slice that outlives the list; there is no other access to it.
unsafe impl List for Tensors<'_, '_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn piece(&self, number: usize) -> Piece {
        self.0[number].piece
    }
}
