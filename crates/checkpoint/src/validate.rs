//! [`check`]: a plan run step by step by the rules of [`Operation`], with its true peak and time.

use freeboard_units::Bytes;

use crate::link::{Link, Links};
use crate::{Chain, Operation, Plan, Stored};

/// What running a plan takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The most device memory in use at once: during an operation that is everything stored before
    /// it, what it makes, and its extra bytes.
    pub peak_bytes: Bytes,
    /// Which operation needs that first, from 0.
    pub peak_at: usize,
    /// The most host memory in use at once.
    pub host_bytes: Bytes,
    /// The time of all operations and of waiting for copies.
    pub total_time: f64,
    /// How much of it is waiting for copies.
    pub waiting_time: f64,
    /// How often each layer runs forward, layer 1 first.
    pub forward_runs: Vec<u32>,
    /// The device memory in use during each operation.
    pub bytes_during: Vec<Bytes>,
    /// When each operation is done, waiting included.
    pub done_at: Vec<f64>,
}

/// Why a plan cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {number} ({operation:?}): {reason}")]
pub struct InvalidPlan {
    /// Which operation, from 0; past the last one where the plan ends too early.
    pub number: usize,
    /// The operation, if there is one.
    pub operation: Option<Operation>,
    /// What is wrong, in words.
    pub reason: String,
}

/// Runs `operations` on `chain`, with copies to the host over `link`.
///
/// # Errors
/// [`InvalidPlan`] names the first operation that needs what is not there, or says that the plan ends
/// before the gradient of the input is made.
///
/// ```
/// use freeboard_checkpoint::{check, keep_all, Chain, Layer, Link};
/// use freeboard_units::Bytes;
///
/// let layer = Layer { output_bytes: Bytes::new(4), saved_bytes: Bytes::new(9), ..Layer::new("a", 1.0, 2.0) };
/// let chain = Chain::new(Bytes::new(4), vec![layer; 3])?;
/// let checked = check(&chain, &keep_all(&chain).operations, Link::NONE)?;
/// assert_eq!(checked.peak_bytes, Bytes::new(4 + 3 * 9 + 4 + 4));
/// assert_eq!(checked.total_time, 9.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(chain: &Chain, operations: &[Operation], link: Link) -> Result<Checked, InvalidPlan> {
    let mut run = Run::new(chain, link);
    for (number, &operation) in operations.iter().enumerate() {
        run.step(operation).map_err(|reason| InvalidPlan {
            number,
            operation: Some(operation),
            reason,
        })?;
    }
    if !run.gradient[0] {
        let reason = "the plan ends before the gradient of the input is made".into();
        return Err(InvalidPlan { number: operations.len(), operation: None, reason });
    }
    // Added up by layer, a plan that runs nothing twice takes the ideal time to the last bit.
    let runs = run.checked.forward_runs.iter().zip(&run.backward_runs);
    let running: f64 = chain
        .layers()
        .iter()
        .zip(runs)
        .map(|(layer, (&forward, &backward))| {
            f64::from(forward) * layer.forward_time + f64::from(backward) * layer.backward_time
        })
        .sum();
    run.checked.total_time = running + run.checked.waiting_time;
    Ok(run.checked)
}

impl Plan {
    /// The plan that these operations are, with the figures [`check`] finds.
    ///
    /// # Errors
    /// [`InvalidPlan`], as [`check`].
    pub fn new(chain: &Chain, operations: Vec<Operation>, link: Link) -> Result<Self, InvalidPlan> {
        let checked = check(chain, &operations, link)?;
        Ok(Self {
            peak_bytes: checked.peak_bytes,
            total_time: checked.total_time,
            ideal_time: chain.ideal_time(),
            host_bytes: checked.host_bytes,
            operations,
        })
    }
}

/// Where a stored value is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nowhere,
    Device,
    /// On the device, and a copy to the host is under way.
    Leaving {
        done: f64,
    },
    Host,
    /// Device memory is taken, and a copy from the host is under way.
    Coming {
        done: f64,
    },
}

impl Place {
    const fn readable(self) -> bool {
        matches!(self, Self::Device | Self::Leaving { .. })
    }
}

