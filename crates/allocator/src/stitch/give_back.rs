//! Giving whole free handles back to the device: when the program asks for it, and at the end.

use freeboard_device::Device;
use freeboard_snapshot::Action;
use freeboard_units::Bytes;

use super::repaint::Coat;
use super::survey::{Thoroughness, Usable, Whole};
use crate::error::Error;
use crate::state::State;

impl<D: Device> State<D> {
    /// Waits until nothing free is in use any more, and gives back every whole free handle. What
    /// fails is left as it is and does not keep the rest from going; the first error is told.
    pub(crate) fn give_back(&mut self) -> Result<(), Error> {
        if !self.stitch.on {
            return Ok(());
        }
        self.disengage();
        self.wait_until_quiet()?;
        let mut outcome = self.heal_scars();
        let mut whole = self.whole_handles(Thoroughness::Complete, Usable::All);
        whole.sort_unstable_by_key(|whole| whole.range.start());
        for group in whole.chunk_by(|a, b| a.run.first == b.run.first) {
            let mut gone = Vec::new();
            for whole in group {
                match self.give_back_handle(whole) {
                    Ok(()) => {
                        let block = &self.blocks[whole.run.first];
                        let (stream, pool) = (block.stream, block.pool);
                        self.note(Action::SegmentUnmap, whole.range, stream, pool);
                        gone.push((whole.range, Coat::Unmapped));
                    }
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            let run = group[0].run;
            if gone.is_empty() {
                continue;
            }
            let class = self.class_of_block(run.first);
            let bytes: Bytes = gone.iter().map(|(range, _)| range.size()).sum();
            self.held -= bytes;
            self.ledger.reserved_bytes.down(class, bytes.as_i64());
            self.ledger.num_device_free += 1;
            self.repaint(run.first, run.last, &gone, run.range.start());
        }
        self.note_nearness();
        outcome
    }

    fn give_back_handle(&mut self, whole: &Whole) -> Result<(), Error> {
        self.unmap_everywhere(whole.number)?;
        let handle = self.stitch.mappings.get(whole.number).handle;
        self.stitch.mappings.remove(whole.number);
        self.release_handles([handle]);
        Ok(())
    }

    /// Undoes the mappings that could not be undone when their request failed.
    fn heal_scars(&mut self) -> Result<(), Error> {
        while let Some((range, handle)) = self.stitch.scars.last().copied() {
            self.unmap(range)?;
            self.stitch.scars.pop();
            self.release_handles(handle);
        }
        Ok(())
    }

    /// At the end: events of an unfinished fence, and addresses.
    pub(crate) fn close_stitching(&mut self) -> Result<(), Error> {
        self.lower_fence();
        self.release_arenas()
    }
}
