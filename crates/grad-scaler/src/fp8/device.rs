//! [`Fp8Scaling`]: scales and histories on a device, which the host never waits for.

use std::fmt;
use std::sync::Arc;

use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{DeviceBuffer, Element, View, ViewMut};
use freeboard_device::{Compute, Grid};
use freeboard_units::{Dtype, StreamId};

use super::meta::{check_index, check_type};
use super::slices::same_length;
use super::{Direction, Fp8, Fp8Error, Fp8Meta, Fp8Recipe, Wide};
use crate::kernels::launch;
use crate::kernels::list::number_of;
use crate::kernels::range::{Cast, DEQUANTIZE, QUANTIZE, UPDATE, UpdateFp8, blocks, grid};

/// Scales of the tensors of one direction and their histories, in a device's memory: an
/// [`Fp8Meta`] there. No method waits, except [`meta`](Self::meta).
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_grad_scaler::fp8::{Direction, Fp8E4M3, Fp8Meta, Fp8Recipe, Fp8Scaling};
/// use freeboard_units::{Bytes, StreamId};
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let stream = StreamId::DEFAULT;
///
/// let start = Fp8Meta::new(Fp8Recipe::default(), Direction::Forward, 2)?;
/// let mut scaling = Fp8Scaling::new(&allocator, &start, stream)?;
/// let weights = DeviceBuffer::from_slice(&allocator, &[0.5_f32, -3.5], stream)?;
/// let mut narrow = DeviceBuffer::<Fp8E4M3, _>::uninit(&allocator, 2, stream)?;
/// scaling.quantize(1, weights.view(), narrow.view_mut())?;
/// scaling.update()?;
/// assert_eq!(scaling.meta()?.scales(), [1.0, 128.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Fp8Scaling<D: Compute> {
    recipe: Fp8Recipe,
    direction: Direction,
    tensors: usize,
    /// The scales, their inverses, the rows of the history.
    numbers: DeviceBuffer<f32, D>,
}

impl<D: Compute> fmt::Debug for Fp8Scaling<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipe, direction, tensors, numbers } = self;
        write!(f, "{tensors} tensors, {direction:?}, by {recipe:?}, in {numbers:?}")
    }
}

/// The threads of a block that updates; small, so that the tensors spread over the GPU.
const UPDATE_THREADS: u32 = 32;

impl<D: Compute> Fp8Scaling<D> {
    /// Copies scales and histories to a device, for use on `stream`. Waits until they are there.
    ///
    /// # Errors
    /// When there is no memory for them, or the device fails.
    pub fn new(
        allocator: &Arc<CachingAllocator<D>>,
        meta: &Fp8Meta,
        stream: StreamId,
    ) -> Result<Self, Fp8Error> {
        let numbers = [&meta.scale[..], &meta.scale_inv, &meta.history].concat();
        Ok(Self {
            recipe: meta.recipe,
            direction: meta.direction,
            tensors: meta.scale.len(),
            numbers: DeviceBuffer::from_slice(allocator, &numbers, stream)?,
        })
    }

    /// The scales and histories as they are after all work that was put on the stream. Waits for it.
    ///
    /// # Errors
    /// When the device fails, or the stream is being captured.
    pub fn meta(&self) -> Result<Fp8Meta, Fp8Error> {
        let mut scale = self.numbers.to_vec()?;
        let history = scale.split_off(2 * self.tensors);
        let scale_inv = scale.split_off(self.tensors);
        let (recipe, direction) = (self.recipe, self.direction);
        Ok(Fp8Meta { recipe, direction, scale, scale_inv, history })
    }

