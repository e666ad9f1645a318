//! [`Movable`]: a value whose buffers can go to the host and come back.

use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;

use freeboard_buffer::{
    BufferError, DeviceBuffer, Element, InFlight, Pinned, PinnedAllocator, Refused,
};
use freeboard_device::Transfer;
use freeboard_units::{Bytes, StreamId};

use crate::lent::Lent;

/// A value that owns device buffers. While it is on the host, they are empty; everything else of it
/// stays as it is.
///
/// ```
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_offload::{Buffers, BuffersMut, Movable};
///
/// struct Saved {
///     normalised: DeviceBuffer<f32, HostDevice>,
///     mask: DeviceBuffer<u8, HostDevice>,
///     shape: [usize; 2],
/// }
///
/// impl Movable<HostDevice> for Saved {
///     fn buffers<'a>(&'a self, list: &mut Buffers<'a, HostDevice>) {
///         list.push("normalised", &self.normalised);
///         list.push("mask", &self.mask);
///     }
///
///     fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, HostDevice>) {
///         list.push("normalised", &mut self.normalised);
///         list.push("mask", &mut self.mask);
///     }
/// }
/// ```
pub trait Movable<D: Transfer + 'static> {
    /// Lists the buffers: the same ones, in the same order, every time.
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>);

    /// Lists the same buffers in the same order, to be emptied and filled.
    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>);
}

impl<T: Element, D: Transfer + 'static> Movable<D> for DeviceBuffer<T, D> {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>) {
        list.push("buffer", self);
    }

    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>) {
        list.push("buffer", self);
    }
}

impl<V: Movable<D>, D: Transfer + 'static> Movable<D> for Vec<V> {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>) {
        for value in self {
            value.buffers(list);
        }
    }

    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>) {
        for value in self {
            value.buffers_mut(list);
        }
    }
}

impl<V: Movable<D>, D: Transfer + 'static> Movable<D> for Option<V> {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>) {
        if let Some(value) = self {
            value.buffers(list);
        }
    }

    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>) {
        if let Some(value) = self {
            value.buffers_mut(list);
        }
    }
}

impl<V: Movable<D> + ?Sized, D: Transfer + 'static> Movable<D> for Box<V> {
    fn buffers<'a>(&'a self, list: &mut Buffers<'a, D>) {
        (**self).buffers(list);
    }

    fn buffers_mut<'a>(&'a mut self, list: &mut BuffersMut<'a, D>) {
        (**self).buffers_mut(list);
    }
}

/// The buffers of a value, borrowed.
pub struct Buffers<'a, D: Transfer> {
    pub(crate) list: Vec<(&'a str, &'a dyn Place<D>)>,
}

/// The buffers of a value, borrowed to be changed.
pub struct BuffersMut<'a, D: Transfer> {
    pub(crate) list: Vec<(&'a str, &'a mut dyn Place<D>)>,
}

impl<'a, D: Transfer + 'static> Buffers<'a, D> {
    /// What a value lists.
    pub(crate) fn of(value: &'a (impl Movable<D> + ?Sized)) -> Self {
        let mut buffers = Self { list: Vec::new() };
        value.buffers(&mut buffers);
        buffers
    }

    /// Adds a buffer. Errors call it by this name.
    pub fn push<T: Element>(&mut self, name: &'a str, buffer: &'a DeviceBuffer<T, D>) {
        self.list.push((name, buffer));
    }
}

impl<'a, D: Transfer + 'static> BuffersMut<'a, D> {
    /// What a value lists.
    pub(crate) fn of(value: &'a mut (impl Movable<D> + ?Sized)) -> Self {
        let mut buffers = Self { list: Vec::new() };
        value.buffers_mut(&mut buffers);
        buffers
    }

    /// Adds a buffer. Errors call it by this name.
    pub fn push<T: Element>(&mut self, name: &'a str, buffer: &'a mut DeviceBuffer<T, D>) {
        self.list.push((name, buffer));
    }
}

impl<D: Transfer> fmt::Debug for Buffers<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|(name, _)| name)).finish()
    }
}

impl<D: Transfer> fmt::Debug for BuffersMut<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|(name, _)| name)).finish()
    }
}

/// A buffer of a value, whatever its elements are.
pub(crate) trait Place<D: Transfer + 'static> {
    fn len(&self) -> usize;
    fn size(&self) -> Bytes;
    fn home(&self) -> StreamId;
    /// Begins to copy it to the host. It may be read meanwhile, and dropped.
    fn copy_out(
        &self,
        host: &PinnedAllocator<D>,
        stream: StreamId,
    ) -> Result<InFlight<u8, D>, BufferError>;
    /// Gives its memory back; it is empty from now on, at home where it was.
    fn vacate(&mut self) -> Result<(), BufferError>;
    /// Device memory for its former elements.
    fn make_room(&self, len: usize, stream: StreamId) -> Result<Box<dyn Room<D>>, BufferError>;
    /// Whether that is what was made here.
    fn fits(&self, room: &dyn Room<D>) -> bool;
    /// Puts the elements back.
    fn refill(&mut self, room: Box<dyn Room<D>>);
}

/// Device memory that a copy from the host goes to.
pub(crate) trait Room<D: Transfer>: Any {
    fn copy_in(&mut self, from: Pinned<u8, D>) -> Result<InFlight<u8, D>, Refused<u8, D>>;
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Element, D: Transfer + 'static> Place<D> for DeviceBuffer<T, D> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn size(&self) -> Bytes {
        Self::size(self)
    }

    fn home(&self) -> StreamId {
        Self::stream(self)
    }

    fn copy_out(
        &self,
        host: &PinnedAllocator<D>,
        stream: StreamId,
    ) -> Result<InFlight<u8, D>, BufferError> {
        let bytes = self.cast::<u8>()?;
        let into = host.allocate::<u8>(bytes.len())?;
        // Dropped, the guard would make home wait for the copy now. Leaked, it makes whoever writes
        // the buffer wait, and whoever gets its memory.
        let lent = ManuallyDrop::new(bytes.on(stream)?);
        lent.download(into).map_err(|refused| {
            drop(ManuallyDrop::into_inner(lent));
            refused.into()
        })
    }

    fn vacate(&mut self) -> Result<(), BufferError> {
        *self = Self::uninit(self.allocator(), 0, self.stream())?;
        Ok(())
    }

    fn make_room(&self, len: usize, stream: StreamId) -> Result<Box<dyn Room<D>>, BufferError> {
        let buffer = Self::uninit(self.allocator(), len, Self::stream(self))?;
        Ok(Box::new(Lent::new(buffer, stream)?))
    }

    fn fits(&self, room: &dyn Room<D>) -> bool {
        room.as_any().is::<Lent<T, D>>()
    }

    fn refill(&mut self, room: Box<dyn Room<D>>) {
        if let Ok(lent) = room.into_any().downcast::<Lent<T, D>>() {
            *self = lent.into_buffer();
        }
    }
}

impl<T: Element, D: Transfer + 'static> Room<D> for Lent<T, D> {
    fn copy_in(&mut self, from: Pinned<u8, D>) -> Result<InFlight<u8, D>, Refused<u8, D>> {
        match self.guard().cast_mut::<u8>() {
            Ok(mut bytes) => bytes.upload(from),
            Err(error) => Err(Refused { error: Box::new(error), pinned: from }),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