/// The state between two operations.
struct Run<'a> {
    chain: &'a Chain,
    /// a(i), plain, at i.
    plain: Vec<Place>,
    /// saved(i) at i.
    saved: Vec<Place>,
    /// Whether the gradient of a(i) is there, at i.
    gradient: Vec<bool>,
    stored: u64,
    on_host: u64,
    now: f64,
    links: Links,
    backward_runs: Vec<u32>,
    checked: Checked,
}

impl<'a> Run<'a> {
    fn new(chain: &'a Chain, link: Link) -> Self {
        let layers = chain.layers().len();
        let mut plain = vec![Place::Nowhere; layers + 1];
        plain[0] = Place::Device;
        let stored = chain.input_bytes();
        let checked = Checked {
            peak_bytes: stored,
            peak_at: 0,
            host_bytes: Bytes::ZERO,
            total_time: 0.0,
            waiting_time: 0.0,
            forward_runs: vec![0; layers],
            bytes_during: Vec::new(),
            done_at: Vec::new(),
        };
        Self {
            chain,
            plain,
            saved: vec![Place::Nowhere; layers + 1],
            gradient: vec![false; layers + 1],
            stored: stored.get(),
            on_host: 0,
            now: 0.0,
            links: Links::new(link),
            backward_runs: vec![0; layers],
            checked,
        }
    }

    fn step(&mut self, operation: Operation) -> Result<(), String> {
        let layers = self.chain.layers().len();
        let number = operation.layer();
        if number == 0 || number > layers {
            return Err(format!("there is no layer {number}; layers are 1 to {layers}"));
        }
        match operation {
            Operation::ForwardDrop { layer } => self.forward(layer, true)?,
            Operation::ForwardKeep { layer } => self.forward(layer, false)?,
            Operation::ForwardSave { layer } => self.save(layer)?,
            Operation::Backward { layer } => self.backward(layer)?,
            Operation::Offload { layer, what } => self.offload(layer, what)?,
            Operation::Release { layer, what } => self.release(layer, what)?,
            Operation::Fetch { layer, what } => self.fetch(layer, what)?,
            Operation::Await { layer, what } => self.wait_for(layer, what)?,
        }
        self.checked.done_at.push(self.now);
        Ok(())
    }

    /// During the operation: what was stored, what it makes, and its extra bytes.
    fn during(&mut self, made: u64, extra: u64) {
        let bytes = Bytes::new(self.stored + made + extra);
        if bytes > self.checked.peak_bytes {
            self.checked.peak_bytes = bytes;
            self.checked.peak_at = self.checked.bytes_during.len();
        }
        self.checked.bytes_during.push(bytes);
        self.stored += made;
    }

    fn size(&self, index: usize) -> u64 {
        self.chain.activation_bytes(index).get()
    }

    /// That the input of `layer` can be read.
    fn needs_input(&self, layer: usize) -> Result<(), String> {
        let input = layer - 1;
        if self.plain[input].readable() || self.saved[input].readable() {
            return Ok(());
        }
        Err(format!("a({input}) is not on the device, neither plain nor inside saved({input})"))
    }

    fn ran_forward(&mut self, layer: usize) {
        self.checked.forward_runs[layer - 1] += 1;
        self.now += self.chain.layers()[layer - 1].forward_time;
    }

    fn forward(&mut self, layer: usize, drop: bool) -> Result<(), String> {
        self.needs_input(layer)?;
        if self.plain[layer] != Place::Nowhere {
            return Err(format!("a({layer}) is stored already"));
        }
        let extra = self.chain.layers()[layer - 1].forward_extra_bytes.get();
        self.during(self.size(layer), extra);
        self.plain[layer] = Place::Device;
        if drop {
            self.forget_plain(layer - 1)?;
        }
        self.ran_forward(layer);
        Ok(())
    }

