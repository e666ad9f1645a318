//! Setting memory aside for a plan, where its step begins.

use freeboard_device::Device;
use freeboard_planning::Plan;
use freeboard_snapshot::Action;
use freeboard_units::{Address, Bytes};

use super::Region;
use crate::block::{Block, BlockId, BlockState, PLANNED};
use crate::error::Error;
use crate::policy::stitching::StitchPolicy;
use crate::request::Request;
use crate::state::State;
use crate::stats::Class;

/// Less than one part in this many of a plan's region is not worth having.
const LEAST: u64 = 2;

impl<D: Device> State<D> {
    /// Sets the region aside and begins to serve from it. Where memory is missing, or the device
    /// fails, the step is served as before.
    pub(super) fn engage(&mut self) {
        if !self.captures.is_empty() || !self.steady.may_try() {
            return;
        }
        let Some(server) = &self.steady.server else { return };
        if self.steady.region.is_some() || !server.is_at_start() {
            return;
        }
        let Some(plan) = self.steady.plan.clone() else { return };
        match self.set_aside(&plan) {
            Ok(Some((plan, region))) => {
                self.note_text(Action::Plan, self.blocks[region.block].range(), "followed");
                self.steady.counts.region_bytes = self.blocks[region.block].size;
                self.steady.counts.note_plan(&plan);
                self.steady.region = Some(region);
                self.steady.follow(plan, 0);
                self.steady.due = false;
                if let Some(server) = &mut self.steady.server {
                    server.engage();
                }
            }
            Ok(None) => self.refuse_plan(),
            Err(error) => {
                tracing::warn!(%error, "a step could not be planned; it is served as before");
                self.refuse_plan();
            }
        }
    }

    fn refuse_plan(&mut self) {
        self.steady.counts.refused += 1;
        self.steady.set_back();
    }

    /// Memory for a plan, ordered behind all earlier uses on every stream of the plan; and what of
    /// the plan has its place there.
    fn set_aside(&mut self, all: &Plan) -> Result<Option<(Plan, Region)>, Error> {
        let room = self.room_for_region();
        let Some(plan) = all.within(room) else { return Ok(None) };
        let streams = streams(&plan);
        let Some(&(_, first)) = streams.first() else { return Ok(None) };
        let size = plan.region();
        if size.get() < all.region().get() / LEAST {
            return Ok(None);
        }
        let pool = StitchPolicy::pool(Class::Large as u16, size, self.stitch.round_mask);
        let request = Request { asked: size, size, class: Class::Large, pool, stream: first };
        let Some(block) = self.find_region(&request)? else { return Ok(None) };
        let start = self.blocks[block].address;
        self.blocks[block].state = BlockState::Plan;
        // The first stream comes after all that used the memory; the others come after it.
        for &(_, other) in &streams[1..] {
            if let Err(error) = self.order_streams(other, first) {
                self.free_region(block);
                return Err(error.into());
            }
        }
        let bands = streams.iter().map(|&(end, stream)| (start + end, stream)).collect();
        let pool = self.blocks[block].pool;
        let places = entries(&plan).map(|entry| self.add_place(&plan, entry, start, pool));
        let places = places.collect();
        Ok(Some((plan, Region { block, places, bands })))
    }

    fn add_place(&mut self, plan: &Plan, entry: u32, start: Address, pool: u16) -> BlockId {
        let entry_of = plan.entry(entry);
        let Some((key, offset)) = entry_of.and_then(|entry| Some((entry.key, entry.offset?)))
        else {
            return BlockId::NONE;
        };
        self.blocks.insert(Block {
            address: start + offset,
            size: key.size(),
            place: entry.into(),
            expandable: PLANNED,
            pool,
            stream: key.stream(),
            state: BlockState::Plan,
            ..Block::BLANK
        })
    }

    /// Gives a region back that was never used.
    fn free_region(&mut self, block: BlockId) {
        let range = self.blocks[block].range();
        self.free_stretch(block, &[(range.end(), self.blocks[block].stream)], &[]);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "plans have fewer than 2^32 entries")]
fn entries(plan: &Plan) -> std::ops::Range<u32> {
    0..plan.len() as u32
}

/// Where the bands of a plan's streams end, in ascending order.
fn streams(plan: &Plan) -> Vec<(Bytes, u16)> {
    let mut bands: Vec<(Bytes, u16)> = Vec::new();
    for entry in entries(plan).filter_map(|entry| plan.entry(entry)) {
        let Some(offset) = entry.offset else { continue };
        let end = offset + entry.key.size();
        match bands.iter_mut().find(|(_, stream)| *stream == entry.key.stream()) {
            Some((last, _)) => *last = (*last).max(end),
            None => bands.push((end, entry.key.stream())),
        }
    }
    bands.sort_unstable();
    bands
}
