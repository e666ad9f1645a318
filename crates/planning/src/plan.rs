//! [`Plan`]: one step with a place for every block that lives no longer than it.

use std::collections::BTreeMap;
use std::ops::Range;

use freeboard_packing::{Buffer, pack, peak_live};
use freeboard_units::Bytes;

use crate::key::UNIT;
use crate::lifetimes::Lifetimes;
use crate::predecessors::predecessors;
use crate::recorder::Record;
use crate::{Key, Options, Recorder, Repetition};

/// The offset of an entry without a place.
const NOWHERE: u64 = u64::MAX;

/// An entry as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) key: Key,
    /// In units.
    offset: u64,
    /// Its part of the list of predecessors.
    first: u32,
    count: u32,
}

impl Slot {
    #[inline]
    pub(crate) const fn is_planned(&self) -> bool {
        self.offset != NOWHERE
    }

    /// How many predecessors it has.
    pub(crate) const fn predecessors(&self) -> usize {
        self.count as usize
    }

    /// Whether both have places, and these share a unit.
    pub(crate) const fn overlaps(&self, other: &Self) -> bool {
        self.is_planned()
            && other.is_planned()
            && self.offset < other.offset + other.key.units()
            && other.offset < self.offset + self.key.units()
    }
}

/// One request of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// What is asked for.
    pub key: Key,
    /// Where its block goes in the region, a multiple of 512 bytes; `None` if it is served
    /// elsewhere.
    pub offset: Option<Bytes>,
    /// The entries that must not be live when it is served, in ascending order; it may be one.
    pub predecessors: &'a [u32],
}

/// The bytes of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    region: Bytes,
    peak: Bytes,
    planned: Bytes,
}

/// One step of a program: every request in order, and a place in one region for every block that
/// is freed before the step ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    slots: Box<[Slot]>,
    predecessors: Vec<u32>,
    /// The serial number of the first entry when it was recorded.
    base: u64,
    extent: Extent,
    unplanned: usize,
    lifetimes: Lifetimes,
}

impl Plan {
    /// Packs one step of what was recorded.
    ///
    /// The step begins where the fewest bytes are live. Planned is what was freed within it, unless
    /// it was [discarded](Recorder::discard). Each stream's blocks are packed by themselves, because
    /// only their own stream may reuse their bytes at once, and lie in a band of their own.
    ///
    /// Tens of thousands of blocks take some tenths of a second for each stream, unless many
    /// thousands of them are live at once.
    ///
    /// `None` when the ring no longer holds the repetition and the one before it, when nothing can
    /// be planned, or when the sizes together exceed a `u64`.
    #[must_use]
    pub fn of(recorder: &Recorder, repetition: Repetition, options: &Options) -> Option<Self> {
        let end = quietest(recorder, repetition)?;
        let base = end - repetition.length as u64;
        let records: Vec<&Record> =
            (base..end).map(|serial| recorder.record(serial)).collect::<Option<_>>()?;
        let mut lifetimes = Lifetimes::default();
        let mut streams: BTreeMap<u16, Vec<(u32, Buffer)>> = BTreeMap::new();
        for (entry, record) in (0_u32..).zip(&records) {
            let age = match record.freed {
                freed if freed <= end => &mut lifetimes.transient,
                freed if freed <= end.saturating_add(repetition.length as u64) => {
                    &mut lifetimes.step_long
                }
                _ => &mut lifetimes.persistent,
            };
            age.count(record.key.size());
            if record.freed <= end && !record.discarded && record.key.has_place() {
                let lifetime = u64::from(entry)..record.freed - base;
                let size = Bytes::new(record.key.units());
                streams
                    .entry(record.key.stream())
                    .or_default()
                    .push((entry, Buffer { lifetime, size }));
            }
        }
        let blank =
            |record: &&Record| Slot { key: record.key, offset: NOWHERE, first: 0, count: 0 };
        let mut slots: Box<[Slot]> = records.iter().map(blank).collect();
        let extent = place(&mut slots, streams, options)?;
        let predecessors = link(&mut slots)?;
        let unplanned = slots.iter().filter(|slot| !slot.is_planned()).count();
        let plan = Self { slots, predecessors, base, extent, unplanned, lifetimes };
        (unplanned < plan.len()).then_some(plan)
    }

    /// The same plan with places in the first `size` bytes of the region only: entries that reach
    /// beyond are served elsewhere. `None` when none has a place then.
    ///
    /// What stands highest is needed for the shortest time, so that a region a little too small for
    /// the step still serves most of it.
    #[must_use]
    pub fn within(&self, size: Bytes) -> Option<Self> {
        if size >= self.region() {
            return Some(self.clone());
        }
        let units = size.get() / UNIT;
        let mut plan = self.clone();
        for slot in plan.slots.iter_mut().filter(|slot| slot.is_planned()) {
            (slot.first, slot.count) = (0, 0);
            if slot.offset + slot.key.units() > units {
                slot.offset = NOWHERE;
            }
        }
        let planned = || plan.slots.iter().filter(|slot| slot.is_planned());
        plan.unplanned = plan.slots.len() - planned().count();
        let bytes = planned().map(|slot| slot.key.size());
        plan.extent.planned = bytes.fold(Bytes::ZERO, Bytes::saturating_add);
        let top = planned().map(|slot| slot.offset + slot.key.units()).max()?;
        plan.extent.region = Bytes::new(top * UNIT);
        // Whoever had an entry without a place before it has others before it now.
        plan.predecessors = link(&mut plan.slots)?;
        Some(plan)
    }

