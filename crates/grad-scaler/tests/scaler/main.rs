//! The scaler itself: outcomes, misuse, what peers lack, saved states, failures of the device.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(unsafe_code, reason = "names a driver library, and lists tensors by their addresses")]

mod bench;
mod extras;
mod failures;
mod misuse;
mod outcomes;
mod saved;
mod several;
