//! [`Tape`]: a pass through a network that remembers what its way back needs.
//!
//! Values flow from kernel to kernel as a bundle of tensors. A [`Kernel`] allocates its results,
//! then its inputs lose a holder; what the backward pass needs keeps them alive. The way back
//! visits the kernels in reverse: gradients of inputs and weights are allocated, then the saved
//! tensors and the incoming gradients go. A value that is used twice is forked, joined by addition
//! later, and its two gradients are added on the way back.

use freeboard_units::Bytes;

use super::model::{Model, Tensor, Weight};

/// One kernel, or a few that act as one: what it makes, what it needs, what it keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kernel<'k> {
    outputs: &'k [Bytes],
    weights: &'k [Weight],
    extras: &'k [Bytes],
    workspace: Bytes,
    keeps_inputs: bool,
    keeps_outputs: bool,
}

impl<'k> Kernel<'k> {
    /// A kernel that makes tensors of these sizes and keeps nothing.
    pub(super) fn to(outputs: &'k [Bytes]) -> Self {
        Self { outputs, ..Self::default() }
    }

    /// With parameters, whose gradients its way back computes.
    pub(super) fn weights(self, weights: &'k [Weight]) -> Self {
        Self { weights, ..self }
    }

    /// With further tensors saved for the way back: masks, statistics, indices.
    pub(super) fn saves(self, extras: &'k [Bytes]) -> Self {
        Self { extras, ..self }
    }

    /// With memory for its own use, both on the way there and back.
    pub(super) fn workspace(self, workspace: Bytes) -> Self {
        Self { workspace, ..self }
    }

    /// The way back needs its inputs, as for a matrix product.
    pub(super) fn keeps_inputs(self) -> Self {
        Self { keeps_inputs: true, ..self }
    }

    /// The way back needs its outputs, as for a softmax.
    pub(super) fn keeps_outputs(self) -> Self {
        Self { keeps_outputs: true, ..self }
    }
}

#[derive(Debug)]
enum Node {
    Kernel { inputs: Vec<Bytes>, weights: Vec<Weight>, saved: Vec<Tensor>, workspace: Bytes },
    Fork { size: Bytes },
    Swap,
    Join,
}

/// What a pass does with that its way back needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Keep it.
    Train,
    /// There is no way back: drop it, as without gradients or before a recomputation.
    Forget,
}

/// A pass through a network.
#[derive(Debug)]
pub(super) struct Tape {
    mode: Mode,
    nodes: Vec<Node>,
    values: Vec<Tensor>,
    held: Vec<Tensor>,
}

impl Tape {
    /// A pass that starts from these tensors and takes over their holders.
    pub(super) fn new(mode: Mode, values: Vec<Tensor>) -> Self {
        Self { mode, nodes: Vec::new(), values, held: Vec::new() }
    }

    /// Runs a kernel on the current values.
    pub(super) fn run(&mut self, model: &mut Model, kernel: Kernel<'_>) {
        let workspace = (!kernel.workspace.is_zero()).then(|| model.get(kernel.workspace));
        let outputs = model.get_all(kernel.outputs);
        let mut saved = model.get_all(kernel.extras);
        model.drop_all(workspace);
        let inputs = std::mem::replace(&mut self.values, outputs);
        if self.mode == Mode::Train {
            let kept_inputs = inputs.iter().filter(|_| kernel.keeps_inputs);
            let kept_outputs = self.values.iter().filter(|_| kernel.keeps_outputs);
            saved.extend(kept_inputs.chain(kept_outputs).map(|&it| model.hold(it)));
            self.nodes.push(Node::Kernel {
                inputs: inputs.iter().map(|input| input.size()).collect(),
                weights: kernel.weights.to_vec(),
                saved,
                workspace: kernel.workspace,
            });
        } else {
            model.drop_all(saved);
        }
        model.drop_all(inputs);
    }

    /// Keeps the current value aside too, for a later [`Tape::join`].
    pub(super) fn fork(&mut self, model: &mut Model) {
        let value = self.value();
        self.held.push(model.hold(value));
        self.note(Node::Fork { size: value.size() });
    }

    /// Goes on with the value set aside and sets the current one aside.
    pub(super) fn swap(&mut self) {
        let value = self.value();
        let held = self.held.last_mut().expect("a fork came before");
        self.values = vec![std::mem::replace(held, value)];
        self.note(Node::Swap);
    }

    /// Adds the value set aside to the current one, into a new tensor.
    pub(super) fn join(&mut self, model: &mut Model) {
        let (value, held) = (self.value(), self.held.pop().expect("a fork came before"));
        self.values = vec![model.get(value.size())];
        model.drop(value);
        model.drop(held);
        self.note(Node::Join);
    }

    /// The one current value; its holder stays with the tape.
    pub(super) fn value(&self) -> Tensor {
        assert_eq!(self.values.len(), 1, "one value flows here");
        self.values[0]
    }

    /// Takes the current value out, with its holder; the way back starts with a gradient for it.
    pub(super) fn take_value(&mut self) -> Tensor {
        let value = self.value();
        self.values.clear();
        value
    }

    /// Goes back with a gradient for the last value; returns that for the first, if there was one.
    pub(super) fn backward(mut self, model: &mut Model, gradient: Tensor) -> Option<Tensor> {
        model.drop_all(self.values.drain(..));
        let mut gradients = vec![gradient];
        let mut held: Vec<Tensor> = Vec::new();
        while let Some(node) = self.nodes.pop() {
            match node {
                Node::Join => held.push(model.hold(gradients[0])),
                Node::Swap => {
                    let other = held.last_mut().expect("a join lies ahead of a swap");
                    std::mem::swap(&mut gradients[0], other);
                }
                Node::Fork { size } => {
                    let other = held.pop().expect("a join lies ahead of a fork");
                    gradients.push(other);
                    let sum = model.get(size);
                    model.drop_all(gradients.drain(..));
                    gradients.push(sum);
                }
                Node::Kernel { inputs, weights, saved, workspace } => {
                    let workspace = (!workspace.is_zero()).then(|| model.get(workspace));
                    let back = model.get_all(&inputs);
                    for weight in weights {
                        model.accumulate(weight);
                    }
                    model.drop_all(workspace);
                    model.drop_all(saved);
                    model.drop_all(std::mem::replace(&mut gradients, back));
                }
            }
        }
        gradients.pop()
    }

    fn note(&mut self, node: Node) {
        if self.mode == Mode::Train {
            self.nodes.push(node);
        }
    }
}

/// The way there through a layer that keeps nothing but its input, of which the caller keeps a
/// holder; returns its output.
pub(super) fn forget(
    model: &mut Model,
    input: Tensor,
    layer: impl FnOnce(&mut Model, &mut Tape),
) -> Tensor {
    let mut tape = Tape::new(Mode::Forget, vec![model.hold(input)]);
    layer(model, &mut tape);
    tape.take_value()
}

/// The way back through such a layer: runs it again, keeping what is needed, then goes back.
/// Takes over the holders of both tensors; returns the gradient of the input.
pub(super) fn recompute(
    model: &mut Model,
    input: Tensor,
    gradient: Tensor,
    layer: impl FnOnce(&mut Model, &mut Tape),
) -> Tensor {
    let mut tape = Tape::new(Mode::Train, vec![input]);
    layer(model, &mut tape);
    tape.backward(model, gradient).expect("a layer has an input")
}
