//! What is done to numbers side by side. Every loop here is plain, and the compiler makes vector
//! instructions of it, once for each level of `level.rs`.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use std::ops::BitOr;

use half::{bf16, f16};

use super::super::list::Bad;
use super::level::{self, Level};
use super::{Look, Task};

/// The numbers between two looks at what was found. They stay in the nearest cache meanwhile.
const STRIP: usize = 256;
/// Shorter strips, for what is left: of so many numbers each that loops need not count.
const SHORT: [usize; 2] = [64, 32];

/// A type of numbers.
pub(super) trait Number: Copy {
    /// As many bits.
    type Bits: Copy + Default + BitOr<Output = Self::Bits>;

    fn not_finite(self) -> bool;
    fn not_a_number(self) -> bool;
    fn times(self, factor: f32) -> Self;
    /// The highest bit is set if the number is not finite.
    fn mark(self) -> Self::Bits;
    fn is_marked(bits: Self::Bits) -> bool;

    /// Whether all are finite, without a branch for each.
    #[inline(always)]
    fn all_finite(numbers: &[Self]) -> bool {
        let marks = numbers.iter().map(|number| number.mark());
        !Self::is_marked(marks.fold(Self::Bits::default(), |all, mark| all | mark))
    }

    #[inline(always)]
    fn scale<L: Level>(numbers: &mut [Self], factor: f32) {
        for number in numbers {
            *number = number.times(factor);
        }
    }

    /// Multiplies by a factor that is finite, and returns whether all were finite before.
    #[inline(always)]
    fn scale_and_check<L: Level>(numbers: &mut [Self], factor: f32) -> bool {
        let mut marks = Self::Bits::default();
        for number in numbers {
            marks = marks | number.mark();
            *number = number.times(factor);
        }
        !Self::is_marked(marks)
    }
}

/// Infinities and NaN have the largest exponent. One more, and it runs over into the sign.
macro_rules! number {
    ($number:ty, $bits:ty, $times:expr $(, $item:item)*) => {
        impl Number for $number {
            type Bits = $bits;
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
            fn mark(self) -> $bits {
                const ONE: $bits = <$bits>::MAX / 2 + 1 - <$number>::INFINITY.to_bits();
                self.to_bits().wrapping_add(ONE) ^ self.to_bits()
            }
            #[inline(always)]
            fn is_marked(bits: $bits) -> bool {
                bits > <$bits>::MAX / 2
            }
            $(#[inline(always)]
            $item)*
        }
    };
}

number!(f32, u32, |number: f32, factor: f32| number * factor);
number!(f64, u64, |number: f64, factor: f32| number * f64::from(factor));
number!(
    bf16,
    u16,
    |number, factor| narrow_bf16(widen_bf16(number) * factor),
    fn scale_and_check<L: Level>(numbers: &mut [Self], factor: f32) -> bool {
        let finite = Self::all_finite(numbers);
        if finite {
            // No product is NaN: that saves more than the check takes.
            for number in numbers {
                let product = round_bf16(widen_bf16(*number) * factor);
                *number = low_half(product, Self::from_bits);
            }
        } else {
            Self::scale::<L>(numbers, factor);
        }
        finite
    }
);
number!(
    f16,
    u16,
    |number, factor| narrow_f16(widen_f16(number) * factor),
    fn scale<L: Level>(numbers: &mut [Self], factor: f32) {
        L::scale_f16::<false>(numbers, factor);
    },
    fn scale_and_check<L: Level>(numbers: &mut [Self], factor: f32) -> bool {
        L::scale_f16::<true>(numbers, factor)
    }
);

#[inline(always)]
fn widen_bf16(number: bf16) -> f32 {
    f32::from_bits(u32::from(number.to_bits()) << 16)
}

/// To nearest, ties to even; `half` does the same with a branch, which is not made a vector.
#[inline(always)]
fn narrow_bf16(number: f32) -> bf16 {
    let quiet = number.to_bits() >> 16 | 0x40;
    low_half(if number.is_nan() { quiet } else { round_bf16(number) }, bf16::from_bits)
}

/// The bits that a number other than NaN has as a `bf16`.
#[inline(always)]
fn round_bf16(number: f32) -> u32 {
    let bits = number.to_bits();
    bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16
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
    let (strips, rest) = numbers.as_chunks_mut::<STRIP>();
    for strip in strips {
        level::call_ahead(strip);
        state.strip::<N, L>(strip);
    }
    let (strips, rest) = rest.as_chunks_mut::<{ SHORT[0] }>();
    for strip in strips {
        state.strip::<N, L>(strip);
    }
    let (strips, rest) = rest.as_chunks_mut::<{ SHORT[1] }>();
    for strip in strips {
        state.strip::<N, L>(strip);
    }
    if !rest.is_empty() {
        state.strip::<N, L>(rest);
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
    #[inline(always)]
    fn strip<N: Number, L: Level>(&mut self, numbers: &mut [N]) {
        let Task { factor, multiply, look } = self.task;
        if look == Look::Anywhere {
            if !N::scale_and_check::<L>(numbers, factor) {
                self.note(first(numbers, bad));
            }
        } else {
            if look != Look::Nowhere && !N::all_finite(numbers) {
                self.note(first(numbers, |number| match bad(number) {
                    None if look == Look::BeforeAndAfter => overflow(number.times(factor)),
                    bad => bad,
                }));
            }
            if multiply {
                N::scale::<L>(numbers, factor);
            }
            // Now these are the products of finite numbers: whatever was found ended all checks.
            if self.task.look == Look::BeforeAndAfter && !N::all_finite(numbers) {
                self.note(first(numbers, overflow));
            }
        }
        self.at += numbers.len();
    }

    /// Ends all checks: nothing later comes before what was found.
    #[inline(always)]
    fn note(&mut self, found: Option<(usize, Bad)>) {
        self.found = found.map(|(element, bad)| (self.at + element, bad));
        self.task = self.task.unchecked();
    }
}

/// The first that is bad, and what is wrong with it.
#[cold]
#[inline(never)]
fn first<N: Number>(numbers: &[N], bad: impl Fn(N) -> Option<Bad>) -> Option<(usize, Bad)> {
    let mut numbers = numbers.iter().enumerate();
    numbers.find_map(|(element, &number)| Some((element, bad(number)?)))
}

fn bad<N: Number>(number: N) -> Option<Bad> {
    let bad = if number.not_a_number() { Bad::NotANumber } else { Bad::Infinite };
    number.not_finite().then_some(bad)
}

fn overflow<N: Number>(product: N) -> Option<Bad> {
    product.not_finite().then_some(Bad::Overflow)
}
