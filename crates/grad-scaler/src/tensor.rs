//! [`Tensors`]: a list of tensors of mixed types, on one device or several.

use std::marker::PhantomData;

use freeboard_buffer::{Element, ViewMut};
use freeboard_device::{Compute, DeviceError};
use freeboard_units::{Address, DeviceId, Dtype, StreamId};
use half::{bf16, f16};

use crate::ScalerError;
use crate::kernels::list::tagged;

/// A type of numbers that gradients can have.
pub trait Float: Element {
    /// It, as a value.
    const DTYPE: Dtype;
}

impl Float for f64 {
    const DTYPE: Dtype = Dtype::F64;
}
impl Float for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Float for f16 {
    const DTYPE: Dtype = Dtype::F16;
}
impl Float for bf16 {
    const DTYPE: Dtype = Dtype::BF16;
}

/// Where a tensor's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// On a device; work on it is put on this stream.
    Device(DeviceId, StreamId),
    /// In this process, for devices that see it.
    Process,
}

/// A tensor of a list: what a kernel needs, and a name for reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) home: Home,
    /// Its address, [tagged] with its type.
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) dtype: Dtype,
}

/// How the elements of a tensor lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// One after the other.
    Dense,
    /// Some of them, with their indices beside them.
    Sparse,
}

/// A tensor that another library owns. See [`Tensors::push_raw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawTensor {
    /// The address of the first element.
    pub address: Address,
    /// How many elements there are.
    pub len: u64,
    /// What they are.
    pub dtype: Dtype,
    /// How they lie.
    pub layout: Layout,
    /// The device that they are on.
    pub device: DeviceId,
    /// The stream that work on them is put on.
    pub stream: StreamId,
}

/// A list of tensors, borrowed: the gradients of an optimizer, or the outputs to be scaled.
///
/// Their order counts: what is found in them is reported by it.
#[derive(Debug, Default)]
pub struct Tensors<'a> {
    pub(crate) list: Vec<Tensor<'a>>,
    borrowed: PhantomData<&'a mut ()>,
}

impl<'a> Tensors<'a> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty list with room for so many tensors.
    pub(crate) fn with_room(count: usize) -> Self {
        Self { list: Vec::with_capacity(count), borrowed: PhantomData }
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a buffer or a part of one. It must be on the stream that the scaler uses on its device
    /// (lend it with [`on_mut`](ViewMut::on_mut) if it is not).
    ///
    /// # Errors
    /// When the device fails.
    pub fn push<T: Float, D: Compute>(
        &mut self,
        name: &'a str,
        mut view: ViewMut<'a, T, D>,
    ) -> Result<(), ScalerError> {
        let home = Home::Device(view.view().device().id(), view.stream());
        let (start, len) = (tagged(view.for_kernel()?, T::DTYPE), view.len() as u64);
        self.list.push(Tensor { name, home, start, len, dtype: T::DTYPE });
        Ok(())
    }

    /// Adds memory of this process, for scalers on a [`HostDevice`](freeboard_device_host::HostDevice).
    pub fn push_slice<T: Float>(&mut self, name: &'a str, slice: &'a mut [T]) {
        let address = Address::new(slice.as_mut_ptr().expose_provenance() as u64);
        let (start, len) = (tagged(address, T::DTYPE), slice.len() as u64);
        self.list.push(Tensor { name, home: Home::Process, start, len, dtype: T::DTYPE });
    }

    /// Adds a tensor that another library owns.
    ///
    /// # Safety
    /// Until the stream is past the work that the list is given to, the elements are there, aligned
    /// to their size, and nobody else uses them.
    ///
    /// # Errors
    /// When the tensor is sparse, its elements are no floating-point numbers that can be scaled, or
    /// its address is not aligned to them.
    pub unsafe fn push_raw(&mut self, name: &'a str, raw: RawTensor) -> Result<(), ScalerError> {
        let RawTensor { address, len, dtype, layout, device, stream } = raw;
        if layout == Layout::Sparse {
            return Err(ScalerError::Sparse { tensor: name.to_owned() });
        }
        if !matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ScalerError::NotScalable { tensor: name.to_owned(), dtype });
        }
        if !address.get().is_multiple_of(dtype.size().get()) || address.get() >> 62 != 0 {
            let reason = format!("{name} at {address} is not aligned to its elements, {dtype}");
            return Err(DeviceError::InvalidCall { call: "push_raw", reason }.into());
        }
        let (home, start) = (Home::Device(device, stream), tagged(address, dtype));
        self.list.push(Tensor { name, home, start, len, dtype });
        Ok(())
    }
}