    /// How many requests the step has; at least one.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no plan is empty")]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// An entry, by its number from 0 on.
    #[must_use]
    pub fn entry(&self, entry: u32) -> Option<Entry<'_>> {
        let slot = self.slots.get(entry as usize)?;
        let predecessors = self.predecessors_of(slot);
        Some(Entry { key: slot.key, offset: self.offset(entry), predecessors })
    }

    /// Where an entry's block goes in the region; `None` if there is no such entry, or it is served
    /// elsewhere.
    #[inline]
    #[must_use]
    pub fn offset(&self, entry: u32) -> Option<Bytes> {
        let slot = self.slots.get(entry as usize)?;
        slot.is_planned().then(|| Bytes::new(slot.offset * UNIT))
    }

    /// How many bytes the region has: the heights of all streams' bands.
    #[must_use]
    pub const fn region(&self) -> Bytes {
        self.extent.region
    }

    /// The most planned bytes live at one time, stream by stream, added up: no region is smaller.
    #[must_use]
    pub const fn peak(&self) -> Bytes {
        self.extent.peak
    }

    /// The sizes of all planned blocks of a step together.
    #[must_use]
    pub const fn planned_bytes(&self) -> Bytes {
        self.extent.planned
    }

    /// How many entries are served elsewhere.
    #[must_use]
    pub const fn unplanned(&self) -> usize {
        self.unplanned
    }

    /// The blocks of the step by how long they live.
    #[must_use]
    pub const fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// At which entry the request with this serial number stands, for as long as the program
    /// repeats itself. For the request to come: `plan.position_of(recorder.next_serial())`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of entries")]
    pub const fn position_of(&self, serial: u64) -> usize {
        let length = self.slots.len() as u64;
        let position = match serial.checked_sub(self.base) {
            Some(behind) => behind % length,
            None => (length - (self.base - serial) % length) % length,
        };
        position as usize
    }

    #[inline]
    pub(crate) fn slot(&self, position: usize) -> &Slot {
        &self.slots[position]
    }

    #[inline]
    pub(crate) fn predecessors_of(&self, slot: &Slot) -> &[u32] {
        let first = slot.first as usize;
        &self.predecessors[first..first + slot.count as usize]
    }
}

/// The request of a repetition before which the fewest bytes are live. The step that ends there is
/// the last one whose frees within the step are all known.
fn quietest(recorder: &Recorder, repetition: Repetition) -> Option<u64> {
    let Repetition { start, length } = repetition;
    u32::try_from(length).ok()?;
    let before = start.checked_sub(length as u64)?;
    recorder.record(before)?;
    let end = start.checked_add(length as u64).filter(|&end| end <= recorder.next_serial())?;
    let live = |serial: u64| recorder.record(serial).map(|record| record.live);
    (start..end).min_by_key(|&serial| live(serial))
}

/// Gives every buffer a place, one stream's above the other's.
fn place(
    slots: &mut [Slot],
    streams: BTreeMap<u16, Vec<(u32, Buffer)>>,
    options: &Options,
) -> Option<Extent> {
    let (mut bottom, mut peak) = (Bytes::ZERO, Bytes::ZERO);
    for (numbers, buffers) in
        streams.into_values().map(|of| of.into_iter().unzip::<_, _, Vec<u32>, Vec<Buffer>>())
    {
        let least = peak_live(&buffers);
        let slack = (least.get() / 1000).saturating_mul(options.slack);
        let packing = freeboard_packing::Options::default()
            .effort(options.effort)
            .capacity(least.saturating_add(Bytes::new(slack)));
        let packing = pack(&buffers, &packing).ok()?;
        let top = bottom.checked_add(packing.height)?;
        for (number, offset) in numbers.into_iter().zip(packing.offsets) {
            slots[number as usize].offset = (bottom + offset).get();
        }
        bottom = top;
        peak = peak.saturating_add(least);
    }
    let bytes = |units: Bytes| units.get().checked_mul(UNIT).map(Bytes::new);
    let planned = slots.iter().filter(|slot| slot.is_planned()).map(|slot| slot.key.size());
    let planned = planned.fold(Bytes::ZERO, Bytes::saturating_add);
    Some(Extent { region: bytes(bottom)?, peak: bytes(peak)?, planned })
}

/// Gives every placed entry its part of the list of predecessors, which is returned.
fn link(slots: &mut [Slot]) -> Option<Vec<u32>> {
    let range = |slot: &Slot| -> Range<u64> { slot.offset..slot.offset + slot.key.units() };
    let planned = (0_u32..).zip(&*slots).filter(|(_, slot)| slot.is_planned());
    let places: Vec<_> = planned.map(|(entry, slot)| (entry, range(slot))).collect();
    let mut all = Vec::with_capacity(2 * places.len());
    predecessors(&places, |entry, found| {
        let slot = &mut slots[entry as usize];
        slot.first = u32::try_from(all.len()).ok()?;
        slot.count = u32::try_from(found.len()).ok()?;
        all.extend_from_slice(found);
        Some(())
    })?;
    Some(all)
}
