//! Primary contexts, and which one is current.
#![allow(non_snake_case, reason = "the driver's names")]

use crate::api::{CURRENT, Out, current, driver};
use crate::state::{INVALID_CONTEXT, INVALID_VALUE, context_of};

driver! {
    fn cuDevicePrimaryCtxRetain(context: Out<usize>, device: i32) |state| {
        state.gpu(device)?.retained += 1;
        context.put(context_of(usize::try_from(device).unwrap_or(0)))
    };
    fn cuDevicePrimaryCtxRelease_v2(device: i32) |state| {
        let gpu = state.gpu(device)?;
        gpu.retained = gpu.retained.checked_sub(1).ok_or(INVALID_CONTEXT)?;
        Ok(())
    };
    fn cuCtxGetCurrent(context: Out<usize>) |_| {
        context.put(CURRENT.with_borrow(|stack| stack.last().copied().unwrap_or(0)))
    };
    fn cuCtxSetCurrent(context: usize) |state| {
        if context != 0 {
            state.device_of(context)?;
        }
        CURRENT.with_borrow_mut(|stack| {
            stack.pop();
            stack.extend((context != 0).then_some(context));
        });
        Ok(())
    };
    fn cuCtxPushCurrent_v2(context: usize) |state| {
        state.device_of(context)?;
        CURRENT.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    };
    fn cuCtxPopCurrent_v2(context: Out<usize>) |_| {
        context.offer(CURRENT.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)?)
    };
    fn cuCtxGetDevice(device: Out<i32>) |state| device.put(current(state)?);
    fn cuCtxSetFlags(_flags: u32) |state| current(state).map(drop);
    fn cuCtxSynchronize() |state| {
        current(state)?;
        state.streams.synchronize_all();
        Ok(())
    };
    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) |state| {
        current(state)?;
        least.offer(0)?;
        greatest.offer(-5)
    };
    fn cuCtxGetLimit(value: Out<usize>, limit: i32) |state| {
        current(state)?;
        if limit < 0 { Err(INVALID_VALUE) } else { value.put(1024) }
    };
}
