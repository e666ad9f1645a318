//! Programs that do and do not do what was planned, with every live block compared to all others.

use std::collections::BTreeMap;

use freeboard_planning::{Options, Plan, Recorder, Served, Server};
use freeboard_units::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::program::{Pending, Request, key, record, steps};

/// Small enough that no search is cut short.
const LONGEST: usize = 40;

/// The plan of a step after six of them, and where it stands then.
fn planned(step: &[Request]) -> Option<(Plan, usize)> {
    let mut recorder = Recorder::new(1024);
    record(&mut recorder, step, 6);
    let plan = Plan::of(&recorder, recorder.repetition().unwrap(), &Options::default());
    assert!(plan.is_some() || step.iter().all(|request| request.life > 1));
    let plan = plan?;
    assert_eq!(plan.len(), step.len());
    let position = plan.position_of(recorder.next_serial());
    Some((plan, position))
}

/// A server with the bytes of every live block beside it.
struct Checked {
    server: Server,
    live: BTreeMap<u32, (u64, u64)>,
}

impl Checked {
    fn range(&self, entry: u32) -> Option<(u64, u64)> {
        let entry = self.server.plan().entry(entry)?;
        let offset = entry.offset?.get();
        Some((offset, offset + entry.key.size().get()))
    }

    /// Serves what the plan says, and looks whether it had to be served or missed.
    fn next(&mut self) -> Option<u32> {
        let position = u32::try_from(self.server.position()).unwrap();
        let (engaged, before) = (self.server.is_engaged(), self.server.counts());
        let range = self.range(position);
        let taken =
            range.is_some_and(|(low, high)| self.live.values().any(|&(l, h)| low < h && l < high));
        let served = self.server.next(self.server.plan().entry(position).unwrap().key);
        let counts = self.server.counts();
        assert_eq!(counts.deviations, before.deviations);
        let misses = counts.misses - before.misses;
        assert_eq!(misses == 1, engaged && taken, "a miss exactly where a live block is");
        let hits = counts.hits - before.hits;
        assert_eq!(hits == 1, engaged && !taken && range.is_some());
        if hits == 1 {
            assert_eq!(served, Served::Planned { entry: position });
            self.live.insert(position, range.unwrap());
            Some(position)
        } else {
            assert_eq!(served, Served::Unplanned);
            None
        }
    }

    fn freed(&mut self, entry: u32) {
        self.server.freed(entry);
        assert!(self.live.remove(&entry).is_some());
        assert!(self.server.live().eq(self.live.keys().copied()));
    }

    fn deviate(&mut self) {
        let (position, before) = (self.server.position(), self.server.counts());
        assert_eq!(self.server.next(key(1 << 40, 3)), Served::Deviation);
        assert_eq!(self.server.position(), position);
        let counts = self.server.counts();
        assert_eq!(counts.deviations, before.deviations + 1);
        assert_eq!((counts.hits, counts.misses), (before.hits, before.misses));
        assert!(self.server.live().eq(self.live.keys().copied()));
    }
}

/// How a program departs from its step at one request.
#[derive(Clone, Copy, Debug)]
enum Whim {
    /// As ever.
    None,
    /// The block is freed after so many requests.
    Life(usize),
    /// The block is kept for long.
    Keep,
    /// Another request comes in between.
    Deviate,
    /// The server is told to go back to following.
    Follow(usize),
}

fn whims() -> impl Strategy<Value = Vec<Whim>> {
    let whim = prop_oneof![
        30 => Just(Whim::None),
        8 => (1..=2 * LONGEST).prop_map(Whim::Life),
        1 => Just(Whim::Keep),
        1 => Just(Whim::Deviate),
        1 => (0..2 * LONGEST).prop_map(Whim::Follow),
    ];
    vec(whim, 0..12 * LONGEST)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_two_live_blocks_share_a_byte_whatever_the_program_does(
        step in steps(LONGEST),
        whims in whims(),
        room in 1..=8_u64,
    ) {
        let Some((plan, position)) = planned(&step) else { return Ok(()) };
        // All of the region, or only some eighths of it.
        let room = Bytes::new(plan.region().get() * room / 8);
        let Some(plan) = plan.within(room) else { return Ok(()) };
        prop_assert!(plan.region() <= room);
        // The request that stands at the plan's start.
        let first = step.len() - position;
        let mut checked = Checked { server: Server::new(plan, position), live: BTreeMap::new() };
        let mut pending = Pending::default();
        for whim in whims {
            let mut life = step[(checked.server.position() + first) % step.len()].life;
            match whim {
                Whim::None => {}
                Whim::Life(other) => life = other,
                Whim::Keep => life = 5 * LONGEST,
                Whim::Deviate => checked.deviate(),
                Whim::Follow(position) => checked.server.follow(position),
            }
            let at_start = checked.server.is_at_start();
            if !checked.server.is_engaged() {
                prop_assert_eq!(checked.server.engage(), at_start);
            }
            if let Some(entry) = checked.next() {
                pending.free_after(life, entry);
            }
            pending.pass().into_iter().for_each(|entry| checked.freed(entry));
        }
    }

    #[test]
    fn a_program_that_goes_on_as_it_was_is_served_at_every_place(step in steps(LONGEST)) {
        let mut recorder = Recorder::new(1024);
        let mut pending = record(&mut recorder, &step, 6);
        let Some((plan, position)) = planned(&step) else { return Ok(()) };
        prop_assert_eq!(plan.position_of(recorder.next_serial()), position);
        let mut server = Server::new(plan, position);
        let mut live: Pending<Option<u32>> = Pending::default();
        for (n, &Request { key, life }) in step.iter().cycle().take(10 * step.len()).enumerate() {
            // Recorded further, so that positions can be told from serial numbers.
            let serial = recorder.allocated(key);
            prop_assert_eq!(server.plan().position_of(serial), server.position());
            pending.free_after(life, serial);
            pending.pass().into_iter().for_each(|serial| recorder.freed(serial));
            if !server.is_engaged() {
                server.engage();
            }
            prop_assert!(server.is_engaged() || n < step.len());
            let served = server.next(key);
            prop_assert_ne!(served, Served::Deviation);
            let entry = if let Served::Planned { entry } = served { Some(entry) } else { None };
            live.free_after(life, entry);
            live.pass().into_iter().flatten().for_each(|entry| server.freed(entry));
        }
        let counts = server.counts();
        prop_assert_eq!((counts.misses, counts.deviations), (0, 0));
        let planned = (server.plan().len() - server.plan().unplanned()) as u64;
        prop_assert!(counts.rounds >= 9 && counts.hits >= counts.rounds * planned);
    }
}

