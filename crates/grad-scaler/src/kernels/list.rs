//! [`MultiplyList`] and its kin: what the kernels of the scaler are told, and what they keep.
//!
//! `common.cuh` and `scaler.cu` have the same structures in C++; a test compares the sizes.

use bytemuck::{Pod, Zeroable};
use freeboard_units::{Address, Dtype};

use crate::rule::{Change, Numbers, Rule};

/// How many tensors fit into a launch: parameters end at 4,096 bytes before CUDA 12.1.
pub(crate) const ENTRIES: usize = 248;
/// The elements that a block of threads works on.
pub(crate) const CHUNK: u32 = 1 << 15;
/// The threads of a block.
pub(crate) const THREADS: u32 = 512;
/// The longest piece of a tensor that an entry covers: whole chunks, counted in 32 bits, and a power
/// of two, so that nothing is divided. `optimizers.cu` has the same number.
pub(crate) const LONGEST: u64 = 1 << 31;

/// The pieces of a tensor of `len` elements: how many are before each, and how many it has.
pub(crate) fn pieces(len: u64) -> impl Iterator<Item = (u64, u32)> {
    (0..len.div_ceil(LONGEST)).map(move |piece| {
        let before = piece * LONGEST;
        (before, narrow((len - before).min(LONGEST)))
    })
}

/// Counts that were checked to be small.
pub(crate) fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The number by which kernels know a type.
pub(crate) const fn number_of(dtype: Dtype) -> Option<u32> {
    match dtype {
        Dtype::F32 => Some(0),
        Dtype::F16 => Some(1),
        Dtype::BF16 => Some(2),
        Dtype::F64 => Some(3),
        _ => None,
    }
}

/// An address with the type of what is there: one that [`number_of`] knows.
pub(crate) fn tagged(address: Address, dtype: Dtype) -> u64 {
    address.get() | u64::from(number_of(dtype).unwrap_or_default()) << 62
}

/// Look for infinities and NaN in what is read.
pub(crate) const CHECK: u32 = 1;
/// Look for them in what is written, too.
pub(crate) const CHECK_AFTER: u32 = 2;
/// Multiply by the factor, and write. Without it, tensors are only read.
pub(crate) const MULTIPLY: u32 = 4;

/// A tensor, or as much of one as 32 bits count. It need not be aligned to more than its elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Entry {
    /// Its address; the two highest bits are its type: 0 f32, 1 f16, 2 bf16, 3 f64.
    pub(crate) start: u64,
    /// Its elements, not zero.
    pub(crate) len: u32,
    /// How many blocks work on the entries before it. A block has [`CHUNK`] elements, the last of
    /// an entry maybe fewer.
    pub(crate) first_block: u32,
}

/// The parameter of `freeboard_multiply`: multiply each number of a list of tensors in place by a
/// factor that lies on the device, and note whether one was not finite.
///
/// A product is made in f32 (f64 for f64) and rounded to the tensor's type, to nearest, ties to
/// even. A factor of 1 leaves every bit as it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct MultiplyList {
    /// The address of the factor, an f32.
    pub(crate) factor: u64,
    /// The address of a [`Found`], or 0 without [`CHECK`].
    pub(crate) found: u64,
    /// How many of the entries are used.
    pub(crate) count: u32,
    /// How many entries were in the launches before, for [`Found::first`].
    pub(crate) first: u32,
    /// [`CHECK`], [`CHECK_AFTER`], [`MULTIPLY`].
    pub(crate) flags: u32,
    pub(crate) reserved: u32,
    pub(crate) entries: [Entry; ENTRIES],
}

/// What was found in an optimizer's gradients since the last update. All zeros: nothing, which is
/// what the update leaves behind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[expect(clippy::struct_field_names, reason = "PyTorch's name for the flag")]
pub(crate) struct Found {
    /// 1.0 if a number was not finite, else 0.0, as bits of an f32: PyTorch's `found_inf`, which
    /// fused optimizers take.
    pub(crate) found: u32,
    pub(crate) reserved: u32,
    /// The complement of the least key of a number that was not finite; 0 if there is none. So an
    /// atomic maximum keeps the first. A key is the entry's number (24 bits), the element's in it
    /// (32), and what it was (a [`Bad`], the lowest 2).
    pub(crate) first: u64,
}

/// What was wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Bad {
    /// It was an infinity.
    Infinite = 0,
    /// It was NaN.
    NotANumber = 1,
    /// It was finite, and the product was not
    /// ([`check_after`](crate::ScalerConfig::check_after)).
    Overflow = 2,
}

/// The state of a scaler on a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub(crate) struct State {
    pub(crate) scale: f32,
    /// 1 / scale, made in f64 and rounded.
    pub(crate) inverse: f32,
    pub(crate) growth_tracker: i32,
    pub(crate) hysteresis: i32,
    /// How often the rule was applied, and what came of it.
    pub(crate) updates: u64,
    pub(crate) skipped: u64,
    pub(crate) grew: u64,
    pub(crate) backed_off: u64,
    pub(crate) at_floor: u64,
    pub(crate) reserved: u64,
}

/// What [`UpdateScale`] does.
pub(crate) const APPLY_RULE: u32 = 0;
/// What [`UpdateScale`] does: the scale is set, the tracker stays.
pub(crate) const SET_SCALE: u32 = 1;

/// The parameter of `freeboard_update_scale`: one thread applies the rule to what was found, counts,
/// and leaves every [`Found`] all zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct UpdateScale {
    /// The address of a [`State`].
    pub(crate) state: u64,
    /// The address of the first [`Found`] of an array.
    pub(crate) founds: u64,
    /// How many there are.
    pub(crate) count: u32,
    /// [`APPLY_RULE`] or [`SET_SCALE`].
    pub(crate) mode: u32,
    /// What the scale is set to.
    pub(crate) new_scale: f32,
    /// Whether something was found on another device: 0 or 1.
    pub(crate) elsewhere: u32,
    /// A `Rule` of `rule.rs`: growth and backoff factor (f64), floor and cap (f32; 0 and infinity
    /// where there is none), growth interval, hysteresis (i32), refill (u32), padding.
    pub(crate) rule: [u64; 5],
}

impl State {
    /// The state of a scaler that has not updated yet.
    pub(crate) fn new(numbers: Numbers) -> Self {
        let mut state = Self::zeroed();
        state.set(numbers);
        state
    }

    pub(crate) const fn numbers(&self) -> Numbers {
        let Self { scale, growth_tracker, hysteresis, .. } = *self;
        Numbers { scale, growth_tracker, hysteresis }
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounded once, as PyTorch does")]
    pub(crate) fn set(&mut self, numbers: Numbers) {
        let Numbers { scale, growth_tracker, hysteresis } = numbers;
        let inverse = f64::from(scale).recip() as f32;
        *self = Self { scale, inverse, growth_tracker, hysteresis, ..*self };
    }

    /// Applies the rule, and counts.
    pub(crate) fn apply(&mut self, rule: &Rule, found: bool) -> Change {
        let (numbers, change) = rule.next(self.numbers(), found);
        self.set(numbers);
        self.updates += 1;
        self.skipped += u64::from(found);
        self.grew += u64::from(change == Change::Grew);
        self.backed_off += u64::from(change == Change::BackedOff);
        self.at_floor += u64::from(change == Change::AtFloor);
        change
    }
}
