//! `freeboard_adam` and `freeboard_sgd` on the host.
#![expect(
    clippy::inline_always,
    reason = "a loop must be compiled for the level it is called from"
)]

use half::{bf16, f16};

use super::super::round::Sealed;
use super::super::{parameter, pointer};
use super::advance::is_found;
use super::cast::{STRIP, narrow, numbers_mut};
use super::way::{self, Chunk};
use super::{INTO_GRADIENT, MAXIMIZE, NESTEROV, Progress, STOCHASTIC, UpdateList};

/// # Safety
/// As for [`Compute::launch`](freeboard_device::Compute::launch): the parameter is an
/// [`UpdateList`], and what it points to is there, aligned, and the caller's.
pub(super) unsafe fn adam(parameter: &[u64]) {
    // SAFETY: passed on.
    unsafe { update::<Adam>(parameter) }
}

/// # Safety
/// As for [`adam`].
pub(super) unsafe fn sgd(parameter: &[u64]) {
    // SAFETY: passed on.
    unsafe { update::<Sgd>(parameter) }
}

/// What a launch does to every element.
struct Task<'list> {
    list: &'list UpdateList,
    progress: Progress,
    /// One over the scale.
    factor: f32,
}

/// Numbers side by side. Moments that the rule does not have are empty.
struct Strip<'a> {
    values: &'a mut [f32],
    gradients: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

trait Rule {
    fn apply(task: &Task<'_>, strip: Strip<'_>);
}

unsafe fn update<R: Rule>(words: &[u64]) {
    let list: &UpdateList = parameter(words);
    // SAFETY: the caller's promise.
    if unsafe { is_found(list.found) } {
        return;
    }
    let factor = if list.inverse == 0 {
        1.0
    } else {
        // SAFETY: the caller's promise.
        unsafe { pointer::<f32>(list.inverse).read() }
    };
    // SAFETY: the caller's promise.
    let progress = unsafe { pointer::<Progress>(list.progress).read() };
    let task = Task { list, progress, factor };
    let run = fastest::<R>();
    // SAFETY: the caller's promise, for each block; this processor can run it.
    let work = |chunk: Chunk| unsafe { run(&task, chunk) };
    way::each(list.count as usize, |number| list.entries[number].place, work);
}

/// The best level that this processor can run. Without instructions for it, a product and a sum that
/// are rounded once take long.
fn fastest<R: Rule>() -> unsafe fn(&Task<'_>, Chunk) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn run<R: Rule>(task: &Task<'_>, chunk: Chunk) {
            // SAFETY: passed on.
            unsafe { update_chunk::<R>(task, chunk) }
        }
        return run::<R>;
    }
    update_chunk::<R>
}

#[inline(always)]
unsafe fn update_chunk<R: Rule>(task: &Task<'_>, chunk: Chunk) {
    let entry = &task.list.entries[chunk.entry];
    // SAFETY: the caller has this block's elements, of this type.
    let values = unsafe { numbers_mut::<f32>(entry.values, &chunk) };
    // SAFETY: the same.
    let first = unsafe { moments(entry.first, &chunk) };
    // SAFETY: the same.
    let second = unsafe { moments(entry.second, &chunk) };
    let mut gradients = [0.0; STRIP];
    for (number, values) in values.chunks_mut(STRIP).enumerate() {
        let at = number * STRIP;
        let part = Chunk { first: chunk.first + at, count: values.len(), ..chunk };
        let gradients = &mut gradients[..values.len()];
        let address = entry.gradient;
        match address >> 62 {
            // SAFETY: the same.
            0 => unscale(unsafe { numbers_mut::<f32>(address, &part) }, gradients, task.factor),
            // SAFETY: the same.
            1 => unscale(unsafe { numbers_mut::<f16>(address, &part) }, gradients, task.factor),
            // SAFETY: the same.
            2 => unscale(unsafe { numbers_mut::<bf16>(address, &part) }, gradients, task.factor),
            // SAFETY: the same.
            _ => unscale(unsafe { numbers_mut::<f64>(address, &part) }, gradients, task.factor),
        }
        let range = |all: &[f32]| if all.is_empty() { 0..0 } else { at..at + values.len() };
        let (of_first, of_second) = (range(first), range(second));
        let (first, second) = (&mut first[of_first], &mut second[of_second]);
        R::apply(task, Strip { values, gradients, first, second });
        let random =
            (task.list.flags & STOCHASTIC != 0).then_some((task.list.seed, task.progress.steps));
        match entry.copy >> 62 {
            0 => {}
            1 => {
                // SAFETY: the same.
                let copy = unsafe { numbers_mut::<f16>(entry.copy, &part) };
                narrow(values, copy, random, &chunk, at);
            }
            _ => {
                // SAFETY: the same.
                let copy = unsafe { numbers_mut::<bf16>(entry.copy, &part) };
                narrow(values, copy, random, &chunk, at);
            }
        }
    }
}

