//! Programs that repeat themselves, with every block freed some requests after its own.

use std::collections::BTreeMap;

use freeboard_planning::{Key, Recorder};
use freeboard_units::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// A request, and how many requests later its block is freed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) life: usize,
}

pub(crate) fn key(units: u64, stream: u16) -> Key {
    Key::new(Bytes::new(units * 512), stream)
}

/// Steps of up to `length` requests. Blocks live for two steps at most, so that from the third on
/// all steps are the same.
pub(crate) fn steps(length: usize) -> impl Strategy<Value = Vec<Request>> {
    let life = prop_oneof![4 => 0..8_usize, 2 => 0..length, 1 => length..2 * length];
    vec((1_u64..9, 0_u16..2, life), 1..=length).prop_map(|requests| {
        let most = 2 * requests.len();
        let request =
            |(units, stream, life)| Request { key: key(units, stream), life: 1 + life % most };
        requests.into_iter().map(request).collect()
    })
}

/// A program as it runs: what is to be freed when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending<T> {
    now: usize,
    due: BTreeMap<usize, Vec<T>>,
}

impl<T> Pending<T> {
    /// Puts off a free until after `life` further requests.
    pub(crate) fn free_after(&mut self, life: usize, block: T) {
        self.due.entry(self.now + life).or_default().push(block);
    }

    /// What is freed before the next request.
    pub(crate) fn pass(&mut self) -> Vec<T> {
        self.now += 1;
        self.due.remove(&self.now).unwrap_or_default()
    }
}

/// Records `times` steps and returns the serial numbers still to be freed.
pub(crate) fn record(recorder: &mut Recorder, step: &[Request], times: usize) -> Pending<u64> {
    let mut pending = Pending::default();
    for _ in 0..times {
        pending.record(recorder, step);
        recorder.mark_step();
    }
    pending
}

impl Pending<u64> {
    /// Records requests and what is freed meanwhile.
    pub(crate) fn record(&mut self, recorder: &mut Recorder, requests: &[Request]) {
        for &Request { key, life } in requests {
            let serial = recorder.allocated(key);
            self.free_after(life, serial);
            self.pass().into_iter().for_each(|serial| recorder.freed(serial));
        }
    }
}
