//! From decisions to operations.

use crate::Operation;

/// How a stretch s..t of more than one layer is processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Save s, then s+1..t, then s backward.
    Save,
    /// Run forward from s and keep the input of this layer; then from it to t, then what was left.
    KeepInputOf(usize),
}

/// One thing still to do.
enum Work<R> {
    Stretch { s: usize, t: usize, room: R },
    Operation(Operation),
}

/// The operations for layers 1 to `layers`. `choose` decides for a stretch in the room it has, and
/// says what room the two parts get: the one up to t, and the one from s.
pub(crate) fn unfold<R: Copy>(
    layers: usize,
    room: R,
    mut choose: impl FnMut(usize, usize, R) -> (Choice, R, R),
) -> Vec<Operation> {
    let mut operations = Vec::with_capacity(3 * layers);
    let mut stack = vec![Work::Stretch { s: 1, t: layers, room }];
    while let Some(work) = stack.pop() {
        let (s, t, room) = match work {
            Work::Operation(operation) => {
                operations.push(operation);
                continue;
            }
            Work::Stretch { s, t, room } => (s, t, room),
        };
        if s == t {
            operations.push(Operation::ForwardSave { layer: s });
            operations.push(Operation::Backward { layer: s });
            continue;
        }
        match choose(s, t, room) {
            (Choice::Save, upper, _) => {
                operations.push(Operation::ForwardSave { layer: s });
                stack.push(Work::Operation(Operation::Backward { layer: s }));
                stack.push(Work::Stretch { s: s + 1, t, room: upper });
            }
            (Choice::KeepInputOf(j), upper, lower) => {
                operations.push(Operation::ForwardKeep { layer: s });
                operations.extend((s + 1..j).map(|layer| Operation::ForwardDrop { layer }));
                stack.push(Work::Stretch { s, t: j - 1, room: lower });
                stack.push(Work::Stretch { s: j, t, room: upper });
            }
        }
    }
    operations
}
