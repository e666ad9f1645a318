//! [`Buffer`]: what is to be packed, and the bound no packing beats.

use std::ops::Range;

use freeboard_units::Bytes;

/// A piece of memory with a known lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// When it is live, in any unit of time; the end no longer belongs to it.
    pub lifetime: Range<u64>,
    /// How large it is.
    pub size: Bytes,
}

/// The most bytes live at one time, at most [`Bytes::MAX`]; no packing is lower.
///
/// # Examples
/// ```
/// use freeboard_packing::{Buffer, peak_live};
/// use freeboard_units::Bytes;
///
/// let one = Buffer { lifetime: 0..5, size: Bytes::mib(1) };
/// let next = Buffer { lifetime: 5..9, size: Bytes::mib(2) };
/// assert_eq!(peak_live(&[one, next]), Bytes::mib(2));
/// ```
#[must_use]
pub fn peak_live(buffers: &[Buffer]) -> Bytes {
    let mut events = Vec::with_capacity(2 * buffers.len());
    for Buffer { lifetime, size } in buffers.iter().filter(|buffer| !buffer.lifetime.is_empty()) {
        events.push((lifetime.start, true, size.get()));
        events.push((lifetime.end, false, size.get()));
    }
    events.sort_unstable();
    let (mut live, mut peak) = (0_u128, 0);
    for (_, begins, size) in events {
        // Ends sort before begins.
        if begins {
            live += u128::from(size);
            peak = peak.max(live);
        } else {
            live -= u128::from(size);
        }
    }
    Bytes::new(u64::try_from(peak).unwrap_or(u64::MAX))
}
