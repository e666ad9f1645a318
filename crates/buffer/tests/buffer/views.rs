//! Parts of a buffer.

use freeboard_buffer::{BufferError, DeviceBuffer};

use crate::common::{HOME, host};

#[test]
fn a_part_is_written_and_the_rest_stays() {
    let (_, allocator) = host();
    let mut buffer = DeviceBuffer::from_slice(&allocator, &[0_u16; 10], HOME).unwrap();
    buffer.slice_mut(2..=3).unwrap().fill(7).unwrap();
    let (mut left, mut right) = buffer.split_at_mut(5).unwrap();
    right.slice_mut(3..).unwrap().copy_from_slice(&[8, 9]).unwrap();
    left.slice_mut(..2).unwrap().copy_from(right.slice(3..).unwrap()).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [8, 9, 7, 7, 0, 0, 0, 0, 8, 9]);
    assert_eq!(buffer.slice(1..4).unwrap().to_vec().unwrap(), [9, 7, 7]);
    assert_eq!(buffer.slice(1..4).unwrap().slice(1..).unwrap().to_vec().unwrap(), [7, 7]);
    let (first, last) = buffer.split_at(8).unwrap();
    assert_eq!((first.len(), last.to_vec().unwrap()), (8, vec![8, 9]));
}

#[test]
fn chunks_cover_all_and_the_last_may_be_short() {
    let (_, allocator) = host();
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 8, HOME).unwrap();
    for (number, mut chunk) in buffer.chunks_mut(3).unwrap().enumerate() {
        chunk.fill(u32::try_from(number).unwrap()).unwrap();
    }
    assert_eq!(buffer.to_vec().unwrap(), [0, 0, 0, 1, 1, 1, 2, 2]);
    let lengths: Vec<_> = buffer.chunks(5).unwrap().map(|chunk| chunk.len()).collect();
    assert_eq!(lengths, [5, 3]);
    assert_eq!(buffer.chunks(usize::MAX).unwrap().len(), 1);
    assert!(matches!(buffer.chunks(0).map(|_| ()), Err(BufferError::ZeroChunk)));
}

#[test]
fn parts_outside_are_errors_with_their_numbers() {
    let (_, allocator) = host();
    let mut buffer = DeviceBuffer::<u32, _>::zeroed(&allocator, 8, HOME).unwrap();
    let error = buffer.slice(3..9).unwrap_err();
    assert_eq!(error.to_string(), "elements 3..9 do not lie in 0..8");
    let backwards = std::ops::Range { start: 5, end: 4 };
    for error in [
        buffer.slice(backwards).unwrap_err(),
        buffer.slice(9..).unwrap_err(),
        buffer.slice(..=usize::MAX).unwrap_err(),
        buffer.slice_mut(..9).unwrap_err(),
        buffer.split_at(9).unwrap_err(),
        buffer.split_at_mut(9).unwrap_err(),
    ] {
        assert!(matches!(error, BufferError::OutOfRange { len: 8, .. }), "{error}");
    }
}

#[test]
fn the_same_bytes_are_seen_as_another_type() {
    let (_, allocator) = host();
    let mut buffer = DeviceBuffer::from_slice(&allocator, &[1.0_f32, -2.0, 0.5], HOME).unwrap();
    let bits = buffer.cast::<u32>().unwrap().to_vec().unwrap();
    assert_eq!(bits, [1.0_f32.to_bits(), (-2.0_f32).to_bits(), 0.5_f32.to_bits()]);
    buffer.cast_mut::<[u8; 6]>().unwrap().zero().unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [0.0; 3]);

    let error = buffer.cast::<u64>().unwrap_err();
    assert!(matches!(error, BufferError::UnevenSize { .. }), "{error}");
    let error = buffer.cast::<()>().unwrap_err();
    assert!(matches!(error, BufferError::UnevenSize { .. }), "{error}");
    let bytes = buffer.cast::<u8>().unwrap();
    let error = bytes.slice(1..9).unwrap().cast::<u16>().unwrap_err();
    assert!(matches!(error, BufferError::Misaligned { .. }), "{error}");
    assert_eq!(bytes.slice(2..10).unwrap().cast::<u16>().unwrap().len(), 4);
}
