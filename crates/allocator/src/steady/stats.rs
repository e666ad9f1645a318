//! [`Planning`]: what planning has done and holds.

use freeboard_device::Device;
use freeboard_planning::{Lifetimes, Plan, Server};
use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use super::{RING, Steady};
use crate::state::State;

/// Bytes of one record.
const RECORD: usize = 32;

/// What planning has done so far, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Planning {
    /// Steps that were marked.
    pub steps: u64,
    /// Steps that were planned.
    pub plans: u64,
    /// Requests in the step planned last.
    pub requests: u64,
    /// Requests of that step that are served as always: their blocks outlive the step, or there is
    /// no room for them in the region.
    pub elsewhere: u64,
    /// Bytes set aside for it now; zero while it is not being served from the plan.
    pub region_bytes: Bytes,
    /// The blocks of that step by how long they live.
    pub lifetimes: Lifetimes,
    /// Requests served from a plan.
    pub hits: u64,
    /// Requests that have a place in the plan, but it was not free.
    pub misses: u64,
    /// Requests that were not the planned ones.
    pub deviations: u64,
    /// Steps served from a plan from beginning to end.
    pub rounds: u64,
    /// Times no memory was set aside for a plan, because that would have taken more than the
    /// reserve target allows, or the device failed.
    pub refused: u64,
}

impl Planning {
    pub(super) fn note_plan(&mut self, plan: &Plan) {
        self.elsewhere = plan.unplanned() as u64;
        self.requests = plan.len() as u64;
        self.lifetimes = plan.lifetimes();
    }

    /// Takes over what a server has counted; it begins anew with the next plan.
    pub(super) fn take_from(&mut self, server: &Server) {
        let counts = server.counts();
        self.hits += counts.hits;
        self.misses += counts.misses;
        self.rounds += counts.rounds;
    }
}

impl Steady {
    /// Host memory that records and plans take, about; blocks are counted elsewhere.
    pub(crate) fn bytes(&self) -> usize {
        let recorder = if self.recorder.is_some() { RING * RECORD } else { 0 };
        let entries = self.plan.as_ref().map_or(0, Plan::len);
        // A plan has 24 bytes for an entry and some for its predecessors; it is held twice, once with
        // a state and a place for each entry.
        recorder + entries * 80
    }
}

impl<D: Device> State<D> {
    pub(crate) fn planning(&self) -> Planning {
        let mut counts = self.steady.counts;
        if let Some(server) = &self.steady.server {
            counts.take_from(server);
        }
        counts
    }
}
