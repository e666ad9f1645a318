//! The planned steady state: a step that repeats is served by table.
//!
//! While a program warms up, its requests are *recorded*: a few stores each. Once the last step was
//! exactly the one before it, with as many bytes live at its end as at its beginning, the step is
//! packed offline ([`freeboard_planning`]) and *followed*; where the step begins, a *region* of
//! stitched memory is set aside for it, and from then on every block that lives no longer than the
//! step is served at its place in there, in constant time, with no search and no driver call. What
//! lives longer is served as always. The first request that is not the planned one ends it: the
//! region's blocks become ordinary ones and its free bytes free memory, and nothing else happens.
//!
//! Steps are told by the program ([`step`](crate::CachingAllocator::step)) or found. To find them
//! costs a little for every request, so without marks only what follows a driver call is recorded:
//! a program that makes none has nothing to gain.

mod check;
mod dissolve;
mod engage;
mod stats;
mod step;

use freeboard_device::Device;
use freeboard_planning::{Key, Plan, Recorder, Served, Server};
use freeboard_units::{Address, Bytes};

use crate::block::{BlockId, BlockState};
use crate::request::{Grant, Request};
use crate::state::State;
use crate::stats::Class;

pub use stats::Planning;

/// Requests that a recorder holds at first, and at most: two steps of up to 262,144.
const SMALL_RING: usize = 1 << 15;
const LARGE_RING: usize = 1 << 19;
/// Requests recorded after a window or a driver call: at some 5 ns each no more than ten such cost.
const RECORDED: u64 = 1 << 16;
/// The first look for a repetition comes after this many.
const FIRST_LOOK: u64 = 1 << 11;
/// Marked steps without a repetition before recording pauses, and for how many it does.
const PATIENCE: u32 = 8;
/// The most driver calls passed over, or starts of a step let go by, after failures: 2 to this.
const MOST_SETBACKS: u32 = 10;
/// Set in a block's `free_since` while it is allocated and its request was recorded under the
/// serial number in the other bits.
const IS_RECORDED: u64 = 1 << 63;

/// What is being done about steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing.
    Idle,
    /// Requests are recorded.
    Recording,
    /// A plan's requests are expected; they are served from it once there is a region.
    Following,
}

/// What has become of a request's turn in the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has not had it.
    #[default]
    Due,
    /// It is as planned, or nobody looks.
    Had,
    /// It was recorded under this serial number.
    Recorded(u64),
}

/// What is known about the program's steps.
pub(crate) struct Steady {
    /// Whether steps are planned at all.
    on: bool,
    phase: Phase,
    /// Whether something is to be done before the next request is served: look for a repetition, or
    /// set the region aside.
    due: bool,
    /// The turn of the request at hand, between the fast path and the slow one.
    turn: Turn,
    recorder: Option<Recorder>,
    /// How many requests it holds.
    ring: usize,
    /// The serial numbers that recording began at, and goes on to where steps are not marked.
    recorded_from: u64,
    record_until: u64,
    look_at: u64,
    /// The step as it was recognised.
    plan: Option<Plan>,
    /// Who follows it, or what of it has its place in the region.
    server: Option<Server>,
    region: Option<Region>,
    /// Whether the program marks its steps, and where in the plan they end.
    is_marked: bool,
    mark: Option<usize>,
    /// Marked steps since something was last planned.
    fruitless: u32,
    /// Failures in a row, and how many chances are passed over because of them.
    setbacks: u32,
    passed_over: u32,
    counts: Planning,
}

/// The memory that a plan serves from.
#[derive(Debug)]
struct Region {
    /// The block it lies in.
    block: BlockId,
    /// By entry: its place, as a block, or none.
    places: Vec<BlockId>,
    /// Where each stream's band ends, in ascending order.
    bands: Vec<(Address, u16)>,
}

impl Steady {
    pub(crate) fn new(on: bool) -> Self {
        Self {
            on,
            phase: Phase::Idle,
            due: false,
            turn: Turn::Due,
            recorder: None,
            ring: SMALL_RING,
            recorded_from: 0,
            record_until: 0,
            look_at: 0,
            plan: None,
            server: None,
            region: None,
            is_marked: false,
            mark: None,
            fruitless: 0,
            setbacks: 0,
            passed_over: 0,
            counts: Planning::default(),
        }
    }

    /// Whether requests have turns.
    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether [`State::settle`] must come before the next request.
    #[inline]
    pub(crate) const fn is_due(&self) -> bool {
        self.due
    }

    /// The turn of the request that the fast path has left to the slow one.
    pub(crate) fn take_turn(&mut self) -> Turn {
        std::mem::take(&mut self.turn)
    }

    /// Notes the free of a block.
    #[inline]
    pub(crate) fn note_free(&mut self, free_since: u64) {
        self.with_record(free_since, Recorder::freed);
    }

    /// Tells the recorder about an allocated block, if its request was recorded.
    #[inline]
    fn with_record(&mut self, free_since: u64, tell: impl FnOnce(&mut Recorder, u64)) {
        if free_since & IS_RECORDED != 0
            && let Some(recorder) = &mut self.recorder
        {
            tell(recorder, free_since & !IS_RECORDED);
        }
    }

    fn follow(&mut self, plan: Plan, position: usize) {
        self.take_server();
        self.server = Some(Server::new(plan, position));
        self.phase = Phase::Following;
        self.due = position == 0;
    }

    /// Gives the server up; what it has counted stays.
    fn take_server(&mut self) -> Option<Server> {
        let server = self.server.take()?;
        self.counts.take_from(&server);
        Some(server)
    }

