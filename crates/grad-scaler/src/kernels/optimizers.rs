//! [`UpdateList`] and its kin: what the kernels of optimizers and casts are told, and what they keep.
//!
//! `optimizers.cu` has the same structures in C++, and the same arithmetic, so that both make the same
//! bits. Where a product and a sum are rounded once, both say so.

mod advance;
mod cast;
#[cfg(test)]
mod tests;
mod update;
mod way;

use bytemuck::{Pod, Zeroable};
use freeboard_device::{Kernel, Module};

/// The optimizers' own kernels.
pub(crate) static OPTIMIZERS: Module =
    Module { name: "optimizers.ptx", ptx: include_str!("optimizers.ptx") };

pub(crate) static ADVANCE: Kernel =
    Kernel { name: "freeboard_advance", module: &OPTIMIZERS, host: advance::advance };
pub(crate) static ADAM: Kernel =
    Kernel { name: "freeboard_adam", module: &OPTIMIZERS, host: update::adam };
pub(crate) static SGD: Kernel =
    Kernel { name: "freeboard_sgd", module: &OPTIMIZERS, host: update::sgd };
pub(crate) static CAST: Kernel =
    Kernel { name: "freeboard_cast", module: &OPTIMIZERS, host: cast::cast };

/// How many groups of parameters an optimizer has at most.
pub(crate) const GROUPS: usize = 64;
/// How many tensors fit into a launch of an update, and of a cast.
pub(crate) const UPDATES: usize = 72;
pub(crate) const CASTS: usize = 127;
/// Parameters end here before CUDA 12.1.
const LARGEST: usize = 4096;

/// Gradients are negated first.
pub(crate) const MAXIMIZE: u32 = 1;
/// Copies are rounded at random, not to nearest.
pub(crate) const STOCHASTIC: u32 = 2;
/// Weight decay goes into the gradient.
pub(crate) const INTO_GRADIENT: u32 = 4;
pub(crate) const NESTEROV: u32 = 8;
/// A cast adds to what is there.
pub(crate) const ADD: u32 = 16;

/// What a group of parameters has come to, on the device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(crate) struct Progress {
    /// The steps done.
    pub(crate) steps: u64,
    /// Of this step: the learning rate over 1 - beta1^steps.
    pub(crate) step_size: f32,
    /// Of this step: what parameters are multiplied by.
    pub(crate) decay: f32,
    /// Of this step: the root of 1 - beta2^steps.
    pub(crate) root: f32,
    pub(crate) reserved: u32,
}

/// What moves a [`Progress`] on. Betas are 0 where there are none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Group {
    pub(crate) lr: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    /// The decay that is not of the gradient.
    pub(crate) decay: f64,
}

/// The parameter of `freeboard_advance`: one thread counts the step, unless it is not to be done, and
/// computes in f64 what all elements need.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Advance {
    /// The address of an f32 that is 0 if the step is to be done; or 0, if it is in any case.
    pub(crate) found: u64,
    /// The address of the first [`Progress`].
    pub(crate) progress: u64,
    /// How many groups are used.
    pub(crate) count: u64,
    pub(crate) groups: [Group; GROUPS],
}

/// A tensor to be updated, or a piece of one of `LONGEST` elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Update {
    /// The address of the parameter, f32.
    pub(crate) values: u64,
    /// Of the gradient; its type in the two highest bits.
    pub(crate) gradient: u64,
    /// Of the first and the second moment, f32; 0 where there is none.
    pub(crate) first: u64,
    pub(crate) second: u64,
    /// Of a copy in f16 or bf16, its type in the two highest bits; or 0.
    pub(crate) copy: u64,
    pub(crate) place: Place,
}

/// How long an entry is, and which.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Place {
    /// Its elements, not zero.
    pub(crate) len: u32,
    /// How many blocks work on the entries before it.
    pub(crate) first_block: u32,
    /// The number of the tensor and of the piece, for random bits.
    pub(crate) tensor: u32,
    pub(crate) piece: u32,
}

/// The parameter of `freeboard_adam` and `freeboard_sgd`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct UpdateList {
    /// As in [`Advance`].
    pub(crate) found: u64,
    /// The address of an f32 that gradients are multiplied by, and written back; or 0.
    pub(crate) inverse: u64,
    /// The address of the group's [`Progress`].
    pub(crate) progress: u64,
    pub(crate) seed: u64,
    pub(crate) count: u32,
    pub(crate) flags: u32,
    /// Adam: 1 - beta1, beta2, 1 - beta2, epsilon, weight decay. SGD: momentum, 1 - dampening, weight
    /// decay.
    pub(crate) constants: [f32; 6],
    pub(crate) entries: [Update; UPDATES],
}

/// A tensor to be converted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Cast {
    /// Addresses, with types in the two highest bits.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) place: Place,
}

/// The parameter of `freeboard_cast`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct CastList {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    pub(crate) count: u32,
    pub(crate) flags: u32,
    pub(crate) reserved: u64,
    pub(crate) entries: [Cast; CASTS],
}

const _: () = assert!(size_of::<UpdateList>() == LARGEST);
const _: () = assert!(size_of::<CastList>() == LARGEST);
const _: () = assert!(size_of::<Advance>() == 24 + 32 * GROUPS);
const _: () = assert!(size_of::<Progress>() == 24);
