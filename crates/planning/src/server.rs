//! [`Server`]: follows a plan and serves from it.
//!
//! # Why no two live blocks share a byte
//!
//! Entries take turns in the order of the plan, round after round, and every entry has a state.
//! *Free* means: of the blocks placed up to the entry's latest turn, none that is live shares a byte
//! with its place. Blocks placed later do not matter.
//!
//! At its turn an entry is served if all its predecessors are free. That is enough: take any byte of
//! its place. A live block there was placed either up to the latest turn of the byte's predecessor,
//! and then that would not be free, or after it, and then it would be the predecessor. So the entry
//! becomes *live*, and once its block is freed, free. It is then free in the sense above, because
//! nothing can be placed on it while it is live.
//!
//! When a predecessor is live, because the program frees later than it did, the entry is missed and
//! becomes *blocked*, unless it is itself still live. Nothing was placed there at this turn, and what
//! stood in its way is still there, so for those who have it as a predecessor it says nothing: they
//! ask its predecessors in its place, and theirs in turn if blocked. For every byte this goes back
//! over all who cover it, until one is free, and nobody is live there, or one is live. So an entry
//! may be served if none of the live ones found shares a byte with it; and when none is found at
//! all, all that were looked at are free.
//!
//! Only that search costs more than a look at each predecessor. It takes place after a miss, and
//! every blocked entry remembers who was in its way: whoever that is live, and in the way of the next
//! one, too, ends its search at once. All searches of a round together look at no more entries than
//! 64 for each entry of the plan; beyond that, an entry is missed without knowing.

use crate::{Key, Plan};

/// Looks at entries that all searches of a round may take, for each entry and besides.
const LOOKS: (usize, usize) = (64, 4096);

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a planned entry stays live until it is freed"]
pub enum Served {
    /// At the place of this entry, which is live until [`Server::freed`].
    Planned {
        /// The number of the entry; [`Plan::offset`] has its place.
        entry: u32,
    },
    /// As planned, but elsewhere: the entry has no place, its place is not free, or the server is
    /// not engaged.
    Unplanned,
    /// The plan has another request here. Nothing changed.
    Deviation,
}

/// What an entry's place is doing, as the module says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Live,
    Blocked,
    /// Blocked, and looked at by the search that is going on.
    Seen,
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests served at their place.
    pub hits: u64,
    /// Requests that have a place that was not free.
    pub misses: u64,
    /// Requests that were not the plan's.
    pub deviations: u64,
    /// Steps gone through while engaged.
    pub rounds: u64,
}

/// Follows a plan request by request, and serves from it once engaged.
///
/// Serving and freeing take constant time: no search, no heap allocation.
///
/// ```
/// use freeboard_planning::{Key, Options, Plan, Recorder, Served, Server};
/// use freeboard_units::Bytes;
///
/// let (small, large) = (Key::new(Bytes::kib(1), 0), Key::new(Bytes::mib(1), 0));
/// let mut recorder = Recorder::new(64);
/// for _ in 0..3 {
///     recorder.mark_step();
///     let first = recorder.allocated(small);
///     let second = recorder.allocated(large);
///     recorder.freed(first);
///     recorder.freed(second);
/// }
/// recorder.mark_step();
/// let repetition = recorder.repetition().ok_or("no repetition")?;
/// let plan = Plan::of(&recorder, repetition, &Options::default()).ok_or("no plan")?;
/// let position = plan.position_of(recorder.next_serial());
/// let mut server = Server::new(plan, position);
/// assert!(server.engage());
/// assert_eq!(server.next(small), Served::Planned { entry: 0 });
/// assert_eq!(server.next(small), Served::Deviation);
/// assert_eq!(server.next(large), Served::Planned { entry: 1 });
/// server.freed(0);
/// assert_eq!(server.next(small), Served::Planned { entry: 0 });
/// assert_eq!(server.next(large), Served::Unplanned); // the one of the round before is still live
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    plan: Plan,
    position: usize,
    engaged: bool,
    states: Box<[State]>,
    counts: Counts,
    /// For every blocked entry one that was live in its way; looked at again before it is believed.
    obstacles: Box<[u32]>,
    /// Room for the entries of one search.
    search: Vec<u32>,
    /// How many looks searches have left in this round.
    looks: usize,
}

impl Server {
    /// A server that stands at `position` of the plan, taken modulo its length, and only follows:
    /// nothing is served from the plan before [`engage`](Self::engage).
    #[must_use]
    pub fn new(plan: Plan, position: usize) -> Self {
        let length = plan.len();
        Self {
            position: position % length,
            engaged: false,
            states: vec![State::Free; length].into_boxed_slice(),
            counts: Counts::default(),
            obstacles: vec![0; length].into_boxed_slice(),
            search: Vec::with_capacity(length),
            looks: 0,
            plan,
        }
    }