    fn record(&mut self) {
        let recorder = self.recorder.get_or_insert_with(|| Recorder::new(self.ring));
        recorder.clear();
        self.phase = Phase::Recording;
        self.recorded_from = recorder.next_serial();
        self.look_at = self.recorded_from + FIRST_LOOK;
        self.record_until = self.recorded_from + RECORDED;
        self.due = false;
    }

    /// Makes room for a longer step, once the ring is full; what was recorded is forgotten. Whether
    /// there is more room now.
    fn make_room(&mut self) -> bool {
        let seen = self.recorder.as_ref().map_or(0, Recorder::next_serial) - self.recorded_from;
        if seen < self.ring as u64 || self.ring >= LARGE_RING {
            return false;
        }
        self.ring *= 4;
        self.recorder = self.recorder.take().map(|recorder| recorder.successor(self.ring));
        self.record();
        true
    }

    /// A failure: the next chances are passed over, twice as many each time.
    fn set_back(&mut self) {
        self.setbacks = (self.setbacks + 1).min(MOST_SETBACKS);
        self.passed_over = 1 << self.setbacks;
    }

    /// Whether a chance is to be taken.
    fn may_try(&mut self) -> bool {
        let may = self.passed_over == 0;
        self.passed_over = self.passed_over.saturating_sub(1);
        may
    }

    /// A request took a window or a driver call: if that is to end, the step must be known.
    pub(crate) fn note_trouble(&mut self) {
        if self.phase == Phase::Recording {
            let next = self.recorder.as_ref().map_or(0, Recorder::next_serial);
            self.record_until = next + RECORDED;
        } else if self.phase == Phase::Idle && self.on && !self.is_marked && self.may_try() {
            self.record();
        }
    }
}

impl<D: Device> State<D> {
    /// Serves a request from cache as [`try_cached`](State::try_cached) does, and first from the plan.
    #[inline(never)]
    pub(crate) fn try_watched(&mut self, request: &Request) -> Option<Grant> {
        if self.steady.due {
            return None; // the slow path settles that
        }
        let turn = match self.take_turn(request) {
            Ok(grant) => return Some(grant),
            Err(turn) => turn,
        };
        let Some(grant) = self.serve_cached(request) else {
            self.steady.turn = turn;
            return None;
        };
        self.note_turn(turn, grant.block);
        Some(grant)
    }

    /// A request's turn in the step: its place, if it has one that is free.
    #[expect(clippy::inline_always, reason = "part of the hot path")]
    #[inline(always)]
    pub(crate) fn take_turn(&mut self, request: &Request) -> Result<Grant, Turn> {
        if !self.steady.is_watching() || !self.captures.is_empty() {
            return Err(Turn::Had);
        }
        let key = Key::new(request.size, request.stream);
        if let (Phase::Following, Some(server)) = (self.steady.phase, &mut self.steady.server) {
            match server.next(key) {
                Served::Planned { entry } => return Ok(self.hand_out_place(entry, request)),
                Served::Unplanned => {
                    self.steady.due = server.is_at_start() && !server.is_engaged();
                    return Err(Turn::Had);
                }
                Served::Deviation => self.deviate(),
            }
        }
        let (Phase::Recording, Some(recorder)) = (self.steady.phase, &mut self.steady.recorder)
        else {
            return Err(Turn::Had);
        };
        let serial = recorder.allocated(key);
        self.steady.due = serial >= self.steady.look_at && !self.steady.is_marked;
        Err(Turn::Recorded(serial))
    }

    fn hand_out_place(&mut self, entry: u32, request: &Request) -> Grant {
        let region = self.steady.region.as_ref().expect("an engaged plan has a region");
        let id = region.places[entry as usize];
        let block = &mut self.blocks[id];
        block.state = BlockState::Planned;
        block.requested = request.asked;
        let (address, size) = (block.address, block.size);
        self.ledger.allocated(Class::Large, size, request.asked);
        Grant { block: id, address, size }
    }

    /// Takes a planned block back.
    #[inline(never)]
    pub(crate) fn release_planned(&mut self, id: BlockId) {
        let block = &self.blocks[id];
        assert!(block.state == BlockState::Planned, "an allocation is freed once");
        if block.used_elsewhere {
            self.ledger.pending(Class::Large, block.size);
            return self.await_uses(id);
        }
        self.ledger.freed(Class::Large, block.size, block.requested);
        self.vacate(id);
    }

    /// Makes a place of the plan free for its next turn.
    pub(crate) fn vacate(&mut self, id: BlockId) {
        let block = &mut self.blocks[id];
        block.state = BlockState::Plan;
        block.requested = Bytes::ZERO;
        if let (Some(server), Ok(entry)) = (&mut self.steady.server, u32::try_from(block.place)) {
            server.freed(entry);
        }
    }

    /// Notes which block a recorded request got.
    #[inline]
    pub(crate) fn note_turn(&mut self, turn: Turn, block: BlockId) {
        if let Turn::Recorded(serial) = turn {
            self.blocks[block].free_since = serial | IS_RECORDED;
        }
    }

    /// As [`State::note_turn`], for a request that may have been refused.
    pub(crate) fn end_turn(&mut self, turn: Turn, grant: Option<&Grant>) {
        match (turn, grant, &mut self.steady.recorder) {
            (_, Some(grant), _) => self.note_turn(turn, grant.block),
            (Turn::Recorded(serial), None, Some(recorder)) => recorder.freed(serial),
            _ => {}
        }
    }
}