    /// The type that tensors are cast to.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.recipe.dtype(self.direction)
    }

    /// The stream that work is put on.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.numbers.stream()
    }

    /// The scales, an element for each tensor.
    ///
    /// # Errors
    /// None.
    pub fn scales(&self) -> Result<View<'_, f32, D>, Fp8Error> {
        Ok(self.numbers.slice(..self.tensors)?)
    }

    /// One over the scales: what a cast tensor is to be multiplied by. A copy of it belongs to a
    /// tensor that outlives the next update.
    ///
    /// # Errors
    /// None.
    pub fn scale_invs(&self) -> Result<View<'_, f32, D>, Fp8Error> {
        Ok(self.numbers.slice(self.tensors..2 * self.tensors)?)
    }

    /// Casts a tensor by its scale, saturating, and notes its largest magnitude, in one pass.
    ///
    /// # Errors
    /// When there is no such tensor, it is of the other FP8 type, the lengths differ, a view is on
    /// another stream or device, or the device fails.
    pub fn quantize<T: Wide, F: Fp8>(
        &mut self,
        index: usize,
        input: View<'_, T, D>,
        mut output: ViewMut<'_, F, D>,
    ) -> Result<(), Fp8Error> {
        self.check::<F>(index)?;
        self.check_place(input)?;
        self.check_place(output.view())?;
        same_length(input.len(), output.len())?;
        if input.is_empty() {
            return Ok(());
        }
        let amax = 2 * self.tensors + index;
        let cast = Cast {
            input: input.for_kernel()?.get(),
            output: output.for_kernel()?.get(),
            scale: self.numbers.slice(index..=index)?.for_kernel()?.get(),
            amax: self.numbers.slice_mut(amax..=amax)?.for_kernel()?.get(),
            len: input.len() as u64,
            ..types::<T, F>()
        };
        let grid = grid(blocks(cast.len))?;
        // SAFETY: input and output are borrowed, of one length and on our stream, on which they are
        // also given back; scale and amax are ours.
        unsafe { launch(self.device(), &QUANTIZE, grid, &cast, self.stream())? };
        Ok(())
    }

    /// Casts a tensor back by the inverse of its scale, which must be the one of the cast: nothing
    /// was updated in between. Later, use [`dequantize_by`](Self::dequantize_by) with a copy.
    ///
    /// # Errors
    /// As [`quantize`](Self::quantize).
    pub fn dequantize<F: Fp8, T: Wide>(
        &self,
        index: usize,
        input: View<'_, F, D>,
        output: ViewMut<'_, T, D>,
    ) -> Result<(), Fp8Error> {
        self.check::<F>(index)?;
        let place = self.tensors + index;
        self.dequantize_by(self.numbers.slice(place..=place)?, input, output)
    }

    /// Casts a tensor back by an inverse scale that was kept.
    ///
    /// # Errors
    /// When `scale_inv` is not one element, the lengths differ, a view is on another stream or
    /// device, or the device fails.
    pub fn dequantize_by<F: Fp8, T: Wide>(
        &self,
        scale_inv: View<'_, f32, D>,
        input: View<'_, F, D>,
        mut output: ViewMut<'_, T, D>,
    ) -> Result<(), Fp8Error> {
        self.check_place(scale_inv)?;
        self.check_place(input)?;
        self.check_place(output.view())?;
        same_length(scale_inv.len(), 1)?;
        same_length(input.len(), output.len())?;
        if input.is_empty() {
            return Ok(());
        }
        let cast = Cast {
            input: input.for_kernel()?.get(),
            output: output.for_kernel()?.get(),
            scale: scale_inv.for_kernel()?.get(),
            len: input.len() as u64,
            ..types::<T, F>()
        };
        let grid = grid(blocks(cast.len))?;
        // SAFETY: the views are borrowed, of one length and on our stream, on which they are also
        // given back.
        unsafe { launch(self.device(), &DEQUANTIZE, grid, &cast, self.stream())? };
        Ok(())
    }

    /// Moves the histories on and sets the scales for what comes next, all tensors in one launch:
    /// once for each step.
    ///
    /// # Errors
    /// When the device fails.
    #[expect(clippy::cast_possible_truncation, reason = "an Fp8Meta has at most 2^20 of both")]
    pub fn update(&mut self) -> Result<(), Fp8Error> {
        let (tensors, stream) = (self.tensors, self.stream());
        let start = self.numbers.view_mut().for_kernel()?.get();
        let size = size_of::<f32>() as u64;
        let update = UpdateFp8 {
            scale: start,
            scale_inv: start + tensors as u64 * size,
            history: start + 2 * tensors as u64 * size,
            tensors: tensors as u32,
            rows: self.recipe.amax_history_len as u32,
            rule: self.recipe.rule(self.direction),
        };
        let grid =
            Grid { blocks: update.tensors.div_ceil(UPDATE_THREADS), threads: UPDATE_THREADS };
        // SAFETY: the numbers are ours, as many as these.
        unsafe { launch(self.device(), &UPDATE, grid, &update, stream)? };
        Ok(())
    }

    /// [`update`](Self::update), after the newest magnitudes were made the largest of a group of
    /// processes: `reduce` gets them, an element for each tensor, and puts its work on their stream.
    ///
    /// # Errors
    /// As `reduce` says, or when the device fails.
    pub fn update_reduced<E: From<Fp8Error>>(
        &mut self,
        reduce: impl FnOnce(ViewMut<'_, f32, D>) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = 2 * self.tensors;
        let newest = self.numbers.slice_mut(first..first + self.tensors);
        reduce(newest.map_err(Fp8Error::from)?)?;
        Ok(self.update()?)
    }

    fn device(&self) -> &D {
        self.numbers.allocator().device()
    }

    fn check<F: Fp8>(&self, index: usize) -> Result<(), Fp8Error> {
        check_index(index, self.tensors)?;
        check_type::<F>(self.dtype())
    }

    fn check_place<T: Element>(&self, view: View<'_, T, D>) -> Result<(), Fp8Error> {
        let (device, expected) = (view.device().id(), self.device().id());
        if device != expected {
            return Err(Fp8Error::OtherDevice { device, expected });
        }
        let (stream, expected) = (view.stream(), self.stream());
        if stream != expected {
            return Err(Fp8Error::OtherStream { stream, expected });
        }
        Ok(())
    }
}

/// A cast of these types, and of nothing.
fn types<T: Wide, F: Fp8>() -> Cast {
    let wide = number_of(T::DTYPE).unwrap_or_default();
    let fp8 = u32::from(F::DTYPE == Dtype::F8E5M2);
    Cast { input: 0, output: 0, scale: 0, amax: 0, len: 0, wide, fp8 }
}
