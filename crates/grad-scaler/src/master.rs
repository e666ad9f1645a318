//! [`MasterWeights`]: f32 copies of the parameters that a model computes with in f16 or bf16.

mod casts;

use std::fmt;

use freeboard_buffer::DeviceBuffer;
use freeboard_device::Compute;

pub use casts::Casts;

use crate::optimizer::new_scaler;
use crate::{FusedError, Half};

/// How an f32 becomes an f16 or a bf16. A NaN becomes one NaN, infinities stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties to even.
    #[default]
    Nearest,
    /// To one of the two neighbours, the nearer one more often, so that the mean is the number: small
    /// updates are not lost. A number that is exact stays. Past the largest finite number there is no
    /// neighbour: what [`Nearest`](Self::Nearest) makes finite becomes that number, the rest infinite.
    ///
    /// The chance is exact for bf16 and for f16 in its normal range; below, it is right to 2^-32. Bits
    /// come from Philox4x32-10: its key is the seed, its counter the number of four elements (two
    /// words), the number of the tensor in its list, and the step (its lower 32 bits); the four words
    /// that it makes are for these four elements. So every device makes the same.
    Stochastic {
        /// Where the random bits start.
        seed: u64,
    },
}

/// f32 masters of f16 or bf16 parameters, for an optimizer of one's own: it updates the masters, and
/// [`cast_down`](Self::cast_down) brings them to the model.
///
/// ```
/// use std::sync::Arc;
/// use freeboard_allocator::{CachingAllocator, Config};
/// use freeboard_buffer::DeviceBuffer;
/// use freeboard_device_host::HostDevice;
/// use freeboard_grad_scaler::{MasterWeights, Rounding};
/// use freeboard_units::{Bytes, StreamId};
/// use half::bf16;
///
/// let device = HostDevice::new(Bytes::mib(64))?;
/// let allocator = Arc::new(CachingAllocator::new(device, Config::default())?);
/// let model = DeviceBuffer::filled(&allocator, 3, bf16::ONE, StreamId::DEFAULT)?;
///
/// let mut weights = MasterWeights::new(Rounding::Nearest);
/// let id = weights.add("weight", model)?;
/// weights.master_mut(id)?.copy_from_slice(&[1.001, 1.1, -2.0])?; // the optimizer's step
/// weights.cast_down()?;
/// let model = weights.model(id)?.to_vec()?;
/// assert_eq!(model.map_to_f32(), [1.0, 1.1015625, -2.0]);
/// # trait Map { fn map_to_f32(&self) -> Vec<f32>; }
/// # impl Map for Vec<bf16> {
/// #     fn map_to_f32(&self) -> Vec<f32> { self.iter().map(|number| number.to_f32()).collect() }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MasterWeights<T: Half, D: Compute> {
    id: u32,
    pairs: Vec<Pair<T, D>>,
    rounding: Rounding,
    /// The casts down so far, for random bits.
    casts: u64,
}

struct Pair<T: Half, D: Compute> {
    name: String,
    master: DeviceBuffer<f32, D>,
    model: DeviceBuffer<T, D>,
}

/// A parameter of [`MasterWeights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MasterId {
    owner: u32,
    number: usize,
}

impl<T: Half, D: Compute> MasterWeights<T, D> {
    /// No parameters yet.
    #[must_use]
    pub fn new(rounding: Rounding) -> Self {
        Self { id: new_scaler(), pairs: Vec::new(), rounding, casts: 0 }
    }

    /// Adds a parameter, and makes its master. All are on one device and stream.
    ///
    /// # Errors
    /// When it is on another device or stream than the others, there is no memory, or the device
    /// fails.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        model: DeviceBuffer<T, D>,
    ) -> Result<MasterId, FusedError> {
        let mut master = DeviceBuffer::uninit(model.allocator(), model.len(), model.stream())?;
        let name = name.into();
        let mut casts = Casts::new();
        if let Some(Pair { name, master, model }) = self.pairs.first_mut() {
            casts.up(name, model.slice(..0)?, master.slice_mut(..0)?)?; // where the others are
        }
        casts.up(&name, model.view(), master.view_mut())?;
        casts.run(Rounding::Nearest, 0)?;
        self.pairs.push(Pair { name, master, model });
        Ok(MasterId { owner: self.id, number: self.pairs.len() - 1 })
    }

    /// Rounds all masters to the model's parameters. Does not wait.
    ///
    /// # Errors
    /// When the device fails; then it may be done in part, and again with the same random bits.
    pub fn cast_down(&mut self) -> Result<(), FusedError> {
        let mut casts = Casts::new();
        for Pair { name, master, model } in &mut self.pairs {
            casts.down(name, master.view(), model.view_mut())?;
        }
        casts.run(self.rounding, self.casts)?;
        self.casts += 1;
        Ok(())
    }

    /// Sets all masters to the model's parameters, exactly. Does not wait.
    ///
    /// # Errors
    /// When the device fails; then it may be done in part.
    pub fn cast_up(&mut self) -> Result<(), FusedError> {
        let mut casts = Casts::new();
        for Pair { name, master, model } in &mut self.pairs {
            casts.up(name, model.view(), master.view_mut())?;
        }
        casts.run(Rounding::Nearest, 0)
    }

    /// How often the masters were cast down.
    #[must_use]
    pub const fn casts(&self) -> u64 {
        self.casts
    }

    /// Sets how often the masters were cast down, so that random bits go on where another run was.
    pub const fn set_casts(&mut self, casts: u64) {
        self.casts = casts;
    }

    /// A parameter's master.
    ///
    /// # Errors
    /// When the parameter is not one of these.
    pub fn master(&self, id: MasterId) -> Result<&DeviceBuffer<f32, D>, FusedError> {
        Ok(&self.pairs[self.number(id)?].master)
    }

    /// The same, to write to.
    ///
    /// # Errors
    /// When the parameter is not one of these.
    pub fn master_mut(&mut self, id: MasterId) -> Result<&mut DeviceBuffer<f32, D>, FusedError> {
        let number = self.number(id)?;
        Ok(&mut self.pairs[number].master)
    }

    /// What the model computes with.
    ///
    /// # Errors
    /// When the parameter is not one of these.
    pub fn model(&self, id: MasterId) -> Result<&DeviceBuffer<T, D>, FusedError> {
        Ok(&self.pairs[self.number(id)?].model)
    }

    /// The same, to write to.
    ///
    /// # Errors
    /// When the parameter is not one of these.
    pub fn model_mut(&mut self, id: MasterId) -> Result<&mut DeviceBuffer<T, D>, FusedError> {
        let number = self.number(id)?;
        Ok(&mut self.pairs[number].model)
    }

    fn number(&self, id: MasterId) -> Result<usize, FusedError> {
        let is_own = id.owner == self.id;
        if is_own { Ok(id.number) } else { Err(FusedError::Unknown { what: "parameter" }) }
    }
}

impl<T: Half, D: Compute> fmt::Debug for MasterWeights<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterWeights")
            .field("parameters", &self.pairs.len())
            .field("dtype", &T::DTYPE)
            .field("rounding", &self.rounding)
            .field("casts", &self.casts)
            .finish_non_exhaustive()
    }
}
