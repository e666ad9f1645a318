//! Names of devices, streams and events: plain numbers that cannot be confused.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $word:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The one with this number.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {}"), self.0)
            }
        }
    };
}

id!(
    /// A device, by its ordinal.
    DeviceId(u32),
    "device"
);
id!(
    /// A queue of work in order: what is put on it earlier happens earlier.
    ///
    /// Number 0 is the default stream. On CUDA this is the driver's stream id, which is not
    /// reused, rather than its handle, which is.
    StreamId(u64),
    "stream"
);
id!(
    /// A mark on a stream that can be asked whether the work before it is done.
    EventId(u64),
    "event"
);

impl StreamId {
    /// The default stream.
    pub const DEFAULT: Self = Self(0);
}