#[test]
fn one_late_free_costs_one_miss_and_no_more() {
    // Each block is freed before the next request, so all lie at one place.
    let step: Vec<Request> = (1..=100).map(|n| Request { key: key(n, 0), life: 1 }).collect();
    let (plan, position) = planned(&step).unwrap();
    assert_eq!((plan.region(), plan.peak()), (key(100, 0).size(), key(100, 0).size()));
    let mut server = Server::new(plan, position);
    assert!(server.engage());
    for round in 0..3 {
        for (entry, request) in (0_u32..).zip(&step) {
            let answer = server.next(request.key);
            if round == 1 && entry == 51 {
                assert_eq!(answer, Served::Unplanned);
                server.freed(50);
                continue;
            }
            assert_eq!(answer, Served::Planned { entry });
            if round != 1 || entry != 50 {
                server.freed(entry);
            }
        }
    }
    assert_eq!((server.counts().misses, server.counts().hits), (1, 299));
}

#[test]
fn misses_in_a_row_neither_spread_nor_wear_searches_out() {
    // A thousand blocks one after the other at one place, then a thousand side by side in it.
    let request = |n: usize| if n < 1000 { (1000, 1) } else { (1, 2000 - n) };
    let step: Vec<Request> =
        (0..2000).map(request).map(|(units, life)| Request { key: key(units, 0), life }).collect();
    let mut recorder = Recorder::new(1 << 13);
    record(&mut recorder, &step, 4);
    let repetition = recorder.repetition().unwrap();
    let plan = Plan::of(&recorder, repetition, &Options::default()).unwrap();
    assert_eq!((plan.len(), plan.region()), (2000, key(1000, 0).size()));
    let mut server = Server::new(plan, 0);
    assert!(server.engage());
    for round in 1..4 {
        for (entry, request) in (0_u32..).zip(&step) {
            let answer = server.next(request.key);
            if (1..1000).contains(&entry) {
                assert_eq!(answer, Served::Unplanned);
                server.freed(entry); // not live, so this means nothing
            } else {
                assert_eq!(answer, Served::Planned { entry });
            }
            if entry == 999 {
                server.freed(0);
            }
        }
        (1000..2000).for_each(|entry| server.freed(entry));
        assert_eq!((server.counts().misses, server.counts().hits), (999 * round, 1001 * round));
    }
}

#[test]
fn a_block_that_is_never_freed_costs_its_own_bytes_and_no_more() {
    // Four places side by side, used in turn.
    let step: Vec<Request> = (0..400).map(|_| Request { key: key(1, 0), life: 4 }).collect();
    let (plan, _) = planned(&step).unwrap();
    let mut checked = Checked { server: Server::new(plan, 0), live: BTreeMap::new() };
    assert!(checked.server.engage());
    let mut pending = Pending::default();
    for n in 0..2000 {
        let entry = checked.next();
        if let Some(entry) = entry.filter(|_| n != 7) {
            pending.free_after(4, entry);
        }
        pending.pass().into_iter().for_each(|entry| checked.freed(entry));
    }
    let planned = (checked.server.plan().len() - checked.server.plan().unplanned()) as u64;
    let counts = checked.server.counts();
    assert_eq!(counts.hits + counts.misses, 5 * planned);
    assert!((450..=500).contains(&counts.misses), "{counts:?}");
}

#[test]
fn nothing_is_served_before_the_start_comes_round() {
    let step: Vec<Request> = (1..=9).map(|n| Request { key: key(n, 0), life: 1 }).collect();
    let (plan, _) = planned(&step).unwrap();
    let mut server = Server::new(plan, 9 + 4);
    assert_eq!((server.position(), server.is_at_start()), (4, false));
    for request in &step[4..] {
        assert!(!server.engage());
        assert_eq!(server.next(request.key), Served::Unplanned);
    }
    assert!(server.is_at_start() && server.engage() && server.engage());
    assert_eq!(server.counts().rounds, 0);
    assert_eq!(server.next(step[0].key), Served::Planned { entry: 0 });
    assert!(!server.engage());
    server.freed(7);
    server.freed(1 << 20);
    assert!(server.live().eq([0]));
}
