//! [`Budget`]: how many bytes a step may take.

use freeboard_allocator::CachingAllocator;
use freeboard_device::{Device, DeviceError, Memory};
use freeboard_units::Bytes;

/// Device memory for activations and their gradients.
///
/// ```
/// use freeboard_budget::Budget;
/// use freeboard_units::Bytes;
///
/// let budget = Budget::bytes(Bytes::gib(20)).minus(Bytes::gib(4)).share(0.5);
/// assert_eq!(budget.get()?, Bytes::gib(8));
/// let nothing = Budget::bytes(Bytes::gib(1)).minus(Bytes::gib(4));
/// assert_eq!(nothing.get().unwrap_err().to_string(),
///     "nothing remains of 1024.00 MiB after 4.00 GiB were set aside: set less aside, or free memory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Budget {
    /// What it began with.
    from: Bytes,
    /// What was taken from it.
    minus: Bytes,
    left: Bytes,
    /// A share that is none.
    bad_share: Option<f64>,
}

/// Why there is no budget.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// It is used up before the step begins.
    #[error(
        "nothing remains of {from} after {minus} were set aside: set less aside, or free memory"
    )]
    Nothing {
        /// What there was.
        from: Bytes,
        /// What was set aside.
        minus: Bytes,
    },
    /// A share that is not a part of the whole.
    #[error("a share of {0}: it must be more than 0 and at most 1")]
    Share(f64),
    /// The device cannot tell what is free.
    #[error("asking the device what is free: {0}")]
    Device(#[from] DeviceError),
}

impl Budget {
    /// So many bytes.
    pub const fn bytes(bytes: Bytes) -> Self {
        Self { from: bytes, minus: Bytes::ZERO, left: bytes, bad_share: None }
    }

    /// What the device has free now. What an allocator keeps is not; see [`free`](Self::free).
    ///
    /// # Errors
    /// When the device cannot tell.
    pub fn device_free(device: &impl Memory) -> Result<Self, BudgetError> {
        Ok(Self::bytes(device.info()?.free))
    }

    /// What an allocator could hand out now: what its device has free, and what it keeps of it without
    /// having handed it out; within its limit, if it has one.
    ///
    /// # Errors
    /// When the device cannot tell what is free.
    pub fn free<D: Device>(allocator: &CachingAllocator<D>) -> Result<Self, BudgetError> {
        let stats = allocator.stats();
        let bytes = |count: i64| Bytes::new(count.max(0).unsigned_abs());
        let reserved = bytes(stats.reserved_bytes.all.current);
        let allocated = bytes(stats.allocated_bytes.all.current);
        let info = allocator.device().info()?;
        let whole = info.free.saturating_add(reserved);
        let limit = allocator.config().memory_fraction.map_or(Bytes::MAX, |part| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a part of the device's memory"
            )]
            let limit = (info.total.as_f64() * part) as u64;
            Bytes::new(limit)
        });
        Ok(Self::bytes(whole.min(limit).saturating_sub(allocated)))
    }

    /// Sets bytes aside: for gradients of parameters, optimizer state, or others.
    pub const fn minus(self, bytes: Bytes) -> Self {
        let (minus, left) = (self.minus.saturating_add(bytes), self.left.saturating_sub(bytes));
        Self { minus, left, ..self }
    }

    /// Takes a part of what is left, more than 0 and at most 1: the rest is for fragmentation.
    pub fn share(self, part: f64) -> Self {
        if !(part > 0.0 && part <= 1.0) {
            return Self { bad_share: self.bad_share.or(Some(part)), ..self };
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a number of bytes"
        )]
        let left = Bytes::new((self.left.as_f64() * part) as u64);
        Self { left: left.min(self.left), ..self }
    }

    /// The bytes that remain.
    ///
    /// # Errors
    /// [`BudgetError::Nothing`] when none do; [`BudgetError::Share`] when one was not a part.
    pub const fn get(&self) -> Result<Bytes, BudgetError> {
        if let Some(part) = self.bad_share {
            return Err(BudgetError::Share(part));
        }
        if self.left.is_zero() {
            return Err(BudgetError::Nothing { from: self.from, minus: self.minus });
        }
        Ok(self.left)
    }
}
