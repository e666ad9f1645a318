//! What [`Transfer`](freeboard::device::Transfer) promises.

use freeboard::device::{Pattern, Transfer};
use freeboard::units::{Address, AddressRange};
use freeboard::{Bytes, StreamId};

use crate::check::{Check, assert_refused, checks};
use crate::memory::Mapped;

pub(crate) fn checks<D: Transfer>() -> Vec<Check<D>> {
    checks![
        bytes_go_in_and_come_out,
        bytes_go_across,
        ranges_are_filled_and_nothing_beside_them,
        patterns_must_fit,
        aliases_hold_the_same_bytes,
        bytes_stay_with_the_page_not_with_the_address,
        a_stream_that_waits_sees_what_was_written,
        nothing_may_be_moved_anywhere,
        memory_that_is_not_there_is_refused,
        pinned_memory_is_usable_from_both_sides,
        pinned_memory_is_given_back_once,
    ]
}

const DEFAULT: StreamId = StreamId::DEFAULT;

/// Puts bytes at an address and waits.
pub(crate) fn write(device: &impl Transfer, to: Address, bytes: &[u8], stream: StreamId) {
    let size = Bytes::new(bytes.len() as u64);
    // SAFETY: the memory at `to` is the check's own, and `bytes` is waited for.
    unsafe { device.upload(to, bytes.as_ptr(), size, stream) }.unwrap();
    device.synchronize_stream(stream).unwrap();
}

/// The bytes at an address, once the stream is past its work.
pub(crate) fn read(device: &impl Transfer, range: AddressRange, stream: StreamId) -> Vec<u8> {
    let mut bytes = vec![0_u8; usize::try_from(range.size().get()).unwrap()];
    // SAFETY: the memory at `range` is the check's own, and `bytes` is waited for.
    unsafe { device.download(bytes.as_mut_ptr(), range.start(), range.size(), stream) }.unwrap();
    device.synchronize_stream(stream).unwrap();
    bytes
}

fn fill(device: &impl Transfer, range: AddressRange, pattern: Pattern) {
    // SAFETY: the memory at `range` is the check's own.
    unsafe { device.fill(range, pattern, DEFAULT) }.unwrap();
}

