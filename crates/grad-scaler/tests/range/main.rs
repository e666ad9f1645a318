//! Dynamic range: against rounding by definition, and devices against the host.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(clippy::float_cmp, reason = "all numbers here are exact")]
#![allow(clippy::cast_possible_truncation, reason = "codes are bytes, and numbers are made short")]

mod device;
mod host;
#[path = "../fp8/nearest.rs"]
mod nearest;
mod report;
