//! [`tally`]: one pass over a tensor, on the host.

use rayon::prelude::*;

use crate::fp8::Wide;
use crate::fp8::convert::{INFINITE, MAGNITUDE};
use crate::kernels::range::Row;

/// The elements that a thread takes at once, few enough for counts of 32 bits.
const PIECE: usize = 1 << 15;

/// What is asked about each number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// It is multiplied by this, in f32.
    pub(crate) factor: f32,
    /// The product becomes zero up to the first magnitude, subnormal below the second, and too
    /// large from the third on. Bits of f32.
    pub(crate) limits: [u32; 3],
}

/// Counts, with a thread for each piece of the tensor.
pub(crate) fn tally<T: Wide>(numbers: &[T], asked: Question) -> Row {
    let pieces = numbers.par_chunks(PIECE).map(|piece| count(piece, asked));
    pieces.reduce(Row::default, Row::and)
}

/// All in lanes of 32 bits and without branches, so that the compiler makes vector code of it.
fn count<T: Wide>(numbers: &[T], Question { factor, limits }: Question) -> Row {
    let [zero, normal, overflow] = limits;
    let mut amax = 0;
    let mut counts = [0_u32; 6];
    for number in numbers {
        let number = number.to_f32();
        let magnitude = number.to_bits() & MAGNITUDE;
        let scaled = (number * factor).to_bits() & MAGNITUDE;
        let finite = magnitude < INFINITE;
        amax = amax.max(if finite { magnitude } else { 0 });
        counts[0] += u32::from(magnitude == 0);
        counts[1] += u32::from(magnitude == INFINITE);
        counts[2] += u32::from(magnitude > INFINITE);
        counts[3] += u32::from(magnitude != 0 && scaled <= zero);
        counts[4] += u32::from(scaled > zero && scaled < normal);
        counts[5] += u32::from(finite && scaled >= overflow);
    }
    let [zeros, infinities, nans, underflow, subnormal, overflow] = counts.map(u64::from);
    Row { amax, reserved: 0, zeros, infinities, nans, underflow, subnormal, overflow }
}

/// [`tally`] of doubles: the largest finite magnitude, which f32 need not hold, and the counts.
pub(crate) fn tally_f64(numbers: &[f64], factor: f64, limits: [u64; 3]) -> (f64, Row) {
    const INFINITE: u64 = 0x7ff0_0000_0000_0000;
    let [zero, normal, overflow] = limits;
    let one = |&number: &f64| {
        let magnitude = number.to_bits() & !(1 << 63);
        let scaled = (number * factor).to_bits() & !(1 << 63);
        let finite = magnitude < INFINITE;
        let row = Row {
            zeros: u64::from(magnitude == 0),
            infinities: u64::from(magnitude == INFINITE),
            nans: u64::from(magnitude > INFINITE),
            underflow: u64::from(magnitude != 0 && scaled <= zero),
            subnormal: u64::from(scaled > zero && scaled < normal),
            overflow: u64::from(finite && scaled >= overflow),
            ..Row::default()
        };
        (if finite { magnitude } else { 0 }, row)
    };
    let (amax, row) = numbers
        .par_iter()
        .with_min_len(PIECE)
        .map(one)
        .reduce(|| (0, Row::default()), |a, b| (a.0.max(b.0), a.1.and(b.1)));
    (f64::from_bits(amax), row)
}
