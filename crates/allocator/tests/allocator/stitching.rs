//! Stitching, proved from outside: what the simulated device maps and logs is held against models
//! that share no code with the allocator.
//!
//! `watch` knows which work comes before which, and which physical bytes every allocation has;
//! `world` plays programs under its eyes and knows what could have been served.

mod numbers;
mod watch;
mod world;

mod bounds;
mod faults;
mod found;
mod random;
mod refusals;
mod steps;
mod streams;
