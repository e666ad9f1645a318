//! What happened to memory, event by event, and what each live block was asked for in.
//!
//! Off, recording costs one test in each of `try_cached` and `release`. On, both take a path of their
//! own, and every event is one 56-byte entry of a bounded ring. Tags and stacks of live blocks are
//! kept beside the blocks, by block number, so that a block stays one cache line.

mod clock;
mod options;
mod ring;
mod scope;
mod segments;
mod settings;
mod snapshot;
mod stacks;
mod verbs;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::take;

use freeboard_device::Device;
use freeboard_snapshot::{Action, Event, Holder, NameId, PoolIndex, StackId, Stacks};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::block::{BlockId, BlockState};
use crate::request::{Grant, Request};
use crate::state::State;
use clock::Clock;
use ring::Ring;

pub use options::{Backtraces, HistoryOptions};
pub use scope::{Scope, scope};

/// How many holders an out-of-memory report names.
const HOLDERS: usize = 8;
/// What a report calls the blocks asked for outside all scopes.
const NO_SCOPE: &str = "(no scope)";

/// What is kept while history is recorded.
pub(crate) struct Record {
    options: HistoryOptions,
    clock: Clock,
    ring: Ring,
    /// By block: what its request was made in. Right only for blocks handed out or pending.
    notes: Vec<Note>,
    /// Stacks of bare instruction pointers.
    stacks: Stacks,
    /// The stacks of the calls that took memory, by the address it began at.
    taken: BTreeMap<Address, StackId>,
}

/// Where a request was made: the scope, by its process-wide number, and the stack.
#[derive(Clone, Copy, Debug, Default)]
struct Note {
    tag: NameId,
    stack: StackId,
}

impl Record {
    fn new(options: HistoryOptions) -> Self {
        Self {
            options,
            clock: Clock::new(),
            ring: Ring::new(options.events),
            notes: Vec::new(),
            stacks: Stacks::default(),
            taken: BTreeMap::new(),
        }
    }

    /// Takes over what another one knows of live blocks and segments.
    fn inherit(&mut self, before: &mut Self) {
        self.notes = take(&mut before.notes);
        self.stacks = take(&mut before.stacks);
        self.taken = take(&mut before.taken);
    }

    fn stack(&mut self, least: Backtraces) -> StackId {
        if self.options.backtraces < least {
            return StackId::default();
        }
        stacks::capture(&mut self.stacks)
    }

    /// Where the call at hand is made.
    fn here(&mut self) -> Note {
        Note { tag: scope::current(), stack: self.stack(Backtraces::Live) }
    }

    fn note_of(&self, block: BlockId) -> Note {
        self.notes.get(block.index()).copied().unwrap_or_default()
    }

    fn keep(&mut self, block: BlockId, note: Note) {
        if self.notes.len() <= block.index() {
            self.notes.resize(block.index() + 1, Note::default());
        }
        self.notes[block.index()] = note;
    }

    /// Memory came from the device or went back to it.
    fn change(&mut self, event: Event) {
        let start = Address::new(event.address);
        match event.action {
            Action::SegmentFree | Action::SegmentUnmap => {
                let range = AddressRange::new(start, event.size);
                while let Some((&at, _)) = self.taken.range(start..range.end()).next() {
                    self.taken.remove(&at);
                }
            }
            Action::SegmentAlloc | Action::SegmentMap if !event.stack.is_zero() => {
                self.taken.insert(start, event.stack);
            }
            _ => {}
        }
        self.ring.push(event);
    }

    /// Host memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.ring.bytes() + self.notes.capacity() * size_of::<Note>()
    }
}

