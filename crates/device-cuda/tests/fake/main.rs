//! A GPU's device on a driver that is not NVIDIA's: every test loads a copy of its own, with memory
//! of this process behind it.
#![allow(unsafe_code, reason = "copies take bare addresses, and foreign streams bare handles")]

#[cfg(test)]
mod common;
#[cfg(test)]
mod program;

#[cfg(test)]
mod allocator;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod compute;
#[cfg(test)]
mod context;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod nth_call;
#[cfg(test)]
mod order;
#[cfg(test)]
mod share;
#[cfg(test)]
mod survey;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod unavailable;
