//! [`Element`]: what a buffer holds, and how many bytes that takes.

use bytemuck::Pod;
use freeboard_device::Pattern;
use freeboard_units::{Address, Bytes};

use crate::BufferError;

/// A type whose values are their bytes: numbers, arrays and plain structs of them, `half::f16` and
/// `half::bf16` with that crate's feature `bytemuck`. Every type that is [`Pod`] is one.
pub trait Element: Pod + Send + Sync {}

impl<T: Pod + Send + Sync> Element for T {}

/// The size of a value in memory.
pub(crate) const fn size_of<T>() -> Bytes {
    Bytes::new(std::mem::size_of::<T>() as u64)
}

/// The size of `len` values.
pub(crate) fn size_of_many<T>(len: usize) -> Result<Bytes, BufferError> {
    let size = (len as u64).checked_mul(size_of::<T>().get());
    // A Vec or a slice of them could not exist beyond this, either.
    let size = size.filter(|&size| isize::try_from(size).is_ok());
    size.map(Bytes::new).ok_or(BufferError::TooLarge { len, element: size_of::<T>() })
}

/// Whether a value may begin at `address`.
pub(crate) fn check_alignment<T>(address: Address) -> Result<(), BufferError> {
    let alignment = Bytes::new(align_of::<T>() as u64);
    if address.get().is_multiple_of(alignment.get()) {
        return Ok(());
    }
    Err(BufferError::Misaligned { address, alignment })
}

/// The pattern of 1, 2 or 4 bytes that `value`, over and over, is made of, if there is one.
pub(crate) fn pattern(value: &[u8]) -> Option<Pattern> {
    fn unit<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
        let (&first, rest) = value.split_first_chunk::<N>()?;
        let whole = rest.len().is_multiple_of(N);
        (whole && rest.chunks_exact(N).all(|unit| unit == first)).then_some(first)
    }
    let u8 = || unit(value).map(u8::from_le_bytes).map(Pattern::U8);
    let u16 = || unit(value).map(u16::from_le_bytes).map(Pattern::U16);
    let u32 = || unit(value).map(u32::from_le_bytes).map(Pattern::U32);
    u8().or_else(u16).or_else(u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_filled_by_the_shortest_pattern_it_is_made_of() {
        assert_eq!(pattern(&7_u64.to_le_bytes()), None);
        assert_eq!(pattern(&[0; 24]), Some(Pattern::U8(0)));
        assert_eq!(pattern(&[1, 2, 1, 2, 1, 2]), Some(Pattern::U16(0x0201)));
        assert_eq!(pattern(&1.5_f32.to_le_bytes()), Some(Pattern::U32(0x3fc0_0000)));
        assert_eq!(pattern(&[1, 2, 3, 4, 1, 2, 3, 4]), Some(Pattern::U32(0x0403_0201)));
        assert_eq!(pattern(&[1, 2, 3]), None);
        assert_eq!(pattern(&[1, 2, 3, 4, 1, 2]), None);
        assert_eq!(pattern(&[]), None);
    }

    #[test]
    fn sizes_that_no_address_space_holds_are_errors() {
        assert_eq!(size_of_many::<u64>(3).unwrap(), Bytes::new(24));
        let error = size_of_many::<u64>(usize::MAX).unwrap_err();
        assert!(matches!(error, BufferError::TooLarge { len: usize::MAX, .. }));
        assert!(size_of_many::<u8>(usize::MAX).is_err());
        assert_eq!(size_of_many::<()>(usize::MAX).unwrap(), Bytes::ZERO);
    }
}
