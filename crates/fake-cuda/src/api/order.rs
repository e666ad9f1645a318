//! Streams and events.
#![allow(non_snake_case, reason = "the driver's names")]

use crate::api::{CAPTURE_MODE, In, Out, current, driver, uncaptured};
use crate::state::{Answer, CAPTURE_UNSUPPORTED, INVALID_HANDLE, INVALID_VALUE, State};

fn create(state: &mut State, stream: Out<usize>, flags: u32) -> Answer {
    let device = current(state)?;
    if flags > 1 { Err(INVALID_VALUE) } else { stream.put(state.streams.create(device)) }
}

fn create_event(state: &mut State, event: Out<usize>, flags: u32) -> Answer {
    current(state)?;
    if flags > 7 { Err(INVALID_VALUE) } else { event.put(state.streams.create_event()) }
}

driver! {
    fn cuStreamCreate(stream: Out<usize>, flags: u32) |state| create(state, stream, flags);
    fn cuStreamCreateWithPriority(stream: Out<usize>, flags: u32, _priority: i32) |state| {
        create(state, stream, flags)
    };
    fn cuStreamDestroy_v2(stream: usize) |state| state.streams.destroy(stream);
    fn cuStreamGetId(stream: usize, id: Out<u64>) |state| id.put(state.streams.get(stream)?.id);
    fn cuStreamGetCtx(stream: usize, context: Out<usize>) |state| {
        let device = state.streams.get(stream)?.device;
        context.put(crate::state::context_of(usize::try_from(device).unwrap_or(0)))
    };
    fn cuStreamQuery(stream: usize) |state| state.streams.get(stream).map(drop);
    fn cuStreamSynchronize(stream: usize) |state| {
        if state.streams.get(stream)?.capturing {
            return Err(CAPTURE_UNSUPPORTED);
        }
        state.streams.synchronize(stream)
    };
    fn cuStreamWaitEvent(stream: usize, event: usize, _flags: u32) |state| {
        state.streams.wait_event(stream, event)
    };
    fn cuStreamIsCapturing(stream: usize, status: Out<i32>) |state| {
        status.put(i32::from(state.streams.get(stream)?.capturing))
    };
    fn cuEventCreate(event: Out<usize>, flags: u32) |state| create_event(state, event, flags);
    fn cuEventDestroy_v2(event: usize) |state| state.streams.destroy_event(event);
    fn cuEventRecord(event: usize, stream: usize) |state| {
        if stream <= 1 {
            current(state)?;
        }
        state.streams.record(event, stream)
    };
    fn cuEventQuery(event: usize) |state| {
        uncaptured(state)?;
        state.streams.query(event)
    };
    fn cuEventSynchronize(event: usize) |state| {
        uncaptured(state)?;
        state.streams.wait(event)
    };
    fn cuEventElapsedTime(milliseconds: Out<f32>, start: usize, end: usize) |state| {
        milliseconds.put(state.streams.elapsed(start, end)?)
    };
    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: usize, end: usize) |state| {
        milliseconds.put(state.streams.elapsed(start, end)?)
    };
    fn cuThreadExchangeStreamCaptureMode(mode: *mut i32) |_| {
        let wanted = In::new(mode.cast_const()).get()?;
        if !(0..=2).contains(&wanted) {
            return Err(INVALID_VALUE);
        }
        Out(mode).put(CAPTURE_MODE.replace(wanted))
    };
    fn cuStreamBeginCapture_v2(stream: usize, mode: i32) |state| {
        if stream <= 1 {
            return Err(CAPTURE_UNSUPPORTED);
        }
        let found = state.streams.get(stream)?;
        if found.capturing || !(0..=2).contains(&mode) {
            return Err(INVALID_VALUE);
        }
        (found.capturing, found.strict) = (true, mode == 0);
        Ok(())
    };
    fn cuStreamEndCapture(stream: usize, graph: Out<usize>) |state| {
        let found = state.streams.get(stream)?;
        if !found.capturing {
            return Err(INVALID_HANDLE);
        }
        found.capturing = false;
        graph.put(0x6000_0000)
    };
}
