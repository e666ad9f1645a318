//! [`Model`]: a network in memory: tensors with holders, parameters, gradients, optimizer states.

use freeboard_units::Bytes;

use crate::trace::{Id, Trace, TraceBuilder};

/// The stream that computes.
pub(super) const COMPUTE: u16 = 0;

/// The workspace that the matrix library takes at its first call and keeps.
const MATRIX_WORKSPACE: Bytes = Bytes::kib(8320);

/// Memory with holders: it is freed when the last one lets go, as tensors are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tensor {
    id: Id,
    size: Bytes,
}

impl Tensor {
    pub(super) const fn size(self) -> Bytes {
        self.size
    }
}

/// A parameter of a [`Model`], by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight(usize);

/// How parameters are updated, which decides what is allocated for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Optimizer {
    /// `AdamW` over lists of tensors: two states per parameter, a temporary copy of all at once.
    AdamList,
    /// `AdamW` parameter by parameter: two states, two temporaries for one parameter at a time.
    AdamEach,
    /// Gradient descent with momentum over lists: one state per parameter.
    Momentum,
}

#[derive(Debug)]
struct Parameter {
    size: Bytes,
    gradient: Option<Tensor>,
    states: Vec<Tensor>,
}

/// A network in memory and the trace it leaves.
#[derive(Debug, Default)]
pub(super) struct Model {
    trace: TraceBuilder,
    /// By id: how many hold it; zero once it is freed.
    holders: Vec<u32>,
    parameters: Vec<Parameter>,
}

/// Tensors and the trace.
impl Model {
    /// An empty one; `about` becomes the comment on top of the trace.
    pub(super) fn new(about: &str) -> Self {
        let mut model = Self::default();
        model.trace.comment(about);
        model
    }

    /// A new tensor of the computing stream, with one holder.
    pub(super) fn get(&mut self, size: Bytes) -> Tensor {
        self.get_on(size, COMPUTE)
    }

    /// A new tensor of a stream, with one holder.
    pub(super) fn get_on(&mut self, size: Bytes, stream: u16) -> Tensor {
        let id = self.trace.alloc(size, stream);
        self.holders.push(1);
        Tensor { id, size }
    }

    /// New tensors of the computing stream.
    pub(super) fn get_all(&mut self, sizes: &[Bytes]) -> Vec<Tensor> {
        sizes.iter().map(|&size| self.get(size)).collect()
    }

    /// Adds a holder.
    pub(super) fn hold(&mut self, tensor: Tensor) -> Tensor {
        self.holders[tensor.id.get() as usize] += 1;
        tensor
    }

    /// Takes a holder away; the last one frees.
    pub(super) fn drop(&mut self, tensor: Tensor) {
        let holders = &mut self.holders[tensor.id.get() as usize];
        *holders -= 1;
        if *holders == 0 {
            self.trace.free(tensor.id);
        }
    }

    pub(super) fn drop_all(&mut self, tensors: impl IntoIterator<Item = Tensor>) {
        for tensor in tensors {
            self.drop(tensor);
        }
    }

    /// Memory for the length of one kernel.
    pub(super) fn scratch(&mut self, size: Bytes) {
        let tensor = self.get(size);
        self.drop(tensor);
    }

    /// Lets go of `old` for a new tensor, allocated while the old one is still there.
    pub(super) fn replace(&mut self, old: Tensor, size: Bytes) -> Tensor {
        let new = self.get(size);
        self.drop(old);
        new
    }

    /// Notes that another stream uses the tensor.
    pub(super) fn record(&mut self, tensor: Tensor, stream: u16) {
        self.trace.record(tensor.id, stream);
    }

    pub(super) fn step(&mut self, text: &str) {
        self.trace.step(text);
    }

    pub(super) fn comment(&mut self, text: &str) {
        self.trace.comment(text);
    }

    /// The trace; [`super::Workload::trace`] names it.
    pub(super) fn finish(self) -> Trace {
        self.trace.finish("")
    }
}

