//! [`Device`]: one device's history and end, as the page is given them.

use std::collections::HashMap;

use freeboard_units::{Bytes, StreamId};
use serde::Serialize;

use super::clock::Clock;
use super::encode::Column;
use super::lives::{self, Life};
use super::marks::Marks;
use super::ranges::{Piece, Ranges};
use super::strings::Strings;
use crate::{Annotation, DeviceMemory, History, PoolId, Segment, Snapshot, Timeline};

/// What is told of a device in words; the columns are apart.
#[derive(Debug, Serialize)]
pub(super) struct Device {
    name: String,
    /// Addresses are counted from here.
    base: String,
    /// Sizes and addresses are multiples of two to this power.
    shift: u32,
    ticks: usize,
    /// When the first tick was, in microseconds since 1970.
    start_us: i64,
    dropped: u64,
    /// Whether there is a history at all.
    traced: bool,
    lives: usize,
    pieces: usize,
    streams: Vec<String>,
    pools: Vec<String>,
    total: Option<Bytes>,
    free: Option<Bytes>,
    limit: Option<Bytes>,
    marks: Marks,
}

/// Where a device's part of a snapshot is.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) history: Option<&'a History>,
    pub(super) segments: Vec<&'a Segment>,
    pub(super) memory: DeviceMemory,
    pub(super) annotations: Vec<&'a Annotation>,
}

/// Numbers for the few values that come again and again.
#[derive(Debug, Default)]
struct Few<T>(Vec<T>, HashMap<T, u64>);

impl<T: Copy + Eq + std::hash::Hash> Few<T> {
    fn number(&mut self, value: T) -> u64 {
        *self.1.entry(value).or_insert_with(|| {
            self.0.push(value);
            self.0.len() as u64 - 1
        })
    }
}

impl Device {
    /// Follows a device's blocks and segments from beginning to end.
    pub(super) fn follow(
        source: &Source<'_>,
        snapshot: &Snapshot,
        strings: &mut Strings<'_>,
    ) -> (Self, Column) {
        let (mut clock, mut marks) = (Clock::default(), Marks::default());
        let Source { history, segments, .. } = source;
        let timeline = Timeline::of(snapshot, source.memory.device, *history, segments);
        let (after, lives) = lives::follow(&timeline, !segments.is_empty(), &mut clock);
        let mut ranges = Ranges::default();
        for (event, &now) in timeline.events().iter().zip(&after) {
            ranges.see(event, snapshot.pool(event.pool), now);
            marks.see(event, now.saturating_sub(1), strings);
        }
        let traced = !timeline.events().is_empty();
        if !traced {
            clock.tick(0);
        }
        let pieces = ranges.finish(&source.segments, clock.now());
        let annotations = source.annotations.iter().copied();
        marks.pair(annotations, &snapshot.names, &clock, strings);

        let mut writer = Writer::new(&lives, &pieces);
        writer.times(&clock.times);
        writer.lives(&lives, strings);
        writer.pieces(&pieces, strings);
        let device = Self {
            name: source.name.clone(),
            base: format!("{:#x}", writer.base),
            shift: writer.shift,
            ticks: clock.times.len(),
            start_us: clock.times.first().copied().unwrap_or(0),
            dropped: source.history.map_or(0, |history| history.dropped),
            traced,
            lives: lives.len(),
            pieces: pieces.len(),
            streams: writer.streams.0.iter().map(ToString::to_string).collect(),
            pools: writer.pools.0.iter().map(ToString::to_string).collect(),
            total: source.memory.total,
            free: source.memory.free,
            limit: source.memory.limit,
            marks,
        };
        (device, writer.column)
    }
}

/// Writes the columns; the page reads them in the same order.
struct Writer {
    column: Column,
    base: u64,
    shift: u32,
    streams: Few<StreamId>,
    pools: Few<PoolId>,
}

impl Writer {
    fn new(lives: &[Life<'_>], pieces: &[Piece]) -> Self {
        let addresses = || {
            let blocks = lives.iter().map(|life| life.block.address);
            blocks.chain(pieces.iter().map(|piece| piece.start))
        };
        let base = addresses().min().unwrap_or(0);
        let sizes = lives.iter().map(|life| life.block.size.get());
        let sizes = sizes.chain(pieces.iter().map(|piece| piece.end - piece.start));
        let bits = addresses().map(|address| address - base).chain(sizes).fold(0, |a, b| a | b);
        let shift = bits.trailing_zeros() & 0x3f;
        let column = Column::default();
        Self { column, base, shift, streams: Few::default(), pools: Few::default() }
    }

    fn times(&mut self, times: &[i64]) {
        let mut before = times.first().copied().unwrap_or(0);
        for &time in times {
            self.column.put(time.wrapping_sub(before).cast_unsigned());
            before = time;
        }
    }

    /// A number and how much later another moment is, from 1; 0 if it never comes.
    fn later(&mut self, from: u32, moment: Option<u32>) {
        self.column.put(moment.map_or(0, |moment| u64::from(moment.saturating_sub(from)) + 1));
    }

    fn place(&mut self, before: &mut u64, start: u64, stream: StreamId, pool: PoolId) {
        let address = (start - self.base) >> self.shift;
        self.column.put_step(*before, address);
        *before = address;
        let stream = self.streams.number(stream);
        self.column.put(stream);
        let pool = self.pools.number(pool);
        self.column.put(pool);
    }

    fn lives(&mut self, lives: &[Life<'_>], strings: &mut Strings<'_>) {
        let (mut birth, mut address) = (0, 0);
        for life in lives {
            self.column.put(u64::from(life.birth - birth));
            birth = life.birth;
            self.later(birth, life.request);
            self.later(life.request.unwrap_or(birth), life.death);
            let (block, (stack, tag)) = (life.block, life.origin);
            self.place(&mut address, block.address, block.stream, block.pool);
            self.column.put(block.size.get() >> self.shift);
            self.column.put_step(block.requested.get(), block.size.get());
            self.column.put(strings.stack(stack).into());
            self.column.put(strings.name(tag).into());
        }
    }

    fn pieces(&mut self, pieces: &[Piece], strings: &mut Strings<'_>) {
        let (mut birth, mut address) = (0, 0);
        for piece in pieces {
            self.column.put(u64::from(piece.birth - birth));
            birth = piece.birth;
            self.later(birth, piece.death);
            self.place(&mut address, piece.start, piece.stream, piece.pool);
            self.column.put((piece.end - piece.start) >> self.shift);
            self.column.put(u64::from(piece.small) | u64::from(piece.expandable) << 1);
            self.column.put(strings.stack(piece.stack).into());
        }
    }
}
