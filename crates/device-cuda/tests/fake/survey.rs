//! What the driver tells about its devices.

use freeboard_device_cuda::survey;
use freeboard_units::Bytes;

use crate::common::driver;

#[test]
fn every_device_tells_what_it_is() {
    let (fake, driver) = driver();
    fake.set_devices(2);
    fake.set_capacity(8 << 30);
    let found = survey(driver, false).unwrap();
    assert_eq!((found.cuda.as_str(), found.devices.len()), ("13.0", 2));
    let second = &found.devices[1];
    assert_eq!((second.ordinal, second.compute_capability), (1, (9, 0)));
    assert_eq!(second.name, "Freeboard fake GPU");
    assert_eq!(second.pci_bus, "0000:02:00.0");
    assert_eq!(second.uuid, "GPU-f44b4672-6565-626f-6172-6446616b6501");
    assert_eq!(second.total, Bytes::gib(8));
    assert!(second.virtual_memory && second.memory_pools && second.exportable);
    assert_eq!((second.free, &second.unusable), (None, &None));
    assert_eq!(fake.calls("cuDevicePrimaryCtxRetain"), 0, "nothing was started");
}

#[test]
fn a_device_that_is_started_tells_what_is_free() {
    let (fake, driver) = driver();
    let found = survey(driver, true).unwrap();
    assert_eq!(found.devices[0].free, Some(found.devices[0].total));
    assert_eq!(found.devices[0].granularity, Some(Bytes::mib(2)));
    assert_eq!(fake.live().contexts, 0, "and was given back");
}

#[test]
fn a_device_that_cannot_be_used_says_why() {
    let (fake, driver) = driver();
    fake.set_devices(3);
    fake.set_attribute(1, 102, 0);
    fake.fail("cuDeviceGetName", 3, 46, 1);
    let found = survey(driver, true).unwrap();
    let words = found.devices.into_iter().map(|report| report.unusable.unwrap_or_default());
    let words: Vec<_> = words.collect();
    assert!(words[0].is_empty(), "{words:?}");
    assert!(words[1].contains("virtual memory"), "{words:?}");
    assert!(words[2].contains("compute mode"), "{words:?}");
}
