//! Whose a process is and what it is called, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

use freeboard_units::Bytes;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use crate::report::ProcessUse;

/// One entry per process, the largest first.
///
/// A process that both computes and draws is on several lists with the same figure; one that uses
/// several instances of a device has a figure for each.
pub(crate) fn merge(listed: &[ProcessInfo]) -> Vec<ProcessUse> {
    let mut parts: BTreeMap<_, Option<u64>> = BTreeMap::new();
    for entry in listed {
        let place = (entry.pid, entry.gpu_instance_id, entry.compute_instance_id);
        let part = parts.entry(place).or_default();
        if let UsedGpuMemory::Used(bytes) = entry.used_gpu_memory {
            *part = (*part).max(Some(bytes));
        }
    }
    let mut sums: BTreeMap<u32, Option<Bytes>> = BTreeMap::new();
    for ((pid, ..), part) in parts {
        let sum = sums.entry(pid).or_default();
        if let Some(bytes) = part {
            *sum = Some(sum.unwrap_or_default().saturating_add(Bytes::new(bytes)));
        }
    }
    let own = owner("self");
    let mut all: Vec<_> = sums
        .into_iter()
        .map(|(pid, used)| ProcessUse {
            pid,
            name: name(pid),
            is_users: own.is_some() && owner(&pid.to_string()) == own,
            used,
        })
        .collect();
    all.sort_by_key(|process| std::cmp::Reverse(process.used));
    all
}

/// The process's own word for itself, without what would move a terminal's cursor.
fn name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&name);
    Some(name.trim_end().replace(char::is_control, "?"))
}

#[cfg(unix)]
fn owner(process: &str) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    fs::metadata(format!("/proc/{process}")).ok().map(|folder| folder.uid())
}

#[cfg(not(unix))]
fn owner(_process: &str) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, used: Option<u64>, instance: Option<u32>) -> ProcessInfo {
        let used_gpu_memory = used.map_or(UsedGpuMemory::Unavailable, UsedGpuMemory::Used);
        ProcessInfo { pid, used_gpu_memory, gpu_instance_id: instance, compute_instance_id: None }
    }

    #[test]
    fn a_process_on_several_lists_counts_once_and_on_several_instances_for_each() {
        let huge = u32::MAX; // no process has such a number
        let listed = [
            entry(huge, Some(5), None),
            entry(huge, Some(7), None),
            entry(huge - 1, Some(4), Some(1)),
            entry(huge - 1, Some(6), Some(2)),
            entry(huge - 2, None, None),
            entry(huge - 3, Some(u64::MAX - 1), Some(1)),
            entry(huge - 3, Some(9), Some(2)),
        ];
        let merged = merge(&listed);
        let figures: Vec<_> = merged.iter().map(|it| (huge - it.pid, it.used)).collect();
        let some = |bytes| Some(Bytes::new(bytes));
        assert_eq!(figures, [(3, some(u64::MAX)), (1, some(10)), (0, some(7)), (2, None)]);
        assert!(merged.iter().all(|it| it.name.is_none() && !it.is_users));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_this_users_and_has_a_name() {
        let merged = merge(&[entry(std::process::id(), Some(1), None)]);
        assert!(merged[0].is_users && !merged[0].name.as_ref().unwrap().is_empty());
    }
}
