//! From one step to the next: recognising it, following it, and what ends that.

use freeboard_device::Device;
use freeboard_planning::{Options, Plan, Recorder, Server};
use freeboard_snapshot::Action;
use freeboard_units::{Address, AddressRange};

use super::{FIRST_LOOK, LARGE_RING, PATIENCE, Phase, Planning};
use crate::allocator::CachingAllocator;
use crate::block::BlockId;
use crate::state::State;

impl<D: Device> State<D> {
    /// Does what is due: looks for a repetition, or sets a region aside.
    #[cold]
    pub(crate) fn settle(&mut self) {
        self.steady.due = false;
        match self.steady.phase {
            Phase::Recording => {
                if self.look_for_a_step() {
                    return;
                }
                let Some(recorder) = &self.steady.recorder else { return };
                let next = recorder.next_serial();
                if next >= self.steady.record_until {
                    self.steady.phase = Phase::Idle;
                } else if !self.steady.make_room() {
                    // A quarter more each time: all looks together cost some five times the last.
                    let seen = next - self.steady.recorded_from;
                    self.steady.look_at =
                        next + (seen / 4).clamp(FIRST_LOOK, LARGE_RING as u64 / 4);
                }
            }
            Phase::Following => self.engage(),
            Phase::Idle => {}
        }
    }

    /// Plans the step that was just repeated, if one was.
    fn look_for_a_step(&mut self) -> bool {
        let Some(recorder) = &self.steady.recorder else { return false };
        let Some(repetition) = recorder.repetition() else { return false };
        let Some(plan) = Plan::of(recorder, repetition, &Options::default()) else { return false };
        let position = plan.position_of(recorder.next_serial());
        tracing::debug!(requests = plan.len(), region = %plan.region(), "a step is planned");
        self.note_text(Action::Plan, AddressRange::new(Address::NULL, plan.region()), "made");
        self.steady.counts.note_plan(&plan);
        self.steady.mark = self.steady.is_marked.then_some(position);
        self.steady.fruitless = 0;
        self.steady.plan = Some(plan.clone());
        self.steady.counts.plans += 1;
        self.steady.follow(plan, position);
        true
    }

    /// The program does something else: everything becomes ordinary again.
    #[cold]
    pub(super) fn deviate(&mut self) {
        self.disengage();
        self.steady.counts.deviations += 1;
        // A plan that served a whole step was worth making; the next one is not put off for long.
        if self.steady.server.as_ref().is_some_and(|server| server.counts().rounds > 0) {
            self.steady.setbacks = 0;
        }
        self.steady.set_back();
        if self.steady.is_marked {
            self.steady.record();
        } else {
            // The plan is forgotten; the next driver call begins anew, if it may.
            self.steady.phase = Phase::Idle;
            self.steady.take_server();
        }
    }

    /// A step ends here.
    pub(crate) fn end_step(&mut self) {
        if !self.steady.on {
            return;
        }
        self.steady.is_marked = true;
        self.steady.counts.steps += 1;
        if self.steady.phase == Phase::Following {
            self.steady.mark = self.steady.server.as_ref().map(Server::position);
            return;
        }
        // After a deviation the known step may come again.
        let is_known = self.steady.take_server().is_some();
        if let (true, Some(plan), Some(mark)) =
            (is_known, self.steady.plan.clone(), self.steady.mark)
        {
            return self.steady.follow(plan, mark);
        }
        self.steady.fruitless = (self.steady.fruitless + 1) % (4 * PATIENCE);
        match self.steady.phase {
            _ if self.steady.fruitless >= PATIENCE => self.steady.phase = Phase::Idle,
            Phase::Idle => self.steady.record(),
            _ => {}
        }
        if let (Phase::Recording, Some(recorder)) = (self.steady.phase, &mut self.steady.recorder) {
            recorder.mark_step();
            if !self.look_for_a_step() && self.steady.make_room() {
                self.steady.recorder.as_mut().into_iter().for_each(Recorder::mark_step);
            }
        }
    }

    /// Stops planning for now: a graph is captured, or the program asks for its memory.
    pub(crate) fn pause_planning(&mut self) {
        self.disengage();
        self.steady.phase = Phase::Idle;
        self.steady.due = false;
        self.steady.take_server();
    }
}

impl<D: Device> CachingAllocator<D> {
    /// Marks the end of a training step. Once two steps in a row were the same, the next ones are
    /// planned: served by table, without a search and without driver calls. Without marks the
    /// allocator finds steps by itself, later.
    ///
    /// ```
    /// use freeboard_allocator::{CachingAllocator, Config};
    /// use freeboard_device_sim::SimDevice;
    /// use freeboard_units::{Bytes, StreamId};
    ///
    /// let allocator = CachingAllocator::new(SimDevice::new(Bytes::gib(1)), Config::default())?;
    /// for _ in 0..5 {
    ///     let activations = allocator.allocate(Bytes::mib(30), StreamId::DEFAULT)?;
    ///     let gradients = allocator.allocate(Bytes::mib(20), StreamId::DEFAULT)?;
    ///     drop((activations, gradients));
    ///     allocator.step();
    /// }
    /// assert!(allocator.planning().hits > 0);
    /// # Ok::<(), freeboard_allocator::Error>(())
    /// ```
    pub fn step(&self) {
        let mut state = self.state.lock();
        self.state.slowly(&mut state, State::end_step);
    }

    pub(crate) fn keep(&self, block: BlockId) {
        let mut state = self.state.lock();
        let since = state.blocks[block].free_since;
        state.steady.with_record(since, Recorder::discard);
    }

    /// What planning has done and holds.
    pub fn planning(&self) -> Planning {
        self.state.lock().planning()
    }
}
