//! Buffers on a GPU in cudarc's functions: copies, libraries, kernel arguments.
//!
//! [`DeviceBuffer`], its views and its guards implement cudarc's [`DevicePtr`] and [`DevicePtrMut`],
//! so that every function of cudarc that takes a slice takes them as well, and they can be arguments
//! of kernels.
//!
//! - On the buffer's own stream that costs no driver call.
//! - On a stream that the device knows ([`CudaDevice::stream_of`]), that stream waits for the
//!   buffer's; what is done with the buffer next waits for that stream; and the memory is given to
//!   nobody else before that stream is past it. This holds with cudarc's event tracking off, too.
//! - On any other stream, the call waits for the buffer's stream, and cudarc for the other one.
//!
//! Pass `&mut` to a kernel that writes. A kernel's arguments do not show its stream. Launch on the buffer's own stream, or pass the guard
//! that [`on`](DeviceBuffer::on) or [`on_mut`](DeviceBuffer::on_mut) gives for another one.
//!
//! [`as_cuda_slice`](DeviceBuffer::as_cuda_slice) lends a buffer to code that wants a [`CudaSlice`](cudarc::driver::CudaSlice)
//! and nothing else.

mod lent;

use std::sync::Arc;

use cudarc::driver::{
    CudaStream, DevicePtr, DevicePtrMut, DeviceSlice, LaunchArgs, PushKernelArg, SyncOnDrop, sys,
};
use freeboard_device::Order;
use freeboard_device_cuda::CudaDevice;

use crate::element::Element;
use crate::order::{Access, Span};
use crate::{BufferError, DeviceBuffer, OnStream, OnStreamMut, View, ViewMut};

pub use lent::{Lent, LentMut};

/// Makes a stream of cudarc's wait for the work before, and later work wait for it.
fn lend<'a>(span: Span<'_, CudaDevice>, stream: &'a CudaStream, access: Access) -> SyncOnDrop<'a> {
    let device = span.block.allocator().device();
    if let Some(known) = device.known_stream(stream) {
        match span.lend(known, access) {
            Ok(()) => return SyncOnDrop::Record(None),
            Err(error) => tracing::error!(%error, "a stream of cudarc's is waited for instead"),
        }
    }
    wait_here(span, access);
    SyncOnDrop::sync_stream(stream)
}

/// Waits until nothing before can conflict.
fn wait_here(span: Span<'_, CudaDevice>, access: Access) {
    let device = span.block.allocator().device();
    let waited = span.settle(access).and_then(|()| device.synchronize_stream(span.stream));
    if let Err(error) = waited {
        tracing::error!(%error, "the work before a use by cudarc could not be waited for");
    }
}

/// Makes the span's own stream wait for those that left without a word, before a kernel.
fn settle(span: Span<'_, CudaDevice>, access: Access) {
    if let Err(error) = span.settle(access) {
        tracing::error!(%error, "the work before a kernel could not be waited for");
    }
}

/// The home of a block, as cudarc has it. A home that cudarc did not make is stood in for by the
/// default stream: [`lend`] puts that in order like any other.
fn home(span: Span<'_, CudaDevice>) -> &Arc<CudaStream> {
    span.block.cudarc.get_or_init(|| {
        let device = span.block.allocator().device();
        let own = device.cudarc_stream(span.block.home);
        own.or_else(|_| device.cudarc_stream(freeboard_units::StreamId::DEFAULT))
            .expect("cudarc finds the driver that the device was found with")
    })
}

macro_rules! reads {
    ($name:ident $(< $lifetime:lifetime >)?, $($address:ident).+) => {
        /// `stream` is the buffer's home, or the default stream if cudarc did not make that.
        ///
        /// # Panics
        /// `stream` panics when cudarc does not find the driver, as cudarc itself does.
        impl<$($lifetime,)? T: Element> DeviceSlice<T> for $name<$($lifetime,)? T, CudaDevice> {
            fn len(&self) -> usize {
                self.view().len
            }

            fn stream(&self) -> &Arc<CudaStream> {
                home(self.view().span)
            }
        }

        impl<$($lifetime,)? T: Element> DevicePtr<T> for $name<$($lifetime,)? T, CudaDevice> {
            fn device_ptr<'s>(
                &'s self,
                stream: &'s CudaStream,
            ) -> (sys::CUdeviceptr, SyncOnDrop<'s>) {
                let span = self.view().span;
                (span.address.get(), lend(span, stream, Access::Read))
            }
        }

        // SAFETY: the argument is the number of an address, in memory that lives as long as `'b`.
        unsafe impl<'a, 'b: 'a, $($lifetime: 'b,)? T: Element>
            PushKernelArg<&'b $name<$($lifetime,)? T, CudaDevice>> for LaunchArgs<'a>
        {
            #[inline]
            fn arg(&mut self, of: &'b $name<$($lifetime,)? T, CudaDevice>) -> &mut Self {
                settle(of.view().span, Access::Read);
                let address: &'b u64 = of.$($address).+.as_ref();
                self.arg(address)
            }
        }

        impl<$($lifetime,)? T: Element> $name<$($lifetime,)? T, CudaDevice> {
            /// Lends it as a [`CudaSlice`](cudarc::driver::CudaSlice) on its own stream, which frees nothing.
            ///
            /// # Errors
            /// When cudarc did not make the stream, or the device fails.
            pub fn as_cuda_slice(&self) -> Result<Lent<'_, T>, BufferError> {
                Lent::new(self.view().span, self.view().len, Access::Read)
            }
        }
    };
}

macro_rules! writes {
    ($name:ident $(< $lifetime:lifetime >)?, $($address:ident).+) => {
        impl<$($lifetime,)? T: Element> DevicePtrMut<T> for $name<$($lifetime,)? T, CudaDevice> {
            fn device_ptr_mut<'s>(
                &'s mut self,
                stream: &'s CudaStream,
            ) -> (sys::CUdeviceptr, SyncOnDrop<'s>) {
                let span = self.view().span;
                (span.address.get(), lend(span, stream, Access::Write))
            }
        }

        // SAFETY: the argument is the number of an address, in memory that lives as long as `'b`.
        unsafe impl<'a, 'b: 'a, $($lifetime: 'b,)? T: Element>
            PushKernelArg<&'b mut $name<$($lifetime,)? T, CudaDevice>> for LaunchArgs<'a>
        {
            #[inline]
            fn arg(&mut self, of: &'b mut $name<$($lifetime,)? T, CudaDevice>) -> &mut Self {
                settle(of.view().span, Access::Write);
                let address: &'b u64 = of.$($address).+.as_ref();
                self.arg(address)
            }
        }

        impl<$($lifetime,)? T: Element> $name<$($lifetime,)? T, CudaDevice> {
            /// Lends it as a [`CudaSlice`](cudarc::driver::CudaSlice) on its own stream, to write to; it frees nothing.
            ///
            /// # Errors
            /// When cudarc did not make the stream, or the device fails.
            pub fn as_cuda_slice_mut(&mut self) -> Result<LentMut<'_, T>, BufferError> {
                Lent::new(self.view().span, self.view().len, Access::Write).map(LentMut::new)
            }
        }
    };
}

reads!(DeviceBuffer, block.address);
reads!(View<'v>, span.address);
reads!(ViewMut<'v>, all.span.address);
reads!(OnStream<'v>, entered.from.address);
reads!(OnStreamMut<'v>, entered.from.address);
writes!(DeviceBuffer, block.address);
writes!(ViewMut<'v>, all.span.address);
writes!(OnStreamMut<'v>, entered.from.address);
