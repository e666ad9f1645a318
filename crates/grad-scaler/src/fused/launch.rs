//! A step's launches: the count first, then the parameters, list by list.

use freeboard_device::{Compute, Grid};

use super::{Fused, FusedError, Settings};
use crate::Rounding;
use crate::kernels::launch;
use crate::kernels::list::{CHUNK, THREADS, narrow, pieces};
use crate::kernels::optimizers::{
    ADVANCE, Advance, GROUPS, Group, Place, Progress, STOCHASTIC, UPDATES, Update,
};

/// An entry of a step: the group, the parameter, the piece of it.
pub(super) type Position = (usize, usize, u64);

impl<S: Settings, D: Compute + 'static> Fused<S, D> {
    /// Puts a step on the stream. The addresses may be 0: see [`UpdateList`](super::UpdateList).
    pub(super) fn launch(&mut self, found: u64, inverse: u64) -> Result<(), FusedError> {
        let progress = self.progress.view_mut().for_kernel()?.get();
        // Whatever can fail before the first launch, does.
        for parameter in &mut self.parameters {
            parameter.for_kernel()?;
        }
        let begin = if let Some(begin) = self.begin {
            begin
        } else {
            self.advance(found, progress)?;
            (0, 0, 0)
        };
        (self.list.found, self.list.inverse) = (found, inverse);
        let (seed, flag) = match self.rounding {
            Rounding::Nearest => (0, 0),
            Rounding::Stochastic { seed } => (seed, STOCHASTIC),
        };
        self.list.seed = seed;
        for group in begin.0..self.groups.len() {
            self.list.progress = progress + (group * size_of::<Progress>()) as u64;
            self.list.flags = self.groups[group].flags() | flag;
            self.list.constants = self.groups[group].constants();
            self.launch_group(group, begin)?;
        }
        self.begin = None;
        Ok(())
    }

    fn advance(&self, found: u64, progress: u64) -> Result<(), FusedError> {
        let mut groups = [Group { lr: 0.0, beta1: 0.0, beta2: 0.0, decay: 0.0 }; GROUPS];
        for (group, settings) in groups.iter_mut().zip(&self.groups) {
            let [lr, beta1, beta2, decay] = settings.rates();
            *group = Group { lr, beta1, beta2, decay };
        }
        let advance = Advance { found, progress, count: self.groups.len() as u64, groups };
        let grid = Grid { blocks: 1, threads: 1 };
        // SAFETY: the parameter is this kernel's. The progress is this optimizer's own, on this
        // stream; what was found is the scaler's, whose predicate says that it is there.
        Ok(unsafe { launch(self.allocator.device(), &ADVANCE, grid, &advance, self.stream) }?)
    }

    /// Launches a group's entries from a position on.
    fn launch_group(&mut self, group: usize, begin: Position) -> Result<(), FusedError> {
        let (mut count, mut blocks, mut first) = (0, 0, begin);
        for number in 0..self.parameters.len() {
            let parameter = &mut self.parameters[number];
            if parameter.group != group {
                continue;
            }
            let Some(at) = parameter.for_kernel()? else { continue };
            let (len, gradient_size) = (parameter.values.len() as u64, size_of_tag(at.gradient));
            for (piece, (done, len)) in (0..).zip(pieces(len)) {
                let position = (group, number, piece);
                if position < begin {
                    continue;
                }
                if count == 0 {
                    first = position;
                }
                let further =
                    |address: u64, size: u64| if address == 0 { 0 } else { address + done * size };
                self.list.entries[count] = Update {
                    values: further(at.values, 4),
                    gradient: further(at.gradient, gradient_size),
                    first: further(at.first, 4),
                    second: further(at.second, 4),
                    copy: further(at.copy, 2),
                    place: Place {
                        len,
                        first_block: blocks,
                        tensor: narrow(number as u64),
                        piece: narrow(piece),
                    },
                };
                blocks += len.div_ceil(CHUNK);
                count += 1;
                if count == UPDATES {
                    self.launch_list(count, blocks, first)?;
                    (count, blocks) = (0, 0);
                }
            }
        }
        if count > 0 { self.launch_list(count, blocks, first) } else { Ok(()) }
    }

    fn launch_list(
        &mut self,
        count: usize,
        blocks: u32,
        first: Position,
    ) -> Result<(), FusedError> {
        self.list.count = narrow(count as u64);
        let grid = Grid { blocks, threads: THREADS };
        // SAFETY: the parameter is this kernel's. All buffers of a parameter are this optimizer's own,
        // on this device and stream (see `check`), of one length, and nobody else has them while it
        // is borrowed; what was found and the scale are the scaler's, whose predicate says that they
        // are there.
        let launched =
            unsafe { launch(self.allocator.device(), S::KERNEL, grid, &*self.list, self.stream) };
        // The step was counted: the rest of it is done first.
        Ok(launched.inspect_err(|_| self.begin = Some(first))?)
    }
}

/// The size of the elements at a tagged address.
pub(crate) const fn size_of_tag(tagged: u64) -> u64 {
    match tagged >> 62 {
        0 => 4,
        3 => 8,
        _ => 2,
    }
}
