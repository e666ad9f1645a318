//! [`FaultPlan`]: calls that fail on demand, to see what the caller makes of it.

use freeboard_device::DeviceError;
use freeboard_units::Bytes;

use crate::Call;

/// What a faulted call answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// That there is too little memory, however much there is.
    OutOfMemory,
    /// That the driver failed.
    Driver {
        /// The driver's number for it, such as 700 for an illegal address.
        code: u32,
        /// The driver's words.
        message: String,
    },
}

/// Which calls fail, and how.
///
/// Calls are counted from one, beginning with the first after [`SimDevice::set_faults`]; a plan for
/// call number zero never comes true. A faulted call changes nothing and is counted as a call. A
/// call that would have been refused anyway and is faulted answers with the fault.
///
/// To try a failure at every point of some work, walk the number up until none is hit:
///
/// ```
/// use freeboard_device::Memory;
/// use freeboard_device_sim::{Fault, FaultPlan, SimDevice};
/// use freeboard_units::Bytes;
///
/// for n in 1.. {
///     let device = SimDevice::new(Bytes::mib(64));
///     device.set_faults(FaultPlan::nth_call(n, Fault::OutOfMemory));
///     if let Ok(address) = device.allocate(Bytes::mib(1)) {
///         if device.free(address).is_err() {
///             device.free(address)?; // it failed once; nothing had changed
///         }
///     }
///     assert!(device.is_empty());
///     if device.faults_hit() == 0 {
///         assert_eq!(n, 3);
///         break;
///     }
/// }
/// # Ok::<(), freeboard_device::DeviceError>(())
/// ```
///
/// [`SimDevice::set_faults`]: crate::SimDevice::set_faults
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    when: When,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Nth(u64),
    NthOf(Call, u64),
    EveryOf(Call),
    EveryOfAny(&'static [Call]),
}

impl FaultPlan {
    /// The `n`-th call of any kind fails, once.
    #[must_use]
    pub const fn nth_call(n: u64, fault: Fault) -> Self {
        Self { when: When::Nth(n), fault }
    }

    /// The `n`-th call of this kind fails, once.
    #[must_use]
    pub const fn nth_call_of(call: Call, n: u64, fault: Fault) -> Self {
        Self { when: When::NthOf(call, n), fault }
    }

    /// Every call of this kind fails from now on.
    #[must_use]
    pub const fn every_call_of(call: Call, fault: Fault) -> Self {
        Self { when: When::EveryOf(call), fault }
    }

    /// Every call of these kinds fails from now on: undoing what failed can fail, too.
    #[must_use]
    pub const fn every_call_of_any(calls: &'static [Call], fault: Fault) -> Self {
        Self { when: When::EveryOfAny(calls), fault }
    }
}

/// The plan in force and how far it got.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: Option<FaultPlan>,
    /// Calls of the planned kind since the plan was set.
    seen: u64,
    hit: u64,
}

impl Faults {
    pub(crate) fn set(&mut self, plan: FaultPlan) {
        *self = Self { plan: Some(plan), seen: 0, hit: 0 };
    }

    /// Ends the plan; what it hit stays known.
    pub(crate) fn clear(&mut self) {
        self.plan = None;
    }

    pub(crate) fn hit(&self) -> u64 {
        self.hit
    }

    /// The error this call shall answer with, if it shall.
    pub(crate) fn next(&mut self, call: Call, size: Bytes) -> Option<DeviceError> {
        let plan = self.plan.as_ref()?;
        let (planned, nth) = match plan.when {
            When::Nth(n) => (true, Some(n)),
            When::NthOf(kind, n) => (kind == call, Some(n)),
            When::EveryOf(kind) => (kind == call, None),
            When::EveryOfAny(kinds) => (kinds.contains(&call), None),
        };
        if !planned {
            return None;
        }
        self.seen += 1;
        if nth.is_some_and(|n| n != self.seen) {
            return None;
        }
        self.hit += 1;
        let call = call.name();
        Some(match &plan.fault {
            Fault::OutOfMemory => DeviceError::OutOfMemory { call, size },
            Fault::Driver { code, message } => {
                DeviceError::Driver { call, code: *code, message: message.clone() }
            }
        })
    }
}

#[cfg(test)]
mod tests;
