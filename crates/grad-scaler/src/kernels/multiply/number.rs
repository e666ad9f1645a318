//! What is done to numbers side by side. Every loop here is plain, and the compiler makes vector
//! instructions of it, once for each level of `level.rs`.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use half::{bf16, f16};

use super::super::list::Bad;
use super::Task;
use super::level::{self, Level};

/// Numbers that fill the widest vectors. All loops are over whole lines.
pub(super) const LINE: usize = 16;
/// The lines that are first checked, then multiplied, while they are in the nearest cache.
const STRIP: usize = 4;

/// A type of numbers.
pub(super) trait Number: Copy {
    const ZERO: Self;

    fn not_finite(self) -> bool;
    fn not_a_number(self) -> bool;
    fn times(self, factor: f32) -> Self;

    /// Whether all are finite, without a branch for each.
    fn all_finite(lines: &[[Self; LINE]]) -> bool;

    #[inline(always)]
    fn scale<L: Level>(lines: &mut [[Self; LINE]], factor: f32) {
        for number in lines.as_flattened_mut() {
            *number = number.times(factor);
        }
    }
}

/// Infinities and NaN are what has the largest exponent, the one of infinity, without the sign.
macro_rules! number {
    ($number:ty, $bits:ty, $times:expr $(, $scale:item)?) => {
        impl Number for $number {
            const ZERO: Self = <$number>::from_bits(0);
            #[inline(always)]
            fn not_finite(self) -> bool {
                !self.is_finite()
            }
            #[inline(always)]
            fn not_a_number(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn times(self, factor: f32) -> Self {
                $times(self, factor)
            }
            #[inline(always)]
            fn all_finite(lines: &[[Self; LINE]]) -> bool {
                let mut most: [$bits; LINE] = [0; LINE];
                for line in lines {
                    for (most, number) in most.iter_mut().zip(line) {
                        *most = (*most).max(number.to_bits() & (<$bits>::MAX >> 1));
                    }
                }
                most.into_iter().fold(0, <$bits>::max) < <$number>::INFINITY.to_bits()
            }
            $(#[inline(always)]
            $scale)?
        }
    };
}

number!(f32, u32, |number: f32, factor: f32| number * factor);
number!(f64, u64, |number: f64, factor: f32| number * f64::from(factor));
number!(bf16, u16, |number, factor| narrow_bf16(widen_bf16(number) * factor));
number!(
    f16,
    u16,
    |number, factor| narrow_f16(widen_f16(number) * factor),
    fn scale<L: Level>(lines: &mut [[Self; LINE]], factor: f32) {
        L::scale_f16(lines, factor);
    }
);

#[inline(always)]
fn widen_bf16(number: bf16) -> f32 {
    f32::from_bits(u32::from(number.to_bits()) << 16)
}

/// To nearest, ties to even; `half` does the same with a branch, which is not made a vector.
#[inline(always)]
fn narrow_bf16(number: f32) -> bf16 {
    let bits = number.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16;
    let quiet = bits >> 16 | 0x40;
    low_half(if number.is_nan() { quiet } else { rounded }, bf16::from_bits)
}

/// The exponent is moved by a multiplication, which makes subnormal numbers normal, too.
#[inline(always)]
fn widen_f16(number: f16) -> f32 {
    let bits = u32::from(number.to_bits());
    let moved = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    let quiet = if bits & 0x7fff > 0x7c00 { 0x0040_0000 } else { 0 };
    f32::from_bits(moved.to_bits() | special | quiet | (bits & 0x8000) << 16)
}

/// To nearest, ties to even.
#[inline(always)]
fn narrow_f16(number: f32) -> f16 {
    let bits = number.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let quiet = 0x7e00 | magnitude >> 13 & 0x03ff;
    let result = if number.is_nan() { quiet } else { crate::kernels::round::narrow_f16(magnitude) };
    low_half(result | bits >> 16 & 0x8000, f16::from_bits)
}

#[inline(always)]
fn low_half<N>(bits: u32, make: impl FnOnce(u16) -> N) -> N {
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is empty")]
    make(bits as u16)
}

/// Does the task to these numbers, and returns the first finding.
#[inline(always)]
pub(super) fn sweep<N: Number, L: Level>(numbers: &mut [N], task: Task) -> Option<(usize, Bad)> {
    let mut state = Sweep { task, at: 0, found: None };
    let (lines, rest) = numbers.as_chunks_mut::<LINE>();
    let (strips, lines) = lines.as_chunks_mut::<STRIP>();
    for strip in strips {
        level::call_ahead(strip);
        state.strip::<N, L>(strip, STRIP * LINE);
    }
    for line in lines.as_chunks_mut::<1>().0 {
        state.strip::<N, L>(line, LINE);
    }
    if !rest.is_empty() {
        let mut line = [[N::ZERO; LINE]];
        line[0][..rest.len()].copy_from_slice(rest);
        state.strip::<N, L>(&mut line, rest.len());
        rest.copy_from_slice(&line[0][..rest.len()]);
    }
    state.found
}

/// How far a sweep is.
struct Sweep {
    /// Without checks once something was found.
    task: Task,
    at: usize,
    found: Option<(usize, Bad)>,
}

impl Sweep {
    /// Does the task to these lines, of which so many numbers are the piece's own.
    #[inline(always)]
    fn strip<N: Number, L: Level>(&mut self, lines: &mut [[N; LINE]], own: usize) {
        if self.task.check && !N::all_finite(lines) {
            self.look(&lines.as_flattened()[..own], |number, task| match () {
                () if number.not_a_number() => Some(Bad::NotANumber),
                () if number.not_finite() => Some(Bad::Infinite),
                () if task.check_after && number.times(task.factor).not_finite() => {
                    Some(Bad::Overflow)
                }
                () => None,
            });
        }
        if self.task.multiply {
            N::scale::<L>(lines, self.task.factor);
        }
        // Now these are the products of finite numbers: whatever was found ended all checks.
        if self.task.check_after && !N::all_finite(lines) {
            let overflow = |number: N, _: &Task| number.not_finite().then_some(Bad::Overflow);
            self.look(&lines.as_flattened()[..own], overflow);
        }
        self.at += own;
    }

    /// Finds the first, and ends all checks: nothing later comes before it. There is none if only
    /// what fills the last line is not finite.
    #[cold]
    #[inline(never)]
    fn look<N: Number>(&mut self, numbers: &[N], bad: impl Fn(N, &Task) -> Option<Bad>) {
        let mut numbers = numbers.iter().enumerate();
        self.found = numbers
            .find_map(|(at, &number)| bad(number, &self.task).map(|bad| (self.at + at, bad)));
        self.task = self.task.unchecked();
    }
}
