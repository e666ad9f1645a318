//! Where in the snapshot a value belongs, told from the stack: `.device_traces[0][12]`.

use std::fmt::Write as _;

use super::builder::Builder;
use super::value::{Data, Value};

/// The path of the top of the stack, for errors.
///
/// Between a container and its values lies a mark, unless a value is added alone. A container that
/// is being filled is the last value before a mark, or the value before last of a part.
pub(super) fn path(stack: &[Value], marks: &[usize], builder: &Builder) -> String {
    let mut path = String::new();
    let inner = marks.iter().copied().filter(|&mark| mark > 0 && mark <= stack.len());
    let mut inner = inner.peekable();
    let mut container = None;
    let mut start = 0;
    loop {
        let end = inner.next().unwrap_or(stack.len());
        let is_marked = start > 0;
        container = part(&mut path, container, &stack[start..end], is_marked, builder);
        if end == stack.len() {
            return path;
        }
        start = end;
    }
}

/// Adds the steps of one part of the stack; returns the container it ends with.
fn part(
    path: &mut String,
    mut container: Option<Data>,
    mut values: &[Value],
    mut is_marked: bool,
    builder: &Builder,
) -> Option<Data> {
    loop {
        let step = match container {
            Some(Data::Dict(_)) => {
                // Keys and values in turn; the last pair is the one at work. Where a value stands
                // for a key, the value before it is being filled.
                let pairs = values.chunks(2).take_while(|pair| is_text(pair[0]));
                let complete = if is_marked { pairs.count() } else { 1 };
                let last = complete.checked_sub(1)?;
                let key = values.get(2 * last)?;
                if let Data::Text(number) = key.data {
                    _ = write!(path, ".{}", builder.texts.get(number));
                }
                2 * last + 1
            }
            Some(Data::List(handle)) => {
                let before = builder.lists.view(handle).map_or(0, super::objects::List::len);
                let last = values.len().checked_sub(1)?;
                let last = if is_marked { last } else { 0 };
                _ = write!(path, "[{}]", before + last);
                last
            }
            _ => 0,
        };
        container = values.get(step).map(|value| value.data);
        let Some(rest) = values.get(step + 1..).filter(|rest| !rest.is_empty()) else {
            return container;
        };
        (values, is_marked) = (rest, false);
    }
}

fn is_text(value: Value) -> bool {
    matches!(value.data, Data::Text(_))
}