/// Bytes in which every place can be told from its neighbours.
fn motley(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

fn bytes_go_in_and_come_out<D: Transfer>(device: &D) {
    let stream = device.create_stream().unwrap();
    for size in [1, 3, 512, 4097, (1 << 20) + 5] {
        let bytes = motley(size);
        let start = device.allocate(Bytes::new(size as u64 + 3)).unwrap();
        for offset in [0, 3] {
            let range = AddressRange::new(start + Bytes::new(offset), Bytes::new(size as u64));
            write(device, range.start(), &bytes, stream);
            assert_eq!(read(device, range, stream), bytes);
        }
        device.free(start).unwrap();
    }
}

fn bytes_go_across<D: Transfer>(device: &D) {
    let (bytes, size) = (motley(70_001), Bytes::new(70_001));
    let [from, to] = [(); 2].map(|()| device.allocate(size).unwrap());
    write(device, from, &bytes, DEFAULT);
    // SAFETY: both ends are the check's own, and apart.
    unsafe { device.copy(to, from, size, DEFAULT) }.unwrap();
    assert_eq!(read(device, AddressRange::new(to, size), DEFAULT), bytes);
    device.free(from).unwrap();
    device.free(to).unwrap();
}

fn ranges_are_filled_and_nothing_beside_them<D: Transfer>(device: &D) {
    let patterns: [(Pattern, &[u8]); 3] = [
        (Pattern::U8(0xa5), &[0xa5]),
        (Pattern::U16(0x1234), &[0x34, 0x12]),
        (Pattern::U32(0x89ab_cdef), &[0xef, 0xcd, 0xab, 0x89]),
    ];
    let whole = AddressRange::new(device.allocate(Bytes::kib(64)).unwrap(), Bytes::kib(64));
    for (pattern, unit) in patterns {
        fill(device, whole, Pattern::U8(7));
        let inner = AddressRange::new(whole.start() + Bytes::new(8), Bytes::new(4096));
        fill(device, inner, pattern);
        let mut expected = vec![7; 64 << 10];
        expected[8..8 + 4096].copy_from_slice(&unit.repeat(4096 / unit.len()));
        assert!(read(device, whole, DEFAULT) == expected, "{pattern:?}");
    }
    device.free(whole.start()).unwrap();
}

fn patterns_must_fit<D: Transfer>(device: &D) {
    let start = device.allocate(Bytes::kib(4)).unwrap();
    let range = |offset, size| AddressRange::new(start + Bytes::new(offset), Bytes::new(size));
    for (range, pattern) in [
        (range(0, 6), Pattern::U32(1)),
        (range(2, 8), Pattern::U32(1)),
        (range(0, 7), Pattern::U16(1)),
        (range(1, 8), Pattern::U16(1)),
    ] {
        // SAFETY: the memory at `range` is the check's own.
        assert_refused(unsafe { device.fill(range, pattern, DEFAULT) });
    }
    device.free(start).unwrap();
}

fn aliases_hold_the_same_bytes<D: Transfer>(device: &D) {
    let unit = device.granularity();
    let first = Mapped::new(device, unit);
    let alias = device.reserve(unit).unwrap();
    device.map(alias, first.handle).unwrap();
    device.set_access(alias).unwrap();
    let bytes = motley(5000);
    write(device, first.range.start(), &bytes, DEFAULT);
    let seen = AddressRange::new(alias.start(), Bytes::new(5000));
    assert_eq!(read(device, seen, DEFAULT), bytes);
    write(device, alias.start() + Bytes::new(10), &[1, 2, 3], DEFAULT);
    let changed = AddressRange::new(first.range.start() + Bytes::new(10), Bytes::new(3));
    assert_eq!(read(device, changed, DEFAULT), [1, 2, 3]);
    device.unmap(alias).unwrap();
    device.unreserve(alias).unwrap();
    first.give_back(device);
}

fn bytes_stay_with_the_page_not_with_the_address<D: Transfer>(device: &D) {
    let unit = device.granularity();
    let range = device.reserve(unit).unwrap();
    let pages = [11, 22].map(|value| {
        let handle = device.create(unit).unwrap();
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
        fill(device, range, Pattern::U8(value));
        device.synchronize_stream(DEFAULT).unwrap();
        device.unmap(range).unwrap();
        (handle, value)
    });
    for (handle, value) in pages {
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
        assert!(read(device, range, DEFAULT).iter().all(|&byte| byte == value));
        device.unmap(range).unwrap();
        device.release(handle).unwrap();
    }
    device.unreserve(range).unwrap();
}

fn a_stream_that_waits_sees_what_was_written<D: Transfer>(device: &D) {
    let (writer, reader) = (device.create_stream().unwrap(), device.create_stream().unwrap());
    let range = AddressRange::new(device.allocate(Bytes::mib(16)).unwrap(), Bytes::mib(16));
    let event = device.create_event().unwrap();
    for value in 1..20 {
        // SAFETY: the memory at `range` is the check's own.
        unsafe { device.fill(range, Pattern::U32(value), writer) }.unwrap();
        device.record(event, writer).unwrap();
        device.stream_wait(reader, event).unwrap();
        let last = AddressRange::new(range.end() - Bytes::new(4), Bytes::new(4));
        assert_eq!(read(device, last, reader), value.to_le_bytes());
    }
    device.destroy_event(event).unwrap();
    device.free(range.start()).unwrap();
}

fn nothing_may_be_moved_anywhere<D: Transfer>(device: &D) {
    let start = device.allocate(Bytes::kib(4)).unwrap();
    write(device, start, &[], DEFAULT);
    assert_eq!(read(device, AddressRange::new(start, Bytes::ZERO), DEFAULT), [0_u8; 0]);
    fill(device, AddressRange::new(start, Bytes::ZERO), Pattern::U32(1));
    // SAFETY: nothing is moved.
    unsafe { device.copy(start, start, Bytes::ZERO, DEFAULT) }.unwrap();
    device.free(start).unwrap();
}

fn memory_that_is_not_there_is_refused<D: Transfer>(device: &D) {
    let hole = device.reserve(device.granularity()).unwrap();
    let mut byte = 0_u8;
    let one = Bytes::new(1);
    // SAFETY: the byte is waited for; that nothing is at `hole` is what the check is about.
    assert_refused(unsafe { device.upload(hole.start(), &raw const byte, one, DEFAULT) });
    // SAFETY: as above.
    assert_refused(unsafe { device.download(&raw mut byte, hole.start(), one, DEFAULT) });
    // SAFETY: as above.
    assert_refused(unsafe { device.fill(hole, Pattern::U8(1), DEFAULT) });
    device.synchronize_stream(DEFAULT).unwrap();
    device.unreserve(hole).unwrap();
}

fn pinned_memory_is_usable_from_both_sides<D: Transfer>(device: &D) {
    let size = Bytes::mib(3);
    let pinned = device.pin(size).unwrap();
    assert!(pinned.as_ptr().addr().is_multiple_of(256));
    // SAFETY: `size` bytes begin there, and nobody else has them.
    unsafe { pinned.as_ptr().write_bytes(9, 3 << 20) };
    let start = device.allocate(size).unwrap();
    // SAFETY: both ends are the check's own, and waited for.
    unsafe { device.upload(start, pinned.as_ptr(), size, DEFAULT) }.unwrap();
    assert!(read(device, AddressRange::new(start, size), DEFAULT).iter().all(|&byte| byte == 9));
    fill(device, AddressRange::new(start, size), Pattern::U8(4));
    // SAFETY: as above.
    unsafe { device.download(pinned.as_ptr(), start, size, DEFAULT) }.unwrap();
    device.synchronize_stream(DEFAULT).unwrap();
    // SAFETY: the last byte of what was pinned; the device is done with it.
    assert_eq!(unsafe { pinned.as_ptr().wrapping_add((3 << 20) - 1).read() }, 4);
    // SAFETY: nobody uses it any more.
    unsafe { device.unpin(pinned) }.unwrap();
    device.free(start).unwrap();
}

fn pinned_memory_is_given_back_once<D: Transfer>(device: &D) {
    let pinned = device.pin(Bytes::kib(8)).unwrap();
    // SAFETY: nobody uses it.
    unsafe { device.unpin(pinned) }.unwrap();
    // SAFETY: it is nobody's any more; the device only compares the number.
    assert_refused(unsafe { device.unpin(pinned) });
    assert_refused(device.pin(Bytes::ZERO));
}
