//! What the kernels of range tools and FP8 are told; `range.cu` has the same structures in C++.

mod cast;
mod measure;
mod update;

use bytemuck::{Pod, Zeroable};
use freeboard_device::{DeviceError, Grid, Kernel, Module};

use super::list::{CHUNK, ENTRIES, Entry, THREADS};
use super::pointer;
use crate::fp8::recipe::Rule;

static MODULE: Module = Module { name: "range", ptx: include_str!("range.ptx") };

/// Counts what is in a list of tensors.
pub(crate) static RANGE: Kernel =
    Kernel { name: "freeboard_range", module: &MODULE, host: measure::range };
/// Casts a tensor to FP8, saturating, and raises its amax.
pub(crate) static QUANTIZE: Kernel =
    Kernel { name: "freeboard_quantize", module: &MODULE, host: cast::quantize };
/// Casts a tensor back.
pub(crate) static DEQUANTIZE: Kernel =
    Kernel { name: "freeboard_dequantize", module: &MODULE, host: cast::dequantize };
/// Moves histories on and sets scales.
pub(crate) static UPDATE: Kernel =
    Kernel { name: "freeboard_fp8_update", module: &MODULE, host: update::update };

/// The parameter of [`RANGE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct RangeList {
    /// The address of a [`Row`] for each entry.
    pub(crate) rows: u64,
    /// What each number is multiplied by before it is looked at.
    pub(crate) factor: f32,
    /// How many of the entries are used.
    pub(crate) count: u32,
    /// A magnitude up to this becomes zero; this and the next two are bits of an f32.
    pub(crate) zero: u32,
    /// A larger one, but below this, becomes subnormal.
    pub(crate) normal: u32,
    /// One from here on is too large.
    pub(crate) overflow: u32,
    pub(crate) reserved: u32,
    /// None of them f64.
    pub(crate) entries: [Entry; ENTRIES],
}

/// What was counted in an entry; all zeros before.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Row {
    /// The largest finite magnitude, as bits of an f32.
    pub(crate) amax: u32,
    pub(crate) reserved: u32,
    pub(crate) zeros: u64,
    pub(crate) infinities: u64,
    pub(crate) nans: u64,
    pub(crate) underflow: u64,
    pub(crate) subnormal: u64,
    pub(crate) overflow: u64,
}

impl Row {
    /// What was counted in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            amax: self.amax.max(other.amax),
            reserved: 0,
            zeros: self.zeros + other.zeros,
            infinities: self.infinities + other.infinities,
            nans: self.nans + other.nans,
            underflow: self.underflow + other.underflow,
            subnormal: self.subnormal + other.subnormal,
            overflow: self.overflow + other.overflow,
        }
    }
}

/// The parameter of [`QUANTIZE`] and [`DEQUANTIZE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Cast {
    /// The address of the first element to read.
    pub(crate) input: u64,
    /// The address of the first element to write.
    pub(crate) output: u64,
    /// The address of the scale, or of its inverse; an f32.
    pub(crate) scale: u64,
    /// The address of an f32 that is raised to the largest magnitude read; only to FP8.
    pub(crate) amax: u64,
    /// The elements, not zero.
    pub(crate) len: u64,
    /// The wide type: as in an [`Entry`].
    pub(crate) wide: u32,
    /// 0 E4M3, 1 E5M2.
    pub(crate) fp8: u32,
}

/// The parameter of [`UPDATE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct UpdateFp8 {
    /// The address of an f32 for each tensor.
    pub(crate) scale: u64,
    /// The address of an f32 for each tensor.
    pub(crate) scale_inv: u64,
    /// The address of `rows` times an f32 for each tensor.
    pub(crate) history: u64,
    pub(crate) tensors: u32,
    pub(crate) rows: u32,
    pub(crate) rule: Rule,
}

/// The blocks that work on this many elements.
pub(crate) const fn blocks(elements: u64) -> u64 {
    elements.div_ceil(CHUNK as u64)
}

/// A grid of blocks with the usual threads.
pub(crate) fn grid(blocks: u64) -> Result<Grid, DeviceError> {
    let most = i32::MAX.unsigned_abs();
    let blocks = u32::try_from(blocks).ok().filter(|&blocks| blocks <= most).ok_or_else(|| {
        let reason = format!("{blocks} blocks of threads, and a launch has at most {most}");
        DeviceError::InvalidCall { call: "cuLaunchKernel", reason }
    })?;
    Ok(Grid { blocks, threads: THREADS })
}

/// Numbers at an address.
///
/// # Safety
/// They are there, aligned, and nobody writes them for as long as the slice is used.
unsafe fn numbers<'a, T>(address: u64, len: u64) -> &'a [T] {
    let start = pointer::<T>(address).cast_const();
    // SAFETY: the caller promises it.
    unsafe { std::slice::from_raw_parts(start, index(len)) }
}

/// Numbers at an address, to write to.
///
/// # Safety
/// They are there, aligned, and nobody else uses them for as long as the slice is.
unsafe fn numbers_mut<'a, T>(address: u64, len: u64) -> &'a mut [T] {
    let start = pointer(address);
    // SAFETY: the caller promises it.
    unsafe { std::slice::from_raw_parts_mut(start, index(len)) }
}

#[expect(clippy::cast_possible_truncation, reason = "what lies in memory is counted by a usize")]
const fn index(number: u64) -> usize {
    number as usize
}
