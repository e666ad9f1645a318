//! Bytes in, out and across.

use freeboard_device::{Memory, Pattern, Transfer};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};

use crate::common::{DEFAULT, get, lend, pages, put, refused};

#[test]
fn what_goes_in_comes_out() {
    let (_, device) = lend();
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (range, _) = pages(&device, 1);
    for address in [device.allocate(Bytes::mib(1)).unwrap(), range.start()] {
        put(&device, address + Bytes::new(3), &data).unwrap();
        assert_eq!(get(&device, address + Bytes::new(3), data.len()).unwrap(), data);
    }
}

#[test]
fn copies_within_the_device() {
    let (_, device) = lend();
    let (range, _) = pages(&device, 1);
    let whole = device.allocate(Bytes::mib(1)).unwrap();
    put(&device, whole, b"flotsam").unwrap();
    // SAFETY: both ends are memory of the device that was taken just now.
    unsafe { device.copy(range.start(), whole, Bytes::new(7), DEFAULT) }.unwrap();
    assert_eq!(get(&device, range.start(), 7).unwrap(), b"flotsam");
}

#[test]
fn fills_repeat_their_pattern() {
    let (_, device) = lend();
    let start = device.allocate(Bytes::kib(4)).unwrap();
    let range = AddressRange::new(start, Bytes::new(8));
    for (pattern, expected) in [
        (Pattern::U8(7), [7; 8]),
        (Pattern::U16(0x0102), [2, 1, 2, 1, 2, 1, 2, 1]),
        (Pattern::U32(0x0102_0304), [4, 3, 2, 1, 4, 3, 2, 1]),
    ] {
        // SAFETY: the range is memory of the device that was taken just now.
        unsafe { device.fill(range, pattern, DEFAULT) }.unwrap();
        assert_eq!(get(&device, start, 8).unwrap(), expected);
    }
}

#[test]
fn a_fill_fits_its_range() {
    let (_, device) = lend();
    let start = device.allocate(Bytes::kib(4)).unwrap();
    for (at, size, pattern) in [
        (start + Bytes::new(1), 8, Pattern::U16(1)),
        (start, 6, Pattern::U32(1)),
        (Address::new(u64::MAX - 2), 8, Pattern::U16(1)),
    ] {
        let range = AddressRange::new(at, Bytes::new(size));
        // SAFETY: a fill that does not fit writes nothing.
        refused(unsafe { device.fill(range, pattern, DEFAULT) }, "do not fit");
    }
}

#[test]
fn work_on_an_unknown_stream_is_refused() {
    let (_, device) = lend();
    let start = device.allocate(Bytes::kib(4)).unwrap();
    let (mut byte, size, nowhere) = (0_u8, Bytes::new(1), StreamId::new(404));
    // SAFETY: a refused call touches nothing; both ends are good for a byte all the same.
    refused(unsafe { device.upload(start, &raw const byte, size, nowhere) }, "no stream");
    // SAFETY: as above.
    refused(unsafe { device.download(&raw mut byte, start, size, nowhere) }, "no stream");
    // SAFETY: as above.
    refused(unsafe { device.copy(start, start, size, nowhere) }, "no stream");
    let range = AddressRange::new(start, size);
    // SAFETY: as above.
    refused(unsafe { device.fill(range, Pattern::U8(0), nowhere) }, "no stream");
}

#[test]
fn no_bytes_are_no_work() {
    let (_, device) = lend();
    put(&device, Address::NULL, &[]).unwrap();
    assert_eq!(get(&device, Address::NULL, 0).unwrap(), b"");
}

#[test]
fn addresses_where_nothing_lies_are_refused() {
    let (_, device) = lend();
    let start = device.allocate(Bytes::new(16)).unwrap();
    assert!(put(&device, start + Bytes::new(10), &[0; 10]).is_err(), "past the end");
    device.free(start).unwrap();
    assert!(get(&device, start, 1).is_err());
}

#[test]
fn pinned_memory_is_the_hosts() {
    let (fake, device) = lend();
    let pinned = device.pin(Bytes::mib(1)).unwrap();
    assert_eq!(pinned.addr().get() % 256, 0);
    // SAFETY: a megabyte was pinned just now.
    unsafe { pinned.write_bytes(0x5A, 1 << 20) };
    let start = device.allocate(Bytes::mib(1)).unwrap();
    // SAFETY: both ends have a megabyte, and the fake driver copies at once.
    unsafe { device.upload(start, pinned.as_ptr(), Bytes::mib(1), DEFAULT) }.unwrap();
    assert_eq!(get(&device, start + Bytes::kib(900), 3).unwrap(), [0x5A; 3]);
    // SAFETY: nothing uses it any more.
    unsafe { device.unpin(pinned) }.unwrap();
    assert_eq!(fake.live().pinned, 0);
    // SAFETY: nothing is there to be used.
    refused(unsafe { device.unpin(pinned) }, "INVALID_VALUE");
    fake.fail("cuMemHostAlloc", 1, 2, 1);
    assert!(device.pin(Bytes::mib(1)).unwrap_err().is_out_of_memory());
}
