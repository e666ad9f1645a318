//! Programs: what a user of the allocator may do, as data.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::common::MIB;

/// One step. Places count modulo what there is, so that every program can be run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Allocate {
        bytes: u64,
        stream: u64,
    },
    Free {
        place: usize,
    },
    RecordUse {
        place: usize,
        stream: u64,
    },
    /// Gives up the handle and keeps the address.
    IntoRaw {
        place: usize,
    },
    /// Makes a handle of an address again.
    Claim {
        place: usize,
    },
    EmptyCache,
    Advance {
        ticks: u64,
    },
    Fraction {
        percent: u32,
    },
    CreatePool {
        lending: bool,
        unsplit: bool,
    },
    /// Sends one stream, or all, to a pool.
    BeginPool {
        place: usize,
        capture: bool,
        stream: Option<u64>,
    },
    EndPool {
        place: usize,
    },
    ReleasePool {
        place: usize,
    },
}

/// A device and what is done on it.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) capacity_mib: u64,
    pub(crate) lag: u64,
    pub(crate) ops: Vec<Op>,
}

const STREAMS: u64 = 4;

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        1 => Just(1),
        3 => 1..4096_u64,
        4 => 1..=MIB,
        2 => prop::sample::select(vec![512, 513, MIB, MIB + 1, 10 * MIB - 1, 10 * MIB, 20 * MIB]),
        6 => MIB..10 * MIB,
        6 => 10 * MIB..64 * MIB,
        3 => 64 * MIB..700 * MIB,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let place = 0..64_usize;
    prop_oneof![
        40 => (sizes(), 0..STREAMS).prop_map(|(bytes, stream)| Op::Allocate { bytes, stream }),
        30 => place.clone().prop_map(|place| Op::Free { place }),
        10 => (place.clone(), 0..STREAMS)
            .prop_map(|(place, stream)| Op::RecordUse { place, stream }),
        3 => place.clone().prop_map(|place| Op::IntoRaw { place }),
        2 => place.clone().prop_map(|place| Op::Claim { place }),
        3 => Just(Op::EmptyCache),
        6 => (0..8_u64).prop_map(|ticks| Op::Advance { ticks }),
        2 => (0..=100_u32).prop_map(|percent| Op::Fraction { percent }),
        2 => any::<(bool, bool)>()
            .prop_map(|(lending, unsplit)| Op::CreatePool { lending, unsplit }),
        3 => (place.clone(), any::<bool>(), prop::option::of(0..STREAMS))
            .prop_map(|(place, capture, stream)| Op::BeginPool { place, capture, stream }),
        3 => place.clone().prop_map(|place| Op::EndPool { place }),
        2 => place.prop_map(|place| Op::ReleasePool { place }),
    ]
}

/// Programs on tight and on ample devices, with events that are done at once or late.
pub(crate) fn programs(length: usize) -> impl Strategy<Value = Program> {
    let capacity = prop::sample::select(vec![96, 256, 1024, 16 * 1024]);
    let lag = prop::sample::select(vec![0, 3, 20]);
    (capacity, lag, vec(op(), 1..length)).prop_map(|(capacity_mib, lag, ops)| Program {
        capacity_mib,
        lag,
        ops,
    })
}
