//! A refusal as [`Facts`]: what whoever explains it needs, wherever it was learned.

use freeboard_snapshot::Facts;
use freeboard_units::Bytes;

use super::{OutOfMemory, Place};

impl OutOfMemory {
    /// The same numbers as [`Facts`]. Other processes are unknown here.
    ///
    /// Where memory is stitched, what is free in the shared pools serves every stream: all of it is
    /// the stream's own, and the largest block is the longest that could have been made.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let shared = |place: &&Place| place.pool.is_none();
        let private = |place: &&Place| place.pool.is_some();
        let own = |place: &&Place| self.stitched.is_some() || place.stream == self.stream;
        let places = || self.places.iter();
        let free_own: Bytes = places().filter(shared).filter(own).map(|p| p.free).sum();
        let free_shared: Bytes = places().filter(shared).map(|place| place.free).sum();
        let largest = places().filter(shared).filter(own).map(|place| place.largest_free).max();
        let mut facts = Facts::default();
        facts.device = Some(self.device);
        facts.stream = Some(self.stream);
        facts.requested = Some(self.requested);
        facts.total = self.total;
        facts.free = self.free;
        facts.limit = self.limit;
        facts.fraction = self.fraction;
        facts.refused_early = self.refused_early;
        facts.reserved = Some(self.reserved);
        facts.allocated = Some(self.allocated);
        facts.asked = Some(self.asked);
        facts.pending = Some(self.pending);
        facts.free_own = Some(free_own);
        facts.largest_own = Some(match &self.stitched {
            Some(stitched) => stitched.longest.max(stitched.reach),
            None => largest.unwrap_or_default(),
        });
        facts.free_other_streams = Some(free_shared - free_own);
        facts.private = Some(places().filter(private).map(Place::held).sum());
        facts.free_private = Some(places().filter(private).map(|place| place.free).sum());
        facts.expandable = Some(self.expandable);
        facts.settings = Some(self.settings.clone());
        facts.holders.clone_from(&self.holders);
        facts
    }
}
