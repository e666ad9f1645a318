//! [`Casts`]: a list of tensors, converted in a few launches.

use std::fmt;

use bytemuck::Zeroable;
use freeboard_buffer::{View, ViewMut};
use freeboard_device::{Compute, Grid};
use freeboard_units::StreamId;

use super::Rounding;
use crate::fused::size_of_tag;
use crate::kernels::list::{CHUNK, THREADS, narrow, pieces, tagged};
use crate::kernels::optimizers::{ADD, CAST, CASTS, Cast, CastList, Place, STOCHASTIC};
use crate::{Float, FusedError, Half, kernels};

/// A list of conversions between f32 and f16 or bf16, borrowed until it is [`run`](Self::run).
///
/// The order counts: random bits are by it.
pub struct Casts<'a, D: Compute> {
    /// Where the tensors are.
    place: Option<(&'a D, StreamId)>,
    list: Vec<Item>,
}

struct Item {
    from: u64,
    to: u64,
    len: u64,
    /// [`ADD`] or nothing.
    flags: u32,
}

impl<'a, D: Compute> Casts<'a, D> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { place: None, list: Vec::new() }
    }

    /// Rounds `from` to `to`.
    ///
    /// # Errors
    /// When they differ in length, or in device or stream from what is in the list; when the device
    /// fails.
    pub fn down<T: Half>(
        &mut self,
        name: &str,
        from: View<'a, f32, D>,
        to: ViewMut<'a, T, D>,
    ) -> Result<(), FusedError> {
        self.push(name, from, to, 0)
    }

    /// Adds `update` to `parameter`: the sum is made in f32, and rounded. With
    /// [`Rounding::Stochastic`], updates that are less than half a unit in the last place of the
    /// parameter count as well, which makes masters unnecessary.
    ///
    /// # Errors
    /// As [`down`](Self::down).
    pub fn add<T: Half>(
        &mut self,
        name: &str,
        update: View<'a, f32, D>,
        parameter: ViewMut<'a, T, D>,
    ) -> Result<(), FusedError> {
        self.push(name, update, parameter, ADD)
    }

    /// Sets `to` to `from`, exactly.
    ///
    /// # Errors
    /// As [`down`](Self::down).
    pub fn up<T: Half>(
        &mut self,
        name: &str,
        from: View<'a, T, D>,
        to: ViewMut<'a, f32, D>,
    ) -> Result<(), FusedError> {
        self.push(name, from, to, 0)
    }

    fn push<F: Float, T: Float>(
        &mut self,
        name: &str,
        from: View<'a, F, D>,
        mut to: ViewMut<'a, T, D>,
        flags: u32,
    ) -> Result<(), FusedError> {
        let tensor = || name.to_owned();
        if from.len() != to.len() {
            let (len, expected) = (from.len(), to.len());
            return Err(FusedError::Length { tensor: tensor(), what: "source", len, expected });
        }
        let (place, expected) = self.place.unwrap_or((from.device(), from.stream()));
        let ends = [
            ("source", from.device().id(), from.stream()),
            ("destination", to.view().device().id(), to.stream()),
        ];
        for (what, device, stream) in ends {
            if device != place.id() {
                let expected = place.id();
                return Err(FusedError::WrongDevice { tensor: tensor(), what, device, expected });
            }
            if stream != expected {
                return Err(FusedError::WrongStream { tensor: tensor(), what, stream, expected });
            }
        }
        let len = from.len() as u64;
        let from = tagged(from.for_kernel()?, F::DTYPE);
        let to = tagged(to.for_kernel()?, T::DTYPE);
        self.place = Some((place, expected));
        self.list.push(Item { from, to, len, flags });
        Ok(())
    }

    /// Puts all of it on the stream of the tensors. `step` makes the random bits of one call differ
    /// from those of another; without [`Rounding::Stochastic`] it does nothing.
    ///
    /// # Errors
    /// When the device fails; then it may be done in part. Doing it again is harmless, except for
    /// [`add`](Self::add).
    pub fn run(self, rounding: Rounding, step: u64) -> Result<(), FusedError> {
        let Some((device, stream)) = self.place else { return Ok(()) };
        let (seed, stochastic) = match rounding {
            Rounding::Nearest => (0, 0),
            Rounding::Stochastic { seed } => (seed, STOCHASTIC),
        };
        let mut list = Box::new(CastList { seed, step, ..CastList::zeroed() });
        let mut blocks = 0;
        let launch = |list: &mut CastList, blocks: &mut u32| {
            if list.count == 0 {
                return Ok(());
            }
            let grid = Grid { blocks: *blocks, threads: THREADS };
            // SAFETY: the parameter is this kernel's. The tensors are borrowed for as long as this
            // list is, those that are written exclusively; their memory is given to nobody else
            // before this stream is past its work (see `freeboard_buffer`).
            let launched = unsafe { kernels::launch(device, &CAST, grid, list, stream) };
            (list.count, *blocks) = (0, 0);
            launched
        };
        for (number, item) in self.list.iter().enumerate() {
            let flags = item.flags | stochastic;
            if flags != list.flags {
                launch(&mut list, &mut blocks)?;
                list.flags = flags;
            }
            for (piece, (done, len)) in (0..).zip(pieces(item.len)) {
                let tensor = narrow(number as u64);
                list.entries[list.count as usize] = Cast {
                    from: item.from + done * size_of_tag(item.from),
                    to: item.to + done * size_of_tag(item.to),
                    place: Place { len, first_block: blocks, tensor, piece },
                };
                blocks += len.div_ceil(CHUNK);
                list.count += 1;
                if list.count as usize == CASTS {
                    launch(&mut list, &mut blocks)?;
                }
            }
        }
        Ok(launch(&mut list, &mut blocks)?)
    }
}

impl<D: Compute> Default for Casts<'_, D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Compute> fmt::Debug for Casts<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Casts").field("tensors", &self.list.len()).finish_non_exhaustive()
    }
}
