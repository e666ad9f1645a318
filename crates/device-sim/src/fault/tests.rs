//! Faults seen from outside: which call fails, with what, and that nothing changes.

use freeboard_device::{Memory, Order, Result};
use freeboard_units::{Address, AddressRange, EventId, StreamId};

use super::*;
use crate::SimDevice;

const PAGE: Bytes = Bytes::mib(2);

fn driver_fault() -> Fault {
    Fault::Driver { code: 700, message: "an illegal memory access was encountered".to_owned() }
}

/// A device on which [`make`] succeeds for any one call.
struct Stage {
    device: SimDevice,
    address: Address,
    empty: AddressRange,
    mapped: AddressRange,
    handle: freeboard_device::Handle,
    event: EventId,
}

fn stage() -> Stage {
    let device = SimDevice::new(Bytes::mib(64));
    device.set_event_lag(1);
    let (mapped, empty) = (device.reserve(PAGE).unwrap(), device.reserve(PAGE).unwrap());
    let handle = device.create(PAGE).unwrap();
    device.map(mapped, handle).unwrap();
    let address = device.allocate(PAGE).unwrap();
    let event = device.create_event().unwrap();
    device.record(event, StreamId::DEFAULT).unwrap();
    Stage { device, address, empty, mapped, handle, event }
}

fn make(call: Call, stage: &Stage) -> Result<()> {
    let Stage { device, address, empty, mapped, handle, event } = stage;
    match call {
        Call::Malloc => device.allocate(PAGE).map(drop),
        Call::Free => device.free(*address),
        Call::AddressReserve => device.reserve(PAGE).map(drop),
        Call::AddressFree => device.unreserve(*empty),
        Call::MemCreate => device.create(PAGE).map(drop),
        Call::MemRelease => device.release(*handle),
        Call::MemMap => device.map(*empty, *handle),
        Call::MemUnmap => device.unmap(*mapped),
        Call::MemSetAccess => device.set_access(*mapped),
        Call::MemGetInfo => device.info().map(drop),
        Call::EventCreate => device.create_event().map(drop),
        Call::EventDestroy => device.destroy_event(*event),
        Call::EventRecord => device.record(*event, StreamId::DEFAULT),
        Call::EventQuery => device.is_done(*event).map(drop),
        Call::EventSynchronize => device.wait(*event),
        Call::StreamSynchronize => device.synchronize_stream(StreamId::DEFAULT),
        Call::StreamCreate => device.create_stream().map(drop),
        Call::StreamDestroy => device.destroy_stream(StreamId::new(7)),
        Call::StreamWaitEvent => device.stream_wait(StreamId::DEFAULT, *event),
        Call::StreamIsCapturing => device.is_capturing(StreamId::DEFAULT).map(drop),
    }
}

#[test]
fn every_call_can_be_made_to_fail_and_then_changes_nothing() {
    for &call in Call::ALL {
        let stage = stage();
        let device = &stage.device;
        let before = device.state.lock().model.clone();
        let made_before = device.count(call);
        for (hits, fault) in [Fault::OutOfMemory, driver_fault()].into_iter().enumerate() {
            device.set_faults(FaultPlan::every_call_of(call, fault.clone()));
            let error = make(call, &stage).unwrap_err();
            assert_eq!(error.call(), call.name());
            assert_eq!(error.is_out_of_memory(), fault == Fault::OutOfMemory);
            assert_eq!((device.faults_hit(), device.violations()), (1, 0));
            assert_eq!(device.count(call), made_before + hits as u64 + 1);
            assert_eq!(device.state.lock().model, before, "{call}");
        }
        device.clear_faults();
        make(call, &stage).unwrap();
        assert_eq!(device.faults_hit(), 1, "known after the plan ended");
    }
}

#[test]
fn a_fault_answers_with_the_chosen_error() {
    let device = SimDevice::new(Bytes::mib(64));
    device.set_faults(FaultPlan::nth_call(1, driver_fault()));
    let message = "cuMemCreate: an illegal memory access was encountered (code 700)";
    assert_eq!(device.create(PAGE).unwrap_err().to_string(), message);

    device.set_faults(FaultPlan::every_call_of(Call::MemCreate, Fault::OutOfMemory));
    let error = DeviceError::OutOfMemory { call: "cuMemCreate", size: PAGE };
    assert_eq!(device.create(PAGE), Err(error));
    assert_eq!((device.calls()["cuMemCreate"], device.calls()["cuMemCreate_oom"]), (2, 1));
}

#[test]
fn the_nth_call_is_counted_from_when_the_plan_was_set() {
    type Plan = fn(u64, Fault) -> FaultPlan;
    let any: Plan = FaultPlan::nth_call;
    let of_kind: Plan = |n, fault| FaultPlan::nth_call_of(Call::MemCreate, n, fault);
    for (plan, n, failing) in [
        (any, 0, None),
        (any, 1, Some(0)),
        (any, 4, Some(3)),
        (any, 7, None),
        (of_kind, 0, None),
        (of_kind, 1, Some(1)),
        (of_kind, 3, Some(5)),
        (of_kind, 4, None),
    ] {
        let device = SimDevice::new(Bytes::mib(64));
        device.create(PAGE).unwrap();
        device.set_faults(plan(n, Fault::OutOfMemory));
        // Calls number 1, 3 and 5 are of the kind, the others are not.
        let failed = (0..6).filter(|i| match i % 2 {
            0 => device.info().is_err(),
            _ => device.create(PAGE).is_err(),
        });
        assert_eq!(failed.collect::<Vec<_>>(), Vec::from_iter(failing));
        assert_eq!(device.faults_hit(), u64::from(failing.is_some()));
    }
}

#[test]
fn a_new_plan_takes_the_place_of_the_old_one() {
    let device = SimDevice::new(Bytes::mib(64));
    device.set_faults(FaultPlan::every_call_of(Call::MemGetInfo, Fault::OutOfMemory));
    for hit in 1..4 {
        device.info().unwrap_err();
        assert_eq!(device.faults_hit(), hit);
    }
    device.set_faults(FaultPlan::nth_call(2, Fault::OutOfMemory));
    assert_eq!(device.faults_hit(), 0);
    device.info().unwrap();
    device.info().unwrap_err();
    device.info().unwrap();
}

#[test]
fn several_kinds_may_fail_together() {
    let Stage { device, mapped, handle, .. } = stage();
    let kinds = &[Call::MemUnmap, Call::MemRelease];
    device.set_faults(FaultPlan::every_call_of_any(kinds, driver_fault()));
    device.unmap(mapped).unwrap_err();
    device.set_access(mapped).unwrap();
    device.release(handle).unwrap_err();
    assert_eq!(device.faults_hit(), 2);
}
