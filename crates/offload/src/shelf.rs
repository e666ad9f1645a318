//! [`Shelf`]: values on the host that are used one after the other, fetched ahead.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use freeboard_device::Transfer;

use crate::mover::vacate;
use crate::{Away, Leaving, Movable, Mover, OffloadError, Returning, Stuck};

/// Values that live on the host and visit the device one after the other: the layers of a model, or
/// the state of an optimizer.
///
/// While one is used, the next ones are on their way. [`read`](Self::read) leaves them as they are, so
/// that nothing is copied out again; [`update`](Self::update) copies them out.
///
/// ```
/// use std::sync::Arc;
///
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_offload::{Mover, MoverConfig, OffloadError, Shelf};
/// use freeboard_units::{Bytes, StreamId};
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let mover = Arc::new(Mover::new(&allocator, MoverConfig::default())?);
/// let mut layers = Shelf::new(&mover);
/// for number in 0..8_u8 {
///     layers.push(DeviceBuffer::filled(&allocator, 8 << 20, number, StreamId::DEFAULT)?)?;
/// }
/// layers.read(0..8, |number, layer| {
///     assert_eq!(layer.slice(..1)?.to_vec()?, [number as u8]); // a kernel, in earnest
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// assert!(allocator.stats().allocated_bytes.all.peak <= 2 * (8 << 20)); // of 64 MiB
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shelf<V, D: Transfer> {
    mover: Arc<Mover<D>>,
    depth: usize,
    places: Vec<Slot<V, D>>,
}

/// Where a value is.
enum Slot<V, D: Transfer> {
    Away(Away<V, D>),
    Coming(Returning<V, D>),
    Going(V, Leaving<D>),
    Here(V),
    /// Taken out, for as long as a call lasts.
    Taken,
}

