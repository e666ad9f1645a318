//! [`Ranges`]: tensors on a device, measured there.

use std::fmt;
use std::sync::Arc;

use bytemuck::Zeroable;
use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{DeviceBuffer, View};
use freeboard_device::Compute;
use freeboard_units::{Address, DeviceId, Dtype, StreamId};

use super::host::with_amax;
use super::{RangeError, RangeReport, RangeTarget};
use crate::fp8::Wide;
use crate::kernels::launch;
use crate::kernels::list::{ENTRIES, Entry, pieces, tagged};
use crate::kernels::range::{RANGE, RangeList, Row, blocks, grid};

/// A tensor on a device, with its name for reports.
pub struct DeviceTensor<'a, D: Compute> {
    name: &'a str,
    dtype: Dtype,
    bytes: View<'a, u8, D>,
}

impl<D: Compute> Clone for DeviceTensor<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Compute> Copy for DeviceTensor<'_, D> {}

impl<D: Compute> fmt::Debug for DeviceTensor<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, dtype, bytes } = self;
        write!(f, "{name}: {dtype} in {bytes:?}")
    }
}

impl<'a, D: Compute> DeviceTensor<'a, D> {
    /// A tensor of these numbers.
    ///
    /// # Errors
    /// None for f32, f16 and bf16, which views of them are aligned to.
    pub fn of<T: Wide>(name: &'a str, numbers: View<'a, T, D>) -> Result<Self, RangeError> {
        Ok(Self { name, dtype: T::DTYPE, bytes: numbers.cast()? })
    }

    /// A tensor of numbers whose type is only known at run time.
    ///
    /// # Errors
    /// When the type is none of f32, f16 and bf16 (f64 is measured on the host only), or the bytes
    /// are no whole, aligned numbers of it.
    pub fn from_bytes(
        name: &'a str,
        dtype: Dtype,
        bytes: View<'a, u8, D>,
    ) -> Result<Self, RangeError> {
        let tensor = || name.to_owned();
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let measured = "float32, float16 and bfloat16";
            return Err(RangeError::NotMeasured { tensor: tensor(), dtype, measured });
        }
        let aligned = bytes.address().get().is_multiple_of(dtype.size().get());
        if !aligned || !bytes.size().is_aligned(dtype.size()) {
            return Err(RangeError::Bytes { tensor: tensor(), size: bytes.size(), dtype });
        }
        Ok(Self { name, dtype, bytes })
    }

    fn elements(&self) -> u64 {
        self.bytes.size().get() / self.dtype.size().get()
    }

    /// Its parts, as a kernel takes them.
    fn entries(&self, start: Address) -> impl Iterator<Item = (u64, u64)> + use<D> {
        let (start, size) = (tagged(start, self.dtype), self.dtype.size().get());
        pieces(self.elements()).map(move |(before, len)| (start + before * size, len.into()))
    }
}

/// A measurement on a device's stream. It may not be done yet.
pub struct Ranges<D: Compute> {
    /// Without their counts.
    reports: Vec<(RangeReport, usize)>,
    rows: DeviceBuffer<u64, D>,
}

impl<D: Compute> fmt::Debug for Ranges<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ranges").field("tensors", &self.reports.len()).finish_non_exhaustive()
    }
}

/// The words of a row.
const WORDS: usize = size_of::<Row>() / size_of::<u64>();

impl<D: Compute> Ranges<D> {
    /// Puts a measurement of these tensors on their stream, one launch for each 248 of them, and
    /// returns without waiting.
    ///
    /// # Errors
    /// When there are no tensors, one is on another stream or device, there is no memory for the
    /// counts, or the device fails.
    pub fn start(
        allocator: &Arc<CachingAllocator<D>>,
        tensors: &[DeviceTensor<'_, D>],
        target: RangeTarget,
        stream: StreamId,
    ) -> Result<Self, RangeError> {
        let device = allocator.device();
        let (mut reports, mut parts) = (Vec::new(), Vec::new());
        for tensor in tensors {
            check_place(tensor, device.id(), stream)?;
            let before = parts.len();
            parts.extend(tensor.entries(tensor.bytes.for_kernel()?));
            let report = RangeReport::new(tensor.name, tensor.dtype, target, tensor.elements());
            reports.push((report, parts.len() - before));
        }
        if tensors.is_empty() {
            return Err(RangeError::NoTensors);
        }
        let mut rows = DeviceBuffer::zeroed(allocator, parts.len() * WORDS, stream)?;
        for (number, part) in parts.chunks(ENTRIES).enumerate() {
            let rows = rows.slice_mut(number * ENTRIES * WORDS..)?.for_kernel()?;
            let (list, blocks) = list(part, rows, target);
            // SAFETY: the tensors are borrowed, and given back on this stream if at all; the rows
            // are ours, one for each entry.
            unsafe { launch(device, &RANGE, grid(blocks)?, &list, stream)? };
        }
        Ok(Self { reports, rows })
    }

    /// Waits for the measurement, and tells what was found.
    ///
    /// # Errors
    /// When the device fails, or the stream is being captured.
    pub fn reports(self) -> Result<Vec<RangeReport>, RangeError> {
        let mut words = self.rows.to_vec()?;
        let mut rows = bytemuck::cast_slice_mut::<u64, Row>(&mut words).iter().copied();
        let report = |(report, parts): (RangeReport, usize)| {
            let row = rows.by_ref().take(parts).fold(Row::default(), Row::and);
            report.with(with_amax(row))
        };
        Ok(self.reports.into_iter().map(report).collect())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a part has at most 2^31 elements, so a list at most 2^24 blocks"
)]
fn list(parts: &[(u64, u64)], rows: Address, target: RangeTarget) -> (RangeList, u64) {
    let asked = target.question();
    let [zero, normal, overflow] = asked.limits;
    let mut list = RangeList {
        rows: rows.get(),
        factor: asked.factor,
        count: 0,
        zero,
        normal,
        overflow,
        reserved: 0,
        entries: [Entry::zeroed(); ENTRIES],
    };
    let mut all = 0;
    for (entry, &(start, len)) in list.entries.iter_mut().zip(parts) {
        *entry = Entry { start, len: len as u32, first_block: all as u32 };
        all += blocks(len);
        list.count += 1;
    }
    (list, all)
}

fn check_place<D: Compute>(
    tensor: &DeviceTensor<'_, D>,
    expected_device: DeviceId,
    expected: StreamId,
) -> Result<(), RangeError> {
    let (device, stream) = (tensor.bytes.device().id(), tensor.bytes.stream());
    let name = tensor.name.to_owned();
    if device != expected_device {
        return Err(RangeError::OtherDevice { tensor: name, device, expected: expected_device });
    }
    if stream != expected {
        return Err(RangeError::OtherStream { tensor: name, stream, expected });
    }
    Ok(())
}
