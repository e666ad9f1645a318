//! `freeboard_update_scale` on the host.

use freeboard_units::Address;

use crate::kernels::list::{Found, SET_SCALE, State, UpdateScale};
use crate::kernels::pointer;
use crate::rule::Numbers;

/// Applies the rule to what was found, and forgets it.
///
/// # Safety
/// The parameter is an [`UpdateScale`]; its state and its records are there, and nobody else uses
/// them meanwhile.
pub(crate) unsafe fn update(parameter: &[u64]) {
    let update: &UpdateScale = &bytemuck::cast_slice(parameter)[0];
    let (state, first) = (Address::new(update.state), Address::new(update.founds));
    let (state, first) = (pointer::<State>(state), pointer::<Found>(first));
    let mut found = update.elsewhere != 0;
    for number in 0..update.count as usize {
        let record = first.wrapping_add(number);
        // SAFETY: the caller's word: there are `count` records, and they are ours for now.
        found |= unsafe { record.read() }.found != 0;
        // SAFETY: as above.
        unsafe { record.write(Found::default()) };
    }
    // SAFETY: the caller's word.
    let mut now = unsafe { state.read() };
    if update.mode == SET_SCALE {
        now.set(Numbers { scale: update.new_scale, ..now.numbers() });
    } else {
        now.apply(&bytemuck::cast(update.rule), found);
    }
    // SAFETY: the caller's word.
    unsafe { state.write(now) };
}
