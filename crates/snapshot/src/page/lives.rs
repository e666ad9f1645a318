//! [`Life`]: a block of a [`Timeline`], with its birth and death in the page's moments.

use super::clock::{Clock, Moment};
use crate::timeline::{self, Timeline};
use crate::{NameId, StackId};

/// A block's life. Moment 0 is before the history, `None` is not within it.
#[derive(Clone, Debug)]
pub(super) struct Life<'a> {
    pub(super) block: &'a timeline::Life,
    pub(super) birth: Moment,
    /// When its owner gave it back.
    pub(super) request: Option<Moment>,
    /// When it became free.
    pub(super) death: Option<Moment>,
    /// The stack and the tag of its allocation.
    pub(super) origin: (StackId, NameId),
}

impl<'a> Life<'a> {
    /// A block, given the moment after each event, and whether the end of the history is known.
    fn of(block: &'a timeline::Life, after: &[Moment], has_end: bool) -> Self {
        let moment = |event: Option<u32>| after.get(event? as usize).copied();
        let birth = moment(block.born);
        let request =
            moment(block.freed).or((block.always_pending && birth.is_none()).then_some(0));
        // Of a block that only its free tells of, the allocation is not known.
        let is_known = birth.is_some() || has_end && block.ended.is_none();
        let origin = if is_known { (block.stack, block.tag) } else { Default::default() };
        Self { block, birth: birth.unwrap_or(0), request, death: moment(block.ended), origin }
    }
}

/// The moment after each event, and all lives in order of birth.
///
/// Every event is a tick. So is an end, or an owner's giving back, that no event tells: one tick
/// changes one block at most.
pub(super) fn follow<'a>(
    timeline: &'a Timeline<'_>,
    has_end: bool,
    clock: &mut Clock,
) -> (Vec<Moment>, Vec<Life<'a>>) {
    let blocks = timeline.lives();
    let mut untold = timeline.untold().iter().peekable();
    let mut deaths = Vec::with_capacity(untold.len());
    let mut after = Vec::with_capacity(timeline.events().len());
    for (number, event) in (0..).zip(timeline.events()) {
        let is_over = |&&(at, life): &&(u32, u32)| {
            let block = &blocks[life as usize];
            at == number && block.address == event.address && block.born != Some(number)
        };
        // Its address is handed out again: it ended before that.
        if let Some(&(_, life)) = untold.next_if(is_over) {
            deaths.push((life, clock.tick(event.time_us)));
        }
        after.push(clock.tick(event.time_us));
    }
    // Their end was not recorded, but they did not live to see the snapshot.
    deaths.extend(untold.map(|&(_, life)| (life, clock.tick_again())));
    let life = |block| Life::of(block, &after, has_end);
    let mut lives: Vec<Life<'_>> = blocks.iter().map(life).collect();
    for (life, moment) in deaths {
        lives[life as usize].death = Some(moment);
    }
    for life in lives.iter_mut().filter(|life| life.block.always_pending) {
        life.request.get_or_insert_with(|| clock.tick_again());
    }
    lives.sort_by_key(|life| life.birth);
    (after, lives)
}
