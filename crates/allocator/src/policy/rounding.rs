//! How large does a block have to be for a request?

use freeboard_units::Bytes;

use crate::config::Roundup;

/// All block sizes are multiples of this: the alignment that device code may rely on.
pub(crate) const MIN_BLOCK: Bytes = Bytes::new(512);
/// A request of this size or more is refused before anything is computed with it.
pub(crate) const TOO_LARGE: Bytes = Bytes::new(1 << 60);

/// The block size for a request of `asked` bytes (`0 < asked <` [`TOO_LARGE`]).
///
/// A multiple of 512 bytes; with divisions, the next fraction of a power of two. The rule is
/// `round_size` of `PyTorch`'s allocator.
#[inline]
pub(crate) fn block_size(asked: Bytes, roundup: Option<&Roundup>) -> Bytes {
    match roundup {
        Some(roundup) if asked >= MIN_BLOCK => {
            let divisions = roundup.divisions(asked.get());
            if divisions > 1 && asked.get() > MIN_BLOCK.get() * divisions {
                return next_division(asked, divisions);
            }
        }
        _ => {}
    }
    asked.align_up(MIN_BLOCK)
}

/// The next of `divisions` (a power of two) equal steps between two powers of two.
fn next_division(size: Bytes, divisions: u64) -> Bytes {
    let floor = 1_u64 << size.get().ilog2();
    size.align_up(Bytes::new(floor / divisions))
}

/// The largest request that a block of `size` bytes can hold.
pub(crate) fn largest_within(size: Bytes, roundup: Option<&Roundup>) -> Bytes {
    let divisions = roundup.map_or(0, |roundup| roundup.divisions(size.get()));
    if divisions > 1 && size.get() > MIN_BLOCK.get() * divisions {
        let floor = 1_u64 << size.get().ilog2();
        return size.align_down(Bytes::new(floor / divisions));
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_request_within_a_block_needs_no_larger_one() {
        let roundup = Roundup::uniform(4).unwrap();
        for units in 1..20_000 {
            let size = Bytes::new(units * 512);
            let largest = largest_within(size, Some(&roundup));
            assert!(block_size(largest, Some(&roundup)) <= size, "{size}");
            assert!(block_size(largest + Bytes::new(1), Some(&roundup)) > size, "{size}");
        }
    }

    #[test]
    fn requests_become_multiples_of_512_bytes() {
        for (asked, size) in [(1, 512), (512, 512), (513, 1024), (1 << 20, 1 << 20)] {
            assert_eq!(block_size(Bytes::new(asked), None), Bytes::new(size));
        }
    }

    #[test]
    fn divisions_split_each_power_of_two_evenly() {
        let four = Roundup::uniform(4).unwrap();
        for (asked, size) in [
            (1, 512),
            (2048, 2048), // not above 512 × 4: the plain rule
            (2049, 2560),
            (1_200_000, 1_310_720),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, (1 << 20) + (1 << 18)),
            ((7 << 18) + 1, 2 << 20),
        ] {
            assert_eq!(block_size(Bytes::new(asked), Some(&four)), Bytes::new(size), "{asked}");
        }
    }
}
