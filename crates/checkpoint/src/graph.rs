//! [`Graph`]: models that are no chain, made into one by their cut vertices.

use freeboard_units::Bytes;

use crate::{Chain, ChainError, Layer};

/// A model as operations with the operations they read from: residual branches, several paths.
///
/// A chain is made of it where everything flows through one value: the operations between two such
/// values become one layer, which is kept or recomputed as a whole. That never undercounts memory; a
/// graph without such values becomes a single layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
struct Node {
    layer: Layer,
    inputs: Vec<usize>,
}

/// Why a graph is no model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An operation reads from one that is not there.
    #[error("`{name}` reads from operation {input}, and there are {count}")]
    NoSuchInput {
        /// The operation that reads.
        name: String,
        /// What it reads from.
        input: usize,
        /// How many operations there are.
        count: usize,
    },
    /// Operations read from each other.
    #[error("`{name}` reads, over others, from its own result; a step's graph has no cycle")]
    Cycle {
        /// An operation on the cycle.
        name: String,
    },
    /// Nothing leads to the loss, or several results do.
    #[error("{count} results are read by nobody ({names}); a step has one, the loss")]
    Results {
        /// How many.
        count: usize,
        /// Their names.
        names: String,
    },
    /// The layers that came out are no chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Graph {
    /// No operations yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Adds an operation that reads the results of others by their numbers, the first added being 0;
    /// none means that it reads the input of the model. Returns its number.
    pub fn push(&mut self, layer: Layer, inputs: &[usize]) -> usize {
        self.nodes.push(Node { layer, inputs: inputs.to_vec() });
        self.nodes.len() - 1
    }

    /// The chain of this graph, and which operations each of its layers is made of.
    ///
    /// # Errors
    /// [`GraphError`] names the operation: an unknown input, a cycle, no single result; or a cost that
    /// is no number.
    ///
    /// ```
    /// use freeboard_checkpoint::{Graph, Layer};
    /// use freeboard_units::Bytes;
    ///
    /// let layer = |name| Layer {
    ///     output_bytes: Bytes::new(4), saved_bytes: Bytes::new(4), ..Layer::new(name, 1.0, 2.0)
    /// };
    /// let mut graph = Graph::new();
    /// let embed = graph.push(layer("embed"), &[]);
    /// let branch = graph.push(layer("branch"), &[embed]);
    /// let sum = graph.push(layer("add"), &[embed, branch]); // a residual connection
    /// graph.push(layer("loss"), &[sum]);
    /// let (chain, operations) = graph.chain(Bytes::new(4))?;
    /// assert_eq!(operations, [vec![embed], vec![branch, sum], vec![3]]);
    /// assert_eq!(chain.layers()[1].saved_bytes, Bytes::new(8));
    /// # Ok::<(), freeboard_checkpoint::GraphError>(())
    /// ```
    pub fn chain(&self, input_bytes: Bytes) -> Result<(Chain, Vec<Vec<usize>>), GraphError> {
        let order = self.sorted()?;
        let last_use = self.last_uses(&order);
        let mut groups: Vec<Vec<usize>> = vec![Vec::new()];
        // The last place that reads anything made so far, but for the newest value.
        let mut reach = last_use.input;
        for (at, &node) in order.iter().enumerate() {
            if let Some(group) = groups.last_mut() {
                group.push(node);
            }
            if reach <= at && at + 1 < order.len() {
                groups.push(Vec::new());
            }
            reach = reach.max(last_use.nodes[node]);
        }
        let mut input = input_bytes;
        let mut layers = Vec::with_capacity(groups.len());
        for group in &groups {
            // Whatever the sizes, they are looked at as one chain before they are added up.
            let singles = group.iter().map(|&node| self.nodes[node].layer.clone()).collect();
            Chain::new(input, singles)?;
            let layer = self.merged(group);
            input = layer.output_bytes;
            layers.push(layer);
        }
        Ok((Chain::new(input_bytes, layers)?, groups))
    }

    /// The operations in an order in which each comes after what it reads.
    fn sorted(&self) -> Result<Vec<usize>, GraphError> {
        let count = self.nodes.len();
        let mut missing = vec![0; count];
        let mut readers = vec![Vec::new(); count];
        for (number, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                if input >= count {
                    let name = node.layer.name.clone();
                    return Err(GraphError::NoSuchInput { name, input, count });
                }
                missing[number] += 1;
                readers[input].push(number);
            }
        }
        let results: Vec<&str> = (0..count)
            .filter(|&number| readers[number].is_empty())
            .map(|number| self.nodes[number].layer.name.as_str())
            .collect();
        // Depth first, so that a branch is done before the next begins.
        let mut ready: Vec<usize> =
            (0..count).rev().filter(|&number| missing[number] == 0).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(number) = ready.pop() {
            order.push(number);
            for &reader in readers[number].iter().rev() {
                missing[reader] -= 1;
                if missing[reader] == 0 {
                    ready.push(reader);
                }
            }
        }
        if let Some(number) = (0..count).find(|&number| missing[number] > 0) {
            return Err(GraphError::Cycle { name: self.nodes[number].layer.name.clone() });
        }
        if count > 0 && results.len() != 1 {
            return Err(GraphError::Results { count: results.len(), names: results.join(", ") });
        }
        Ok(order)
    }

    /// The place in `order` of the last reader of every result, and of the model's input.
    fn last_uses(&self, order: &[usize]) -> LastUses {
        let mut uses = LastUses { input: 0, nodes: vec![0; self.nodes.len()] };
        for (at, &number) in order.iter().enumerate() {
            let inputs = &self.nodes[number].inputs;
            for &input in inputs {
                uses.nodes[input] = at;
            }
            if inputs.is_empty() {
                uses.input = at;
            }
        }
        uses
    }

    /// These operations as one layer. All results inside count as there together, forward and
    /// backward: more than is needed, never less.
    fn merged(&self, group: &[usize]) -> Layer {
        let layers: Vec<&Layer> = group.iter().map(|&number| &self.nodes[number].layer).collect();
        let output = layers.last().map_or(Bytes::ZERO, |layer| layer.output_bytes);
        let outputs: Bytes = layers.iter().map(|layer| layer.output_bytes).sum();
        let inner = outputs.saturating_sub(output);
        let most = |get: fn(&Layer) -> Bytes| {
            layers.iter().map(|layer| get(layer)).max().unwrap_or_default()
        };
        Layer {
            name: layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join("+"),
            forward_time: layers.iter().map(|layer| layer.forward_time).sum(),
            backward_time: layers.iter().map(|layer| layer.backward_time).sum(),
            output_bytes: output,
            saved_bytes: layers.iter().map(|layer| layer.saved_bytes).sum(),
            forward_extra_bytes: inner.saturating_add(most(|layer| layer.forward_extra_bytes)),
            backward_extra_bytes: inner.saturating_add(most(|layer| layer.backward_extra_bytes)),
        }
    }
}

struct LastUses {
    input: usize,
    nodes: Vec<usize>,
}