impl<D: Device> State<D> {
    /// Whether requests and frees are recorded.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.record.is_some()
    }

    fn blank(&self, action: Action, range: AddressRange, stream: u16, pool: u16) -> Event {
        let owner = self.pools[usize::from(pool)].owner;
        let pool = PoolIndex::new(owner.map_or(0, |owner| owner.saturating_add(1)));
        Event { stream: self.streams.id(stream), pool, ..nowhere(action, range) }
    }

    /// Memory came from the device, went back, or moved.
    #[inline]
    pub(crate) fn note(&mut self, action: Action, range: AddressRange, stream: u16, pool: u16) {
        if self.is_recording() {
            self.write(action, range, stream, pool);
        }
    }

    #[cold]
    fn write(&mut self, action: Action, range: AddressRange, stream: u16, pool: u16) {
        let event = self.blank(action, range, stream, pool);
        let Some(record) = &mut self.record else { return };
        let Note { tag, stack } = record.here();
        let time_us = record.clock.now();
        record.change(Event { time_us, tag, stack, ..event });
    }

    /// A request was served.
    #[inline]
    pub(crate) fn note_alloc(&mut self, request: &Request, grant: &Grant) {
        if self.is_recording() {
            self.write_alloc(request, grant);
        }
    }

    fn write_alloc(&mut self, request: &Request, grant: &Grant) {
        let range = AddressRange::new(grant.address, request.asked);
        let event = self.blank(Action::Alloc, range, request.stream, request.pool);
        let Some(record) = &mut self.record else { return };
        let note = record.here();
        record.keep(grant.block, note);
        let time_us = record.clock.now();
        record.ring.push(Event { time_us, tag: note.tag, stack: note.stack, ..event });
    }

    /// Its owner gives a block up; it is free at once unless other streams use it.
    pub(crate) fn note_release(&mut self, id: BlockId) {
        let block = &self.blocks[id];
        let range = AddressRange::new(block.address, block.requested);
        let at_once = !block.used_elsewhere;
        let event = self.blank(Action::FreeRequested, range, block.stream, block.pool);
        let Some(record) = &mut self.record else { return };
        let (tag, stack) = (record.note_of(id).tag, record.stack(Backtraces::All));
        let event = Event { time_us: record.clock.now(), tag, stack, ..event };
        record.ring.push(event);
        if at_once {
            record.ring.push(Event { action: Action::FreeCompleted, ..event });
        }
    }

    /// A block that other streams used is free now.
    pub(crate) fn note_completed(&mut self, id: BlockId) {
        let block = &self.blocks[id];
        let range = AddressRange::new(block.address, block.requested);
        let event = self.blank(Action::FreeCompleted, range, block.stream, block.pool);
        let Some(record) = &mut self.record else { return };
        let (tag, time_us) = (record.note_of(id).tag, record.clock.now());
        record.ring.push(Event { time_us, tag, ..event });
    }

    /// Something with words of its own.
    pub(crate) fn note_text(
        &mut self,
        action: Action,
        range: AddressRange,
        text: impl Into<Cow<'static, str>>,
    ) {
        let Some(record) = &mut self.record else { return };
        let time_us = record.clock.now();
        let event = Event { time_us, ..nowhere(action, range) };
        record.ring.push_with_text(event, text.into());
    }

    /// A request was refused.
    pub(crate) fn note_oom(&mut self, request: &Request, free: Option<Bytes>) {
        let free = Address::new(free.unwrap_or_default().get());
        self.note(
            Action::Oom,
            AddressRange::new(free, request.asked),
            request.stream,
            request.pool,
        );
    }

    /// A snapshot was taken.
    fn note_snapshot(&mut self) {
        let range = AddressRange::new(Address::NULL, self.ledger.live_bytes());
        let Some(record) = &mut self.record else { return };
        let time_us = record.clock.now();
        record.ring.push(Event { time_us, ..nowhere(Action::Snapshot, range) });
    }

    /// The scopes that hold most, largest first; none unless some block was asked for in one.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let Some(record) = &self.record else { return Vec::new() };
        let mut sums: BTreeMap<NameId, (Bytes, u64)> = BTreeMap::new();
        for (id, block) in self.blocks.iter() {
            if block.is_handed_out() || block.state == BlockState::Pending {
                let (bytes, blocks) = sums.entry(record.note_of(id).tag).or_default();
                (*bytes, *blocks) = (*bytes + block.size, *blocks + 1);
            }
        }
        if sums.keys().all(|tag| tag.is_zero()) {
            return Vec::new();
        }
        let mut sums: Vec<(NameId, (Bytes, u64))> = sums.into_iter().collect();
        sums.sort_by_key(|&(_, sum)| std::cmp::Reverse(sum));
        sums.truncate(HOLDERS);
        let name = |tag: NameId| if tag.is_zero() { NO_SCOPE.into() } else { scope::name(tag) };
        sums.into_iter()
            .map(|(tag, (bytes, blocks))| Holder { name: name(tag), bytes, blocks })
            .collect()
    }
}

/// An event of no pool, on the default stream, at no time.
fn nowhere(action: Action, range: AddressRange) -> Event {
    Event {
        address: range.start().get(),
        size: range.size(),
        stream: StreamId::DEFAULT,
        time_us: 0,
        action,
        pool: PoolIndex::default(),
        stack: StackId::default(),
        tag: NameId::default(),
        context: NameId::default(),
    }
}