impl<V: Movable<D>, D: Transfer + 'static> Shelf<V, D> {
    /// An empty shelf, with two values on the device at most.
    #[must_use]
    pub fn new(mover: &Arc<Mover<D>>) -> Self {
        Self { mover: Arc::clone(mover), depth: 2, places: Vec::new() }
    }

    /// How many values are on the device at once, at most: used, coming and going ones. 2 hide copies
    /// to the device; 3 hide those to the host as well where values are updated; 1 hides nothing.
    ///
    /// # Errors
    /// When it is zero.
    pub const fn set_depth(&mut self, depth: usize) -> Result<(), OffloadError> {
        if depth == 0 {
            let (setting, value, allowed) = ("depth", depth, "1 or more");
            return Err(OffloadError::Setting { setting, value, allowed });
        }
        self.depth = depth;
        Ok(())
    }

    /// Moves a value to the host; waits for that. Returns its index.
    ///
    /// # Errors
    /// When there is no pinned memory, or the device fails. The value comes back.
    pub fn push(&mut self, value: V) -> Result<usize, Stuck<V>> {
        let leaving = match self.mover.depart(&value) {
            Ok(leaving) => leaving,
            Err(error) => return Err(Stuck::new(error, value)),
        };
        self.places.push(Slot::Away(self.mover.release(value, leaving)?));
        Ok(self.places.len() - 1)
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Uses values in this order, which may name one several times. What is done to them on the
    /// device is forgotten.
    ///
    /// # Errors
    /// What `use_it` says, or an [`OffloadError`]. All values are on the host again, and complete,
    /// unless the device itself failed.
    pub fn read<E: From<OffloadError>>(
        &mut self,
        order: impl IntoIterator<Item = usize>,
        mut use_it: impl FnMut(usize, &V) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk(order, false, |index, value| use_it(index, value))
    }

    /// The same, and what is done to the values stays.
    ///
    /// # Errors
    /// As [`read`](Self::read); a value that `use_it` fails for is moved as that left it.
    pub fn update<E: From<OffloadError>>(
        &mut self,
        order: impl IntoIterator<Item = usize>,
        use_it: impl FnMut(usize, &mut V) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk(order, true, use_it)
    }

    fn walk<E: From<OffloadError>>(
        &mut self,
        order: impl IntoIterator<Item = usize>,
        update: bool,
        mut use_it: impl FnMut(usize, &mut V) -> Result<(), E>,
    ) -> Result<(), E> {
        let order: Vec<usize> = order.into_iter().collect();
        let len = self.places.len();
        if let Some(&index) = order.iter().find(|&&index| index >= len) {
            return Err(OffloadError::NoValue { index, len }.into());
        }
        let mut going = VecDeque::new();
        let outcome = order.iter().enumerate().try_for_each(|(at, &index)| {
            self.make_way(index, &order[at + 1..], &mut going)?;
            self.visit(index, update, &mut use_it, &mut going)
        });
        let homeward = (0..len).try_for_each(|index| self.bring_home(index));
        outcome.and_then(|()| Ok(homeward?))
    }

    /// Has a value on its way, and as many of those after it as there is room for.
    fn make_way(
        &mut self,
        index: usize,
        after: &[usize],
        going: &mut VecDeque<usize>,
    ) -> Result<(), OffloadError> {
        let wanted: Vec<usize> = [index].iter().chain(after).copied().take(self.depth).collect();
        for (number, &next) in wanted.iter().enumerate() {
            if matches!(self.places[next], Slot::Coming(_)) {
                continue;
            }
            if !matches!(self.places[next], Slot::Away(_)) {
                if number > 0 {
                    continue; // on its way out; its turn comes
                }
                self.bring_home(next)?;
            }
            going.retain(|&index| !matches!(self.places[index], Slot::Away(_)));
            while self.on_device() >= self.depth
                && let Some(oldest) = going.pop_front()
            {
                self.bring_home(oldest)?;
            }
            if self.on_device() < self.depth {
                self.fetch(next)?;
            }
        }
        Ok(())
    }

    fn on_device(&self) -> usize {
        self.places.iter().filter(|slot| !matches!(slot, Slot::Away(_))).count()
    }

    fn take(&mut self, index: usize) -> Slot<V, D> {
        std::mem::replace(&mut self.places[index], Slot::Taken)
    }

    fn fetch(&mut self, index: usize) -> Result<(), OffloadError> {
        let (slot, outcome) = match self.take(index) {
            Slot::Away(away) => match self.mover.fetch(away) {
                Ok(returning) => (Slot::Coming(returning), Ok(())),
                Err(Stuck { error, state }) => (Slot::Away(state), Err(*error)),
            },
            slot => (slot, Ok(())),
        };
        self.places[index] = slot;
        outcome
    }

    fn visit<E: From<OffloadError>>(
        &mut self,
        index: usize,
        update: bool,
        use_it: &mut impl FnMut(usize, &mut V) -> Result<(), E>,
        going: &mut VecDeque<usize>,
    ) -> Result<(), E> {
        let mut away = match self.take(index) {
            Slot::Coming(returning) => match self.mover.land(returning, true) {
                Ok(away) => away,
                Err(Stuck { error, state }) => {
                    self.places[index] = Slot::Coming(state);
                    return Err((*error).into());
                }
            },
            slot => {
                self.places[index] = slot;
                let buffer = format!("value {index} of the shelf");
                return Err(OffloadError::Lost { buffer }.into());
            }
        };
        let outcome = use_it(index, &mut away.value);
        if update {
            self.places[index] = Slot::Here(away.value); // and what was on the host is no more
            going.push_back(index);
            let sent = self.send(index);
            return outcome.and(sent.map_err(E::from));
        }
        vacate(&mut away.value);
        self.places[index] = Slot::Away(away);
        outcome
    }

    /// Begins to copy a value to the host.
    fn send(&mut self, index: usize) -> Result<(), OffloadError> {
        let (slot, outcome) = match self.take(index) {
            Slot::Here(value) => match self.mover.depart(&value) {
                Ok(leaving) => (Slot::Going(value, leaving), Ok(())),
                Err(error) => (Slot::Here(value), Err(error)),
            },
            slot => (slot, Ok(())),
        };
        self.places[index] = slot;
        outcome
    }

    /// Has a value on the host again, whatever it was about.
    fn bring_home(&mut self, index: usize) -> Result<(), OffloadError> {
        self.send(index)?;
        let (slot, outcome) = match self.take(index) {
            Slot::Going(value, leaving) => match self.mover.release(value, leaving) {
                Ok(away) => (Slot::Away(away), Ok(())),
                Err(Stuck { error, state }) => (Slot::Here(state), Err(*error)),
            },
            Slot::Coming(returning) => match self.mover.land(returning, true) {
                Ok(mut away) => {
                    vacate(&mut away.value);
                    (Slot::Away(away), Ok(()))
                }
                Err(Stuck { error, state }) => (Slot::Coming(state), Err(*error)),
            },
            slot => (slot, Ok(())),
        };
        self.places[index] = slot;
        outcome
    }
}

impl<V, D: Transfer> fmt::Debug for Shelf<V, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("values", &self.places.len())
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}
