//! Each reason a device cannot be used, from made-up reports.

use super::*;
use crate::report::{Ecc, MemoryUse, Mig, MigInstance};

fn healthy() -> DeviceReport {
    let memory = MemoryUse {
        total: Bytes::gib(80),
        free: Bytes::gib(70),
        used: Bytes::gib(9),
        reserved_by_driver: Bytes::gib(1),
        used_by_user: None,
        used_by_others: None,
        unaccounted: None,
    };
    DeviceReport {
        index: 3,
        memory: Some(memory),
        compute_mode: Some(ComputeMode::Default),
        ..DeviceReport::default()
    }
}

fn process(pid: u32, name: Option<&str>) -> ProcessUse {
    let used = Some(Bytes::gib(u64::from(pid)));
    ProcessUse { pid, name: name.map(str::to_owned), is_users: pid < 10, used }
}

/// Judges a healthy device after a change: the problems by name, those that block with a '!'.
#[track_caller]
fn judged(change: impl FnOnce(&mut DeviceReport)) -> Vec<String> {
    let mut device = healthy();
    change(&mut device);
    judge(&mut device);
    for problem in &device.problems {
        assert!(!problem.reason.is_empty() && !problem.advice.is_empty(), "{problem:?}");
    }
    assert_eq!(device.usable, !device.problems.iter().any(|problem| problem.blocks));
    let named = |it: &Problem| format!("{}{}", it.kind, if it.blocks { "!" } else { "" });
    device.problems.iter().map(named).collect()
}

#[test]
fn a_healthy_device_and_one_of_which_nothing_is_known_are_usable() {
    assert!(judged(|_| {}).is_empty());
    assert!(judged(|it| *it = DeviceReport::default()).is_empty());
}

#[test]
fn every_fault_the_driver_reports_has_a_name() {
    for (fault, name) in [
        (Fault::Lost, "lost!"),
        (Fault::ResetRequired, "reset-required!"),
        (Fault::NoPermission, "no-permission!"),
        (Fault::Blocked, "blocked!"),
        (Fault::InsufficientPower, "insufficient-power!"),
        (Fault::Interrupts, "interrupts!"),
        (Fault::InfoRom, "info-rom"),
        (Fault::Other("code 4242".to_owned()), "unreadable!"),
    ] {
        assert_eq!(judged(|it| _ = it.faults.insert(fault)), [name]);
    }
}

#[test]
fn what_the_driver_asks_for_blocks_where_it_cannot_wait() {
    for (action, names) in [
        (Recovery::None, &[][..]),
        (Recovery::GpuReset, &["recovery-action!"]),
        (Recovery::NodeReboot, &["recovery-action!"]),
        (Recovery::DrainP2p, &["recovery-action"]),
        (Recovery::DrainAndReset, &["recovery-action"]),
        (Recovery::Unknown, &["recovery-action"]),
    ] {
        assert_eq!(judged(|it| it.health.recovery_action = Some(action)), names);
    }
}

#[test]
fn uncorrected_errors_block_until_the_bad_memory_is_replaced() {
    let errors = |it: &mut DeviceReport| it.health.volatile_errors.uncorrected = Some(2);
    assert_eq!(judged(errors), ["uncorrected-errors!"]);
    let rows = |pending, failure| {
        move |it: &mut DeviceReport| {
            errors(it);
            it.health.remapped_rows.pending = Some(pending);
            it.health.remapped_rows.failure = Some(failure);
        }
    };
    assert_eq!(judged(rows(false, false)), ["uncorrected-errors"]);
    assert_eq!(judged(rows(true, false)), ["uncorrected-errors!", "remap-pending"]);
    assert_eq!(judged(rows(false, true)), ["remap-failure!", "uncorrected-errors!"]);
    let retiring = |it: &mut DeviceReport| it.health.retired_pages.pending = Some(true);
    assert_eq!(judged(retiring), ["retirement-pending"]);
    assert!(judged(|it| it.health.aggregate_errors.uncorrected = Some(9)).is_empty());
}

#[test]
fn an_exclusive_device_is_occupied_by_its_holder_but_not_by_the_multi_process_server() {
    let held = |mode, names: &'static [&str]| {
        move |it: &mut DeviceReport| {
            it.compute_mode = Some(mode);
            it.processes = Some(names.iter().map(|name| process(7, Some(name))).collect());
        }
    };
    assert!(judged(held(ComputeMode::Default, &["python"])).is_empty());
    assert!(judged(held(ComputeMode::ExclusiveProcess, &[])).is_empty());
    assert_eq!(judged(held(ComputeMode::ExclusiveProcess, &["python"])), ["occupied!"]);
    assert_eq!(judged(held(ComputeMode::ExclusiveThread, &["python"])), ["occupied!"]);
    let server = held(ComputeMode::ExclusiveProcess, &["python", "nvidia-cuda-mps-server"]);
    assert!(judged(server).is_empty());
    assert_eq!(judged(held(ComputeMode::Prohibited, &[])), ["prohibited!"]);
}

#[test]
fn a_device_without_room_is_not_usable() {
    let with = |free| judged(|it| it.memory = it.memory.map(|memory| MemoryUse { free, ..memory }));
    assert_eq!(with(Bytes::ZERO), ["no-free-memory!"]);
    assert_eq!(with(Bytes::new(CONTEXT.get() - 1)), ["no-free-memory!"]);
    assert!(with(CONTEXT).is_empty());
}

#[test]
fn mig_needs_instances_and_a_change_of_mode_a_reset() {
    let mig = |enabled, pending, instances: Option<usize>| {
        let one = || MigInstance { uuid: None, total: None, free: None };
        let instances = instances.map(|count| (0..count).map(|_| one()).collect());
        judged(|it| it.mig = Some(Mig { enabled, pending, instances }))
    };
    assert_eq!(mig(true, true, Some(0)), ["mig-without-instances!"]);
    assert!(mig(true, true, Some(1)).is_empty() && mig(true, true, None).is_empty());
    assert!(mig(false, false, Some(0)).is_empty());
    assert_eq!(mig(false, true, None), ["mode-pending"]);
    let ecc = Some(Ecc { enabled: true, pending: false });
    assert_eq!(judged(|it| it.health.ecc = ecc), ["mode-pending"]);
}

#[test]
fn used_memory_is_divided_among_this_user_others_and_the_unseen() {
    let mut memory = healthy().memory.unwrap();
    memory.used = Bytes::gib(20);
    memory.divide(&[process(2, Some("a")), process(3, None), process(11, None)]);
    let parts = [memory.used_by_user, memory.used_by_others, memory.unaccounted];
    assert_eq!(parts, [5, 11, 4].map(|gib| Some(Bytes::gib(gib))));
    memory.used = Bytes::gib(1);
    memory.divide(&[process(2, None)]);
    assert_eq!(memory.unaccounted, Some(Bytes::ZERO));
}
