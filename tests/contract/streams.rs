//! What [`Order`](freeboard::device::Order) promises where a stream has to be made first.

use freeboard::StreamId;
use freeboard::device::Device;

use crate::check::{Check, assert_refused, checks};

pub(crate) fn checks<D: Device>() -> Vec<Check<D>> {
    checks![streams_that_were_not_made_are_unknown, destroyed_streams_are_unknown]
}

fn streams_that_were_not_made_are_unknown<D: Device>(device: &D) {
    all_refused(device, StreamId::new(0xdead_beef));
}

fn destroyed_streams_are_unknown<D: Device>(device: &D) {
    let stream = device.create_stream().unwrap();
    device.destroy_stream(stream).unwrap();
    all_refused(device, stream);
}

fn all_refused(device: &impl Device, stream: StreamId) {
    let event = device.create_event().unwrap();
    assert_refused(device.record(event, stream));
    assert_refused(device.stream_wait(stream, event));
    assert_refused(device.synchronize_stream(stream));
    assert_refused(device.is_capturing(stream));
    assert_refused(device.destroy_stream(stream));
    device.destroy_event(event).unwrap();
}
