//! `freeboard_fp8_update` on the host.

use super::super::parameter;
use super::{UpdateFp8, numbers_mut};
use crate::fp8::recipe;

/// # Safety
/// The parameter is an [`UpdateFp8`] whose scales, inverses and history can be written.
pub(super) unsafe fn update(words: &[u64]) {
    let update: &UpdateFp8 = parameter(words);
    let tensors = u64::from(update.tensors);
    // SAFETY: the caller promises it.
    let history = unsafe { numbers_mut(update.history, tensors * u64::from(update.rows)) };
    // SAFETY: the caller promises it.
    let scale = unsafe { numbers_mut(update.scale, tensors) };
    // SAFETY: the caller promises it.
    let scale_inv = unsafe { numbers_mut(update.scale_inv, tensors) };
    recipe::update(update.rule, history, scale, scale_inv);
}
