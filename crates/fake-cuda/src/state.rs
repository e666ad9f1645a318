//! All that the driver knows, behind one lock, and the door through which every call comes in.

use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;

use crate::memory::Memory;
use crate::streams::Streams;

/// A call's outcome: nothing, or the code to answer.
pub(crate) type Answer<T = ()> = Result<T, u32>;

pub(crate) const INVALID_VALUE: u32 = 1;
pub(crate) const OUT_OF_MEMORY: u32 = 2;
pub(crate) const NOT_INITIALIZED: u32 = 3;
pub(crate) const INVALID_DEVICE: u32 = 101;
pub(crate) const INVALID_CONTEXT: u32 = 201;
pub(crate) const INVALID_HANDLE: u32 = 400;
pub(crate) const NOT_FOUND: u32 = 500;
pub(crate) const NOT_READY: u32 = 600;
pub(crate) const ILLEGAL_ADDRESS: u32 = 700;
pub(crate) const CAPTURE_UNSUPPORTED: u32 = 900;
pub(crate) const CAPTURED_EVENT: u32 = 907;

/// A plan to fail: which calls, and how.
pub(crate) struct Failure {
    /// Every call where there is no name.
    pub(crate) name: Option<String>,
    /// Matching calls until the first that fails, then until the last.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) code: u32,
    pub(crate) seen: u64,
}

/// One device.
pub(crate) struct Gpu {
    pub(crate) retained: u64,
    pub(crate) attributes: HashMap<i32, i32>,
}

impl Gpu {
    fn new() -> Self {
        // Compute capability 9.0, 132 multiprocessors, warps of 32, virtual memory, file
        // descriptors for it, memory pools, unified addresses.
        let known = [
            (75, 9),
            (76, 0),
            (16, 132),
            (10, 32),
            (1, 1024),
            (102, 1),
            (103, 1),
            (115, 1),
            (41, 1),
        ];
        Self { retained: 0, attributes: known.into() }
    }
}

pub(crate) struct State {
    pub(crate) initialized: bool,
    pub(crate) version: i32,
    pub(crate) peers: bool,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) memory: Memory,
    pub(crate) streams: Streams,
    /// Their texts; none when they are unloaded.
    pub(crate) modules: Vec<Option<String>>,
    pub(crate) calls: HashMap<&'static str, u64>,
    pub(crate) total_calls: u64,
    pub(crate) failures: Vec<Failure>,
    pub(crate) failures_hit: u64,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| Mutex::new(State::new()));
/// Contexts are addresses in here, so that they differ from those of another copy.
static CONTEXTS: [u64; 64] = [0; 64];

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl State {
    fn new() -> Self {
        let devices = setting("FREEBOARD_FAKE_CUDA_DEVICES").unwrap_or(1);
        let capacity = setting("FREEBOARD_FAKE_CUDA_MIB").unwrap_or(16 * 1024) << 20;
        let mut state = Self {
            initialized: false,
            version: 13_000,
            peers: true,
            gpus: Vec::new(),
            memory: Memory::new(capacity),
            streams: Streams::default(),
            modules: Vec::new(),
            calls: HashMap::new(),
            total_calls: 0,
            failures: Vec::new(),
            failures_hit: 0,
        };
        state.set_devices(usize::try_from(devices).unwrap_or(1));
        state
    }

    pub(crate) fn set_devices(&mut self, count: usize) {
        self.gpus.resize_with(count.min(CONTEXTS.len()), Gpu::new);
    }

    pub(crate) fn gpu(&mut self, device: i32) -> Answer<&mut Gpu> {
        let index = usize::try_from(device).map_err(|_| INVALID_DEVICE)?;
        self.gpus.get_mut(index).ok_or(INVALID_DEVICE)
    }

    /// The device whose primary context this is, if somebody holds it.
    pub(crate) fn device_of(&self, context: usize) -> Answer<i32> {
        let found = (0..self.gpus.len()).find(|&index| context_of(index) == context);
        let index = found.filter(|&index| self.gpus[index].retained > 0).ok_or(INVALID_CONTEXT)?;
        i32::try_from(index).map_err(|_| INVALID_CONTEXT)
    }

    /// What becomes of a call before it does anything.
    fn admit(&mut self, name: &'static str) -> Answer {
        self.total_calls += 1;
        *self.calls.entry(name).or_default() += 1;
        let mut answer = Ok(());
        for failure in &mut self.failures {
            if failure.name.as_deref().is_none_or(|wanted| wanted == name) {
                failure.seen += 1;
                if (failure.first..=failure.last).contains(&failure.seen) && answer.is_ok() {
                    answer = Err(failure.code);
                    self.failures_hit += 1;
                }
            }
        }
        let before_init = ["cuInit", "cuDriverGetVersion", "cuGetErrorName", "cuGetErrorString"];
        if answer.is_ok() && !self.initialized && !before_init.contains(&name) {
            return Err(NOT_INITIALIZED);
        }
        answer
    }
}

/// The handle of a device's primary context.
pub(crate) fn context_of(index: usize) -> usize {
    (&raw const CONTEXTS[index]).addr()
}

/// Runs one driver call and counts it.
pub(crate) fn enter(name: &'static str, call: impl FnOnce(&mut State) -> Answer) -> u32 {
    let mut state = STATE.lock();
    let answer = state.admit(name).and_then(|()| call(&mut state));
    answer.err().unwrap_or(0)
}

/// Looks at the state or steers it; not a driver call.
pub(crate) fn steer<T>(look: impl FnOnce(&mut State) -> T) -> T {
    look(&mut STATE.lock())
}