    /// Goes back to following only, from `position` on, as after a deviation. What is live stays.
    pub fn follow(&mut self, position: usize) {
        self.position = position % self.plan.len();
        self.engaged = false;
    }

    /// Begins to serve from the plan. Only at its start, where the fewest bytes are live elsewhere;
    /// `false`, and nothing changes, at any other place.
    pub fn engage(&mut self) -> bool {
        if self.is_at_start() && !self.engaged {
            // Turns were skipped; they count as missed.
            let skipped = if self.live().next().is_some() { State::Blocked } else { State::Free };
            for state in self.states.iter_mut().filter(|state| **state != State::Live) {
                *state = skipped;
            }
            self.engaged = true;
            self.refill();
        }
        self.engaged && self.is_at_start()
    }

    /// Takes the next request.
    #[expect(clippy::inline_always, reason = "part of the hot path of whoever serves")]
    #[inline(always)]
    pub fn next(&mut self, key: Key) -> Served {
        let position = self.position;
        let slot = *self.plan.slot(position);
        if slot.key != key {
            self.counts.deviations += 1;
            return Served::Deviation;
        }
        self.position += 1;
        if self.position == self.plan.len() {
            self.wrap();
        }
        if !slot.is_planned() || !self.engaged {
            return Served::Unplanned;
        }
        let mut predecessors = self.plan.predecessors_of(&slot).iter();
        if !predecessors.all(|&other| self.states[other as usize] == State::Free)
            && !self.search(position)
        {
            return Served::Unplanned;
        }
        self.states[position] = State::Live;
        self.counts.hits += 1;
        #[expect(clippy::cast_possible_truncation, reason = "plans have fewer than 2^32 entries")]
        Served::Planned { entry: position as u32 }
    }

    /// Notes that the block of an entry is free; ignored if it was not live.
    #[inline]
    pub fn freed(&mut self, entry: u32) {
        if let Some(state) = self.states.get_mut(entry as usize)
            && *state == State::Live
        {
            *state = State::Free;
        }
    }

    /// Whether the next request is the first of a step.
    #[must_use]
    pub const fn is_at_start(&self) -> bool {
        self.position == 0
    }

    /// Whether it serves from the plan.
    #[must_use]
    pub const fn is_engaged(&self) -> bool {
        self.engaged
    }

    /// The entry whose turn comes next.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The entries that are live at their places, in ascending order.
    pub fn live(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.states).filter(|(_, state)| **state == State::Live).map(|(entry, _)| entry)
    }

    /// The plan it follows.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it has done so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Begins the next round.
    #[cold]
    fn wrap(&mut self) {
        self.position = 0;
        self.counts.rounds += u64::from(self.engaged);
        self.refill();
    }

    fn refill(&mut self) {
        self.looks = LOOKS.0.saturating_mul(self.plan.len()).saturating_add(LOOKS.1);
    }

    /// Whether an entry whose predecessors are not all free can be served all the same; it is missed
    /// if not.
    #[cold]
    fn search(&mut self, position: usize) -> bool {
        let slot = *self.plan.slot(position);
        let (mut found, mut obstacle) = (0, None);
        let mut asked = slot;
        let mut meets_live = false;
        let serves = loop {
            let looks = 1 + asked.predecessors();
            if self.looks < looks {
                break false;
            }
            self.looks -= looks;
            for &other in self.plan.predecessors_of(&asked) {
                let mut live = other;
                if self.states[other as usize] == State::Blocked {
                    self.states[other as usize] = State::Seen;
                    self.search.push(other);
                    live = self.obstacles[other as usize];
                }
                if self.states[live as usize] == State::Live {
                    meets_live = true;
                    if self.plan.slot(live as usize).overlaps(&slot) {
                        obstacle = Some(live);
                    }
                }
            }
            if obstacle.is_some() {
                break false;
            }
            let Some(&blocked) = self.search.get(found) else { break true };
            asked = *self.plan.slot(blocked as usize);
            found += 1;
        };
        let after = if serves && !meets_live { State::Free } else { State::Blocked };
        for blocked in self.search.drain(..) {
            self.states[blocked as usize] = after;
        }
        if !serves {
            self.counts.misses += 1;
            self.obstacles[position] = obstacle.unwrap_or_default();
            if self.states[position] != State::Live {
                self.states[position] = State::Blocked;
            }
        }
        serves
    }
}