/// # Safety
/// There are f32 at the address, unless it is 0, and they are the caller's alone.
unsafe fn moments<'a>(address: u64, chunk: &Chunk) -> &'a mut [f32] {
    if address == 0 {
        return &mut [];
    }
    // SAFETY: the caller's promise.
    unsafe { numbers_mut(address, chunk) }
}

/// A gradient's type: what is written back, and what the update reads.
trait Gradient: Copy {
    fn times(self, factor: f32) -> (Self, f32);
}

impl Gradient for f32 {
    #[inline(always)]
    fn times(self, factor: f32) -> (Self, f32) {
        let product = self * factor;
        (product, product)
    }
}

impl Gradient for f64 {
    #[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
    #[inline(always)]
    fn times(self, factor: f32) -> (Self, f32) {
        let product = self * Self::from(factor);
        (product, product as f32)
    }
}

macro_rules! half_gradients {
    ($($half:ty),*) => {
        $(impl Gradient for $half {
            #[inline(always)]
            fn times(self, factor: f32) -> (Self, f32) {
                let product = self.widen() * factor;
                (Self::nearest(product), product)
            }
        })*
    };
}
half_gradients!(f16, bf16);

#[inline(always)]
fn unscale<G: Gradient>(stored: &mut [G], read: &mut [f32], factor: f32) {
    #[expect(clippy::float_cmp, reason = "1 exactly changes nothing")]
    if factor == 1.0 {
        for (read, stored) in read.iter_mut().zip(stored) {
            *read = stored.times(1.0).1;
        }
        return;
    }
    for (read, stored) in read.iter_mut().zip(stored) {
        (*stored, *read) = stored.times(factor);
    }
}

/// Negates gradients and lets them decay the values, as the flags say.
#[inline(always)]
fn prepare(list: &UpdateList, values: &[f32], gradients: &mut [f32], decay: f32) {
    if list.flags & MAXIMIZE != 0 {
        for gradient in &mut *gradients {
            *gradient = -*gradient;
        }
    }
    if list.flags & INTO_GRADIENT != 0 {
        for (gradient, &value) in gradients.iter_mut().zip(values) {
            *gradient = value.mul_add(decay, *gradient);
        }
    }
}

struct Adam;

impl Rule for Adam {
    #[inline(always)]
    fn apply(task: &Task<'_>, strip: Strip<'_>) {
        let [weight, beta2, rest2, epsilon, weight_decay, _] = task.list.constants;
        let Progress { step_size, decay, root, .. } = task.progress;
        let Strip { values, gradients, first, second } = strip;
        prepare(task.list, values, gradients, weight_decay);
        // From the nearer end: exact at both.
        let is_near = weight < 0.5;
        let weight = if is_near { weight } else { weight - 1.0 };
        let moments = first.iter_mut().zip(second);
        for ((value, &mut gradient), (first, second)) in
            values.iter_mut().zip(gradients).zip(moments)
        {
            let start = if is_near { *first } else { gradient };
            *first = weight.mul_add(gradient - *first, start);
            *second = (rest2 * gradient).mul_add(gradient, *second * beta2);
            let divisor = second.sqrt() / root + epsilon;
            *value = *value * decay - step_size * *first / divisor;
        }
    }
}

struct Sgd;

impl Rule for Sgd {
    #[inline(always)]
    fn apply(task: &Task<'_>, strip: Strip<'_>) {
        let [momentum, rest, weight_decay, ..] = task.list.constants;
        let Strip { values, gradients, first, .. } = strip;
        prepare(task.list, values, gradients, weight_decay);
        if task.progress.steps == 1 {
            first.copy_from_slice(&gradients[..first.len()]);
        } else {
            for (buffer, &gradient) in first.iter_mut().zip(&*gradients) {
                *buffer = gradient.mul_add(rest, *buffer * momentum);
            }
        }
        if task.list.flags & NESTEROV == 0 {
            gradients[..first.len()].copy_from_slice(first);
        } else {
            for (gradient, &mut buffer) in gradients.iter_mut().zip(first) {
                *gradient = buffer.mul_add(momentum, *gradient);
            }
        }
        let step = -task.progress.step_size;
        for (value, &mut gradient) in values.iter_mut().zip(gradients) {
            *value = gradient.mul_add(step, *value);
        }
    }
}
