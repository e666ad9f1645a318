//! Layers planned together, for chains too long to plan each by itself.

use freeboard_units::Bytes;

use crate::{Chain, Layer, Operation};

/// A chain whose layers are stretches of another's.
pub(super) struct Groups {
    pub(super) chain: Chain,
    /// Layers in each, but for the last one.
    size: usize,
    layers: usize,
}

impl Groups {
    /// Groups of so many layers; `None` where one is larger than a layer can be.
    pub(super) fn new(chain: &Chain, size: usize) -> Option<Self> {
        let mut input = chain.input_bytes();
        let mut grouped = Vec::with_capacity(chain.layers().len().div_ceil(size));
        for layers in chain.layers().chunks(size) {
            let layer = merged(input, layers);
            input = layer.output_bytes;
            grouped.push(layer);
        }
        let layers = chain.layers().len();
        let chain = Chain::new(chain.input_bytes(), grouped).ok()?;
        Some(Self { chain, size, layers })
    }

    /// The operations of the layers that these operations of groups are.
    pub(super) fn expanded(&self, operations: &[Operation]) -> Vec<Operation> {
        let mut expanded = Vec::with_capacity(operations.len() * self.size);
        for operation in operations {
            let first = 1 + (operation.layer() - 1) * self.size;
            let layers = first..=self.layers.min(first + self.size - 1);
            match operation {
                Operation::ForwardKeep { .. } => {
                    expanded.push(Operation::ForwardKeep { layer: first });
                    expanded.extend(layers.skip(1).map(|layer| Operation::ForwardDrop { layer }));
                }
                Operation::ForwardDrop { .. } => {
                    expanded.extend(layers.map(|layer| Operation::ForwardDrop { layer }));
                }
                Operation::ForwardSave { .. } => {
                    expanded.extend(layers.map(|layer| Operation::ForwardSave { layer }));
                }
                // The planners that group do not offload.
                _ => expanded.extend(layers.rev().map(|layer| Operation::Backward { layer })),
            }
        }
        expanded
    }
}

/// Layers as one. What passes make on the way inside counts as extra, as far as it exceeds what is
/// there at the end.
fn merged(input: Bytes, layers: &[Layer]) -> Layer {
    if let [single] = layers {
        return single.clone();
    }
    let output = layers.last().map_or(input, |layer| layer.output_bytes);
    let saved: Bytes = layers.iter().map(|layer| layer.saved_bytes).sum();
    let (mut passing, mut saving, mut backward) = (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO);
    let (mut before, mut until) = (Bytes::ZERO, Bytes::ZERO);
    for layer in layers {
        // The first one's input is somebody else's to hold.
        passing = passing.max(before + layer.output_bytes + layer.forward_extra_bytes);
        until += layer.saved_bytes;
        saving = saving.max(until + layer.forward_extra_bytes);
        let gradients = layer.output_bytes + if before.is_zero() { input } else { before };
        backward = backward.max(until + gradients + layer.backward_extra_bytes);
        before = layer.output_bytes;
    }
    let names = [layers.first(), layers.last()].map(|layer| layer.map_or("", |layer| &layer.name));
    Layer {
        name: names.join(".."),
        forward_time: layers.iter().map(|layer| layer.forward_time).sum(),
        backward_time: layers.iter().map(|layer| layer.backward_time).sum(),
        output_bytes: output,
        saved_bytes: saved,
        forward_extra_bytes: passing.saturating_sub(output).max(saving.saturating_sub(saved)),
        backward_extra_bytes: backward.saturating_sub(saved + output + input),
    }
}
