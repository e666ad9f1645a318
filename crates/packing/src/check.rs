//! [`check`]: whether a packing is one, found out the plain way.

use std::collections::BTreeMap;

use freeboard_units::Bytes;

use crate::Buffer;

/// Why offsets are no packing of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Clash {
    /// Two buffers are live at one time and share an address.
    #[error("buffers {one} and {other} overlap in time and in space")]
    Overlap {
        /// The number of one buffer.
        one: usize,
        /// The number of the other.
        other: usize,
    },
    /// A buffer ends beyond the last address.
    #[error("buffer {buffer} ends beyond the last address")]
    Beyond {
        /// The number of the buffer.
        buffer: usize,
    },
    /// There are not as many offsets as buffers.
    #[error("{offsets} offsets for {buffers} buffers: give one for each")]
    Count {
        /// How many offsets there are.
        offsets: usize,
        /// How many buffers there are.
        buffers: usize,
    },
}

/// Checks that no two buffers that overlap in time overlap in space; returns the height.
///
/// Takes time `n log n`: it walks through time and keeps what is live in order of address.
///
/// # Errors
/// The first pair found to overlap, or the buffer that has no place.
pub fn check(buffers: &[Buffer], offsets: &[Bytes]) -> Result<Bytes, Clash> {
    if buffers.len() != offsets.len() {
        return Err(Clash::Count { offsets: offsets.len(), buffers: buffers.len() });
    }
    let mut events = Vec::with_capacity(2 * buffers.len());
    let mut height = Bytes::ZERO;
    for (number, (buffer, &offset)) in buffers.iter().zip(offsets).enumerate() {
        let end = offset.checked_add(buffer.size).ok_or(Clash::Beyond { buffer: number })?;
        height = height.max(end);
        if !buffer.lifetime.is_empty() && !buffer.size.is_zero() {
            events.push((buffer.lifetime.start, true, number));
            events.push((buffer.lifetime.end, false, number));
        }
    }
    events.sort_unstable();
    let mut live: BTreeMap<Bytes, usize> = BTreeMap::new();
    let end = |number: usize| offsets[number] + buffers[number].size;
    for (_, begins, number) in events {
        let offset = offsets[number];
        if !begins {
            live.remove(&offset);
            continue;
        }
        let below = live.range(..=offset).next_back().filter(|&(_, &other)| end(other) > offset);
        let above = live.range(offset..end(number)).next();
        if let Some((_, &other)) = below.or(above) {
            return Err(Clash::Overlap { one: number.min(other), other: number.max(other) });
        }
        live.insert(offset, number);
    }
    Ok(height)
}
