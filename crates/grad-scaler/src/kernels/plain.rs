//! The kernels on the host, a number at a time.

use std::ptr::with_exposed_provenance_mut as pointer;

use crate::kernels::list::{
    CHECK, Entry, Found, MULTIPLY, MultiplyList, SET_SCALE, State, UpdateScale,
};

pub(crate) unsafe fn multiply(parameter: &[u64]) {
    let list: &MultiplyList = &bytemuck::cast_slice(parameter)[0];
    let factor = unsafe { *pointer::<f32>(list.factor as usize) };
    for (number, entry) in list.entries[..list.count as usize].iter().enumerate() {
        let Entry { start, len, .. } = *entry;
        assert_eq!(start >> 62, 0);
        for index in 0..len as usize {
            let at = pointer::<f32>(start as usize).wrapping_add(index);
            let value = unsafe { at.read() };
            if list.flags & CHECK != 0 && !value.is_finite() {
                let key = (list.first as u64 + number as u64) << 34
                    | (index as u64) << 2
                    | u64::from(value.is_nan());
                let found = unsafe { &mut *pointer::<Found>(list.found as usize) };
                found.found = 1f32.to_bits();
                found.first = found.first.max(!key);
            }
            if list.flags & MULTIPLY != 0 {
                unsafe { at.write(value * factor) };
            }
        }
    }
}

pub(crate) unsafe fn update(parameter: &[u64]) {
    let update: &UpdateScale = &bytemuck::cast_slice(parameter)[0];
    let state = unsafe { &mut *pointer::<State>(update.state as usize) };
    let founds = unsafe {
        std::slice::from_raw_parts_mut(
            pointer::<Found>(update.founds as usize),
            update.count as usize,
        )
    };
    let found = update.elsewhere != 0 || founds.iter().any(|f| f.found != 0);
    founds.fill(Found::default());
    if update.mode == SET_SCALE {
        state.set(crate::rule::Numbers { scale: update.new_scale, ..state.numbers() });
    } else {
        state.apply(&bytemuck::cast(update.rule), found);
    }
}