/// Parameters.
impl Model {
    /// A parameter that is trained, in memory from here on.
    pub(super) fn weight(&mut self, size: Bytes) -> Weight {
        self.get(size);
        self.sharded_weight(size)
    }

    /// A parameter whose full value is in memory only while it is gathered.
    pub(super) fn sharded_weight(&mut self, size: Bytes) -> Weight {
        self.parameters.push(Parameter { size, gradient: None, states: Vec::new() });
        Weight(self.parameters.len() - 1)
    }

    /// Memory that stays and is not trained: a frozen weight, a table, running statistics.
    pub(super) fn resident(&mut self, size: Bytes) {
        self.get(size);
    }

    /// What the libraries keep from their first use on.
    pub(super) fn workspaces(&mut self) {
        self.resident(MATRIX_WORKSPACE);
    }

    pub(super) fn size_of(&self, weight: Weight) -> Bytes {
        self.parameters[weight.0].size
    }

    /// A gradient arrives: it is kept, or added to the one there is and dropped.
    pub(super) fn accumulate(&mut self, weight: Weight) {
        let size = self.size_of(weight);
        let arrived = self.get(size);
        let gradient = &mut self.parameters[weight.0].gradient;
        if gradient.is_none() {
            *gradient = Some(arrived);
        } else {
            self.drop(arrived);
        }
    }

    /// Takes the gradient out of a parameter, as reducing it over devices does.
    pub(super) fn take_gradient(&mut self, weight: Weight) -> Option<Tensor> {
        self.parameters[weight.0].gradient.take()
    }

    /// Gives a parameter its gradient, as reduced over devices.
    pub(super) fn set_gradient(&mut self, weight: Weight, gradient: Tensor) {
        self.parameters[weight.0].gradient = Some(gradient);
    }

    /// The norm of all gradients: one number each, then their sum.
    pub(super) fn clip_gradients(&mut self) {
        let count = self.with_gradient().len() as u64;
        let norms: Vec<_> = (0..count).map(|_| self.get(super::bytes::float(1))).collect();
        let stacked = self.get(super::bytes::float(count.max(1)));
        let total = self.get(super::bytes::float(1));
        self.drop(stacked);
        self.drop_all(norms);
        self.scratch(super::bytes::float(1));
        self.drop(total);
    }

    /// Updates the parameters that have a gradient, then drops the gradients.
    pub(super) fn update(&mut self, optimizer: Optimizer) {
        let updated = self.with_gradient();
        let states = match optimizer {
            Optimizer::AdamList | Optimizer::AdamEach => 2,
            Optimizer::Momentum => 1,
        };
        for &index in &updated {
            self.ensure_states(index, states);
        }
        match optimizer {
            Optimizer::AdamList => {
                let sizes: Vec<_> = updated.iter().map(|&at| self.state_size(at)).collect();
                let roots = self.get_all(&sizes);
                self.drop_all(roots);
            }
            Optimizer::AdamEach => {
                for &index in &updated {
                    let root = self.get(self.state_size(index));
                    let denominator = self.replace(root, root.size());
                    self.drop(denominator);
                }
            }
            Optimizer::Momentum => {}
        }
        for index in updated {
            if let Some(gradient) = self.parameters[index].gradient.take() {
                self.drop(gradient);
            }
        }
    }

    fn with_gradient(&self) -> Vec<usize> {
        let parameters = self.parameters.iter().enumerate();
        parameters.filter(|(_, it)| it.gradient.is_some()).map(|(index, _)| index).collect()
    }

    /// States have the size of the gradient: the parameter's own, or that of its shard.
    fn state_size(&self, index: usize) -> Bytes {
        let parameter = &self.parameters[index];
        parameter.gradient.map_or(parameter.size, Tensor::size)
    }

    fn ensure_states(&mut self, index: usize, count: usize) {
        while self.parameters[index].states.len() < count {
            let state = self.get(self.state_size(index));
            self.parameters[index].states.push(state);
        }
    }
}
