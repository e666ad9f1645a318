//! What [`Order`](freeboard::device::Order) promises on every device.

use std::thread;

use freeboard::StreamId;
use freeboard::device::Device;

use crate::check::{Check, assert_refused, checks};

pub(crate) fn checks<D: Device + Sync>() -> Vec<Check<D>> {
    checks![
        streams_are_different_and_none_is_the_default_one,
        the_default_stream_stays,
        an_event_recorded_nowhere_is_done,
        an_event_that_was_waited_for_is_done,
        an_event_may_be_recorded_again,
        destroyed_events_are_unknown,
        a_stream_may_wait_for_an_event,
        a_stream_that_is_not_captured_says_so,
        events_of_a_destroyed_stream_are_done_some_time,
        threads_may_use_a_stream_at_the_same_time,
    ]
}

fn streams_are_different_and_none_is_the_default_one<D: Device>(device: &D) {
    let streams = [(); 8].map(|()| device.create_stream().unwrap());
    for (n, stream) in streams.iter().enumerate() {
        assert_ne!(*stream, StreamId::DEFAULT);
        assert!(!streams.iter().skip(n + 1).any(|other| other == stream));
    }
    for stream in streams {
        device.synchronize_stream(stream).unwrap();
        device.destroy_stream(stream).unwrap();
    }
    let again = device.create_stream().unwrap();
    assert!(!streams.contains(&again), "an id is not used again");
}

fn the_default_stream_stays<D: Device>(device: &D) {
    assert_refused(device.destroy_stream(StreamId::DEFAULT));
    device.synchronize_stream(StreamId::DEFAULT).unwrap();
}

fn an_event_recorded_nowhere_is_done<D: Device>(device: &D) {
    let event = device.create_event().unwrap();
    assert!(device.is_done(event).unwrap());
    device.wait(event).unwrap();
    device.destroy_event(event).unwrap();
}

fn an_event_that_was_waited_for_is_done<D: Device>(device: &D) {
    let event = device.create_event().unwrap();
    for stream in [StreamId::DEFAULT, device.create_stream().unwrap()] {
        device.record(event, stream).unwrap();
        device.wait(event).unwrap();
        assert!(device.is_done(event).unwrap());
    }
    device.destroy_event(event).unwrap();
}

fn an_event_may_be_recorded_again<D: Device>(device: &D) {
    let event = device.create_event().unwrap();
    for _ in 0..10 {
        device.record(event, StreamId::DEFAULT).unwrap();
    }
    device.synchronize_stream(StreamId::DEFAULT).unwrap();
    assert!(device.is_done(event).unwrap());
    device.destroy_event(event).unwrap();
}

fn destroyed_events_are_unknown<D: Device>(device: &D) {
    let event = device.create_event().unwrap();
    device.destroy_event(event).unwrap();
    assert_refused(device.is_done(event));
    assert_refused(device.wait(event));
    assert_refused(device.record(event, StreamId::DEFAULT));
    assert_refused(device.stream_wait(StreamId::DEFAULT, event));
    assert_refused(device.destroy_event(event));
}

fn a_stream_may_wait_for_an_event<D: Device>(device: &D) {
    let (a, b) = (device.create_stream().unwrap(), device.create_stream().unwrap());
    let event = device.create_event().unwrap();
    device.stream_wait(a, event).unwrap(); // recorded nowhere: holds nothing up
    device.record(event, a).unwrap();
    device.stream_wait(b, event).unwrap();
    device.stream_wait(a, event).unwrap(); // its own past
    device.destroy_event(event).unwrap(); // the wait stands
    device.synchronize_stream(b).unwrap();
    device.synchronize_stream(a).unwrap();
}

fn a_stream_that_is_not_captured_says_so<D: Device>(device: &D) {
    assert!(!device.is_capturing(StreamId::DEFAULT).unwrap());
    assert!(!device.is_capturing(device.create_stream().unwrap()).unwrap());
}

fn events_of_a_destroyed_stream_are_done_some_time<D: Device>(device: &D) {
    let stream = device.create_stream().unwrap();
    let event = device.create_event().unwrap();
    device.record(event, stream).unwrap();
    device.destroy_stream(stream).unwrap();
    device.wait(event).unwrap();
    device.destroy_event(event).unwrap();
}

fn threads_may_use_a_stream_at_the_same_time<D: Device + Sync>(device: &D) {
    let stream = device.create_stream().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let event = device.create_event().unwrap();
                    device.record(event, stream).unwrap();
                    device.stream_wait(StreamId::DEFAULT, event).unwrap();
                    device.wait(event).unwrap();
                    device.destroy_event(event).unwrap();
                }
            });
        }
    });
}
