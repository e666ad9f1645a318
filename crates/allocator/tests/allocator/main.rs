//! The allocator from outside: what its users may rely on, shown on the simulated device.
//!
//! `world` plays programs and compares the allocator with a model after every step; the other
//! files each show one idea.

#[cfg(test)]
mod common;
#[cfg(test)]
mod program;
#[cfg(test)]
mod world;

#[cfg(test)]
mod facts;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fragmentation;
#[cfg(test)]
mod handles;
#[cfg(test)]
mod history;
#[cfg(test)]
mod hot_path;
#[cfg(test)]
mod largest;
#[cfg(test)]
mod out_of_memory;
mod planning;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod pools;
#[cfg(test)]
mod random_programs;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod stitching;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod watching;