    fn save(&mut self, layer: usize) -> Result<(), String> {
        self.needs_input(layer)?;
        if self.saved[layer] != Place::Nowhere {
            return Err(format!("saved({layer}) is stored already"));
        }
        let described = &self.chain.layers()[layer - 1];
        let last = layer == self.chain.layers().len();
        // The gradient of the last output is there as soon as that output is.
        let gradient = if last { described.output_bytes.get() } else { 0 };
        let extra = described.forward_extra_bytes.get();
        self.during(described.saved_bytes.get() + gradient, extra);
        self.gradient[layer] |= last;
        self.saved[layer] = Place::Device;
        self.ran_forward(layer);
        Ok(())
    }

    fn backward(&mut self, layer: usize) -> Result<(), String> {
        self.needs_input(layer)?;
        if !self.saved[layer].readable() {
            return Err(format!("saved({layer}) is not on the device"));
        }
        if !self.gradient[layer] {
            return Err(format!("the gradient of a({layer}) is not there"));
        }
        let described = &self.chain.layers()[layer - 1];
        self.during(self.size(layer - 1), described.backward_extra_bytes.get());
        self.gradient[layer - 1] = true;
        self.gradient[layer] = false;
        self.stored -= self.size(layer);
        if matches!(self.saved[layer], Place::Leaving { .. }) {
            return Err(format!("saved({layer}) is still being copied to the host"));
        }
        self.saved[layer] = Place::Nowhere;
        self.stored -= described.saved_bytes.get();
        self.forget_plain(layer - 1)?;
        self.backward_runs[layer - 1] += 1;
        self.now += described.backward_time;
        Ok(())
    }

    fn forget_plain(&mut self, index: usize) -> Result<(), String> {
        match self.plain[index] {
            Place::Leaving { .. } => {
                return Err(format!("a({index}) is still being copied to the host"));
            }
            Place::Device => self.stored -= self.size(index),
            Place::Nowhere | Place::Host | Place::Coming { .. } => return Ok(()),
        }
        self.plain[index] = Place::Nowhere;
        Ok(())
    }

    fn wait_until(&mut self, done: f64) {
        let wait = (done - self.now).max(0.0);
        self.checked.waiting_time += wait;
        self.now += wait;
    }

    /// The place of what is stored, its size and its name.
    fn stored(&mut self, layer: usize, what: Stored) -> (&mut Place, u64, String) {
        match what {
            Stored::Input => {
                let size = self.size(layer - 1);
                (&mut self.plain[layer - 1], size, format!("a({})", layer - 1))
            }
            Stored::Saved => {
                let size = self.chain.layers()[layer - 1].saved_bytes.get();
                (&mut self.saved[layer], size, format!("saved({layer})"))
            }
        }
    }

    fn offload(&mut self, layer: usize, what: Stored) -> Result<(), String> {
        let (now, mut links) = (self.now, self.links);
        let (place, size, name) = self.stored(layer, what);
        if *place != Place::Device {
            return Err(format!("{name} is not on the device"));
        }
        let done = links.copy_out(now, size);
        *place = Place::Leaving { done };
        self.links = links;
        self.on_host += size;
        self.checked.host_bytes = self.checked.host_bytes.max(Bytes::new(self.on_host));
        self.during(0, 0);
        Ok(())
    }

    fn release(&mut self, layer: usize, what: Stored) -> Result<(), String> {
        let (place, size, name) = self.stored(layer, what);
        let Place::Leaving { done } = *place else {
            return Err(format!("{name} is not being copied to the host"));
        };
        *place = Place::Host;
        self.wait_until(done);
        self.during(0, 0);
        self.stored -= size;
        Ok(())
    }

    fn fetch(&mut self, layer: usize, what: Stored) -> Result<(), String> {
        let (now, mut links) = (self.now, self.links);
        let (place, size, name) = self.stored(layer, what);
        if *place != Place::Host {
            return Err(format!("{name} is not on the host"));
        }
        *place = Place::Coming { done: links.copy_in(now, size) };
        self.links = links;
        self.during(size, 0);
        Ok(())
    }

    fn wait_for(&mut self, layer: usize, what: Stored) -> Result<(), String> {
        let (place, size, name) = self.stored(layer, what);
        let Place::Coming { done } = *place else {
            return Err(format!("{name} is not being copied to the device"));
        };
        *place = Place::Device;
        self.on_host -= size;
        self.wait_until(done);
        self.during(0, 0);
        Ok(())
    }
}
