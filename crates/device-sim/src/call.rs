//! [`Call`]: the calls a device answers, under their CUDA names, and how they are counted.

use std::collections::BTreeMap;
use std::fmt;

use freeboard_device::DeviceError;
use freeboard_units::Bytes;

macro_rules! calls {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// A call to the device.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Call {
            $(#[doc = concat!("`", $name, "`: ", $doc)] $variant,)*
        }

        impl Call {
            /// Every call there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name CUDA gives it, such as `cuMemMap`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

calls! {
    Malloc = "cudaMalloc", "a whole allocation.";
    Free = "cudaFree", "gives a whole allocation back.";
    AddressReserve = "cuMemAddressReserve", "a range of addresses.";
    AddressFree = "cuMemAddressFree", "gives a range of addresses back.";
    MemCreate = "cuMemCreate", "physical memory without an address.";
    MemRelease = "cuMemRelease", "gives a handle up.";
    MemMap = "cuMemMap", "puts memory at a range of addresses.";
    MemUnmap = "cuMemUnmap", "takes memory out of a range of addresses.";
    MemSetAccess = "cuMemSetAccess", "lets the device use a mapped range.";
    MemGetInfo = "cudaMemGetInfo", "what is free and what there is.";
    EventCreate = "cudaEventCreate", "a new event.";
    EventDestroy = "cudaEventDestroy", "gives an event up.";
    EventRecord = "cudaEventRecord", "marks the work put on a stream so far.";
    EventQuery = "cudaEventQuery", "whether the marked work is done.";
    EventSynchronize = "cudaEventSynchronize", "waits for the marked work.";
    StreamSynchronize = "cudaStreamSynchronize", "waits for all work on a stream.";
    StreamCreate = "cudaStreamCreate", "a new stream.";
    StreamDestroy = "cudaStreamDestroy", "gives a stream up.";
    StreamWaitEvent = "cudaStreamWaitEvent", "later work on a stream waits for the marked work.";
    StreamIsCapturing = "cudaStreamIsCapturing", "whether a stream's work goes into a graph.";
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why the model does not do as asked; it does not know which call it serves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too little is free for this many bytes.
    OutOfMemory(Bytes),
    /// The caller broke the contract, in this way.
    Invalid(String),
}

impl Refusal {
    pub(crate) fn into_error(self, call: Call) -> DeviceError {
        let call = call.name();
        match self {
            Self::OutOfMemory(size) => DeviceError::OutOfMemory { call, size },
            Self::Invalid(reason) => DeviceError::InvalidCall { call, reason },
        }
    }
}

/// How often each call was made, and how often the two that take memory found too little.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: [u64; Call::ALL.len()],
    malloc_oom: u64,
    create_oom: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, call: Call) {
        self.calls[call as usize] += 1;
    }

    pub(crate) fn count_oom(&mut self, call: Call) {
        match call {
            Call::Malloc => self.malloc_oom += 1,
            Call::MemCreate => self.create_oom += 1,
            _ => {}
        }
    }

    pub(crate) fn of(&self, call: Call) -> u64 {
        self.calls[call as usize]
    }

    /// All calls; the failures for memory are calls too, and are not counted again.
    pub(crate) fn total(&self) -> u64 {
        self.calls.iter().sum()
    }

    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        let calls = Call::ALL.iter().map(|&call| (call.name(), self.of(call)));
        let oom = [("cudaMalloc_oom", self.malloc_oom), ("cuMemCreate_oom", self.create_oom)];
        calls.chain(oom).filter(|&(_, count)| count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_under_their_cuda_names_and_zeros_are_left_out() {
        let mut counters = Counters::default();
        for &call in Call::ALL {
            counters.count(call);
        }
        counters.count(Call::Malloc);
        counters.count_oom(Call::Malloc);
        counters.count_oom(Call::AddressReserve);
        let by_name = counters.by_name();
        assert_eq!(by_name.len(), Call::ALL.len() + 1);
        assert_eq!((by_name["cudaMalloc"], by_name["cudaMalloc_oom"]), (2, 1));
        assert_eq!((by_name["cuMemMap"], by_name["cudaEventQuery"]), (1, 1));
        assert_eq!(counters.total(), Call::ALL.len() as u64 + 1);
        assert_eq!(Counters::default().by_name(), BTreeMap::new());
    }

    #[test]
    fn a_refusal_becomes_an_error_that_names_the_call() {
        let error = Refusal::Invalid("zero bytes".to_owned()).into_error(Call::MemCreate);
        assert_eq!(error.to_string(), "cuMemCreate: refused: zero bytes");
        assert_eq!(Call::MemCreate.to_string(), "cuMemCreate");
    }
}
