//! Whether a device can be used, and if not why, and what to do: from the report alone.

use std::borrow::Cow;

use freeboard_units::Bytes;
use serde::{Deserialize, Serialize};

use crate::report::{ComputeMode, DeviceReport, Fault, Health, ProcessUse, Recovery};

/// Less than any CUDA context takes.
const CONTEXT: Bytes = Bytes::mib(256);

/// Something about a device that wants to be seen to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A name for programs.
    pub kind: Cow<'static, str>,
    /// Whether the device cannot be used because of it.
    pub blocks: bool,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub advice: String,
}

pub(crate) fn blocks(
    kind: &'static str,
    reason: impl Into<String>,
    advice: impl Into<String>,
) -> Problem {
    Problem { kind: kind.into(), blocks: true, reason: reason.into(), advice: advice.into() }
}

pub(crate) fn warns(
    kind: &'static str,
    reason: impl Into<String>,
    advice: impl Into<String>,
) -> Problem {
    Problem { blocks: false, ..blocks(kind, reason, advice) }
}

/// Fills in `problems` and `usable`; what blocks comes first.
pub(crate) fn judge(device: &mut DeviceReport) {
    let mut problems: Vec<_> = device.faults.iter().map(|it| fault(it, device.index)).collect();
    problems.extend(recovery(&device.health, device.index));
    problems.extend(memory_errors(&device.health, device.index));
    problems.extend(access(device));
    problems.extend(room(device));
    problems.extend(pending_modes(device));
    problems.sort_by_key(|problem| !problem.blocks);
    device.usable = !problems.iter().any(|problem| problem.blocks);
    device.problems = problems;
}

fn reset(index: u32) -> String {
    format!(
        "end every process on it and reset the GPU: 'sudo nvidia-smi --gpu-reset -i {index}'; \
         reboot where that is refused"
    )
}

fn fault(fault: &Fault, index: u32) -> Problem {
    match fault {
        Fault::Lost => blocks(
            "lost",
            "the GPU fell off the bus or hangs",
            "look for 'Xid' in 'sudo dmesg' (79: fell off the bus), reboot the machine; if it \
             comes back, check power, cooling and seating",
        ),
        Fault::ResetRequired => {
            blocks("reset-required", "the driver wants a reset before further use", reset(index))
        }
        Fault::NoPermission => blocks(
            "no-permission",
            "this user may not open the GPU",
            "check who may read and write /dev/nvidia*; in a container, pass the GPU in \
             ('--gpus all')",
        ),
        Fault::Blocked => blocks(
            "blocked",
            "the operating system or a control group keeps the GPU from this process",
            "ask the batch system or the container for this GPU ('--gres', '--gpus')",
        ),
        Fault::InsufficientPower => blocks(
            "insufficient-power",
            "the GPU's power cables are not properly attached",
            "switch the machine off and attach them",
        ),
        Fault::Interrupts => blocks(
            "interrupts",
            "the kernel sees an interrupt problem with the GPU",
            "look in 'sudo dmesg', update the firmware, reboot",
        ),
        Fault::InfoRom => warns(
            "info-rom",
            "the GPU's configuration memory (infoROM) is damaged",
            "plan its replacement; ask the vendor",
        ),
        Fault::Other(text) => blocks(
            "unreadable",
            format!("the driver gives no access: {text}"),
            "look at 'nvidia-smi -q' and for 'NVRM' in 'sudo dmesg'",
        ),
    }
}

fn recovery(health: &Health, index: u32) -> Option<Problem> {
    let (kind, wants) = ("recovery-action", "after an error the driver asks for");
    Some(match health.recovery_action? {
        Recovery::None => return None,
        Recovery::GpuReset => blocks(kind, format!("{wants} a reset of the GPU"), reset(index)),
        Recovery::NodeReboot => {
            blocks(kind, format!("{wants} a reboot"), "reboot the machine before using the GPU")
        }
        Recovery::DrainP2p => warns(
            kind,
            format!("{wants} an end of traffic between GPUs"),
            "end runs on several GPUs; the driver then recovers by itself",
        ),
        Recovery::DrainAndReset => warns(
            kind,
            format!("{wants} a reset of the GPU as soon as its work is done"),
            format!("start nothing new on it; then {}", reset(index)),
        ),
        Recovery::Unknown => warns(
            kind,
            format!("{wants} something this program does not know"),
            "look at 'nvidia-smi -q' under 'GPU Recovery Action'",
        ),
    })
}

/// What the counters of memory errors mean.
fn memory_errors(health: &Health, index: u32) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rows = health.remapped_rows;
    if rows.failure == Some(true) {
        problems.push(blocks(
            "remap-failure",
            "the GPU could not replace a bad row of its memory (Xid 64)",
            "take it out of service, run the vendor's field diagnostic, have it replaced",
        ));
    }
    if rows.pending == Some(true) {
        problems.push(warns(
            "remap-pending",
            "a bad row of memory is to be replaced at the next reset (Xid 63)",
            reset(index),
        ));
    }
    let retiring = health.retired_pages.pending == Some(true);
    if retiring {
        problems.push(warns(
            "retirement-pending",
            "a bad page of memory is to be retired at the next reset (Xid 63)",
            reset(index),
        ));
    }
    let errors = health.volatile_errors.uncorrected.unwrap_or(0);
    if errors > 0 {
        let reason =
            format!("memory errors that could not be corrected since the last reset: {errors}");
        // Once the bad memory has been replaced the device is sound again.
        let repaired = rows.pending == Some(false) && rows.failure == Some(false) && !retiring;
        problems.push(if repaired {
            warns("uncorrected-errors", reason, "watch the count; results before it may be wrong")
        } else {
            blocks("uncorrected-errors", reason, reset(index))
        });
    }
    problems
}

/// Who may use it.
fn access(device: &DeviceReport) -> Option<Problem> {
    let index = device.index;
    let mode = device.compute_mode?;
    match mode {
        ComputeMode::Default => None,
        ComputeMode::Prohibited => Some(blocks(
            "prohibited",
            "its compute mode forbids computing",
            format!("'sudo nvidia-smi -i {index} -c DEFAULT'"),
        )),
        ComputeMode::ExclusiveProcess | ComputeMode::ExclusiveThread => {
            let processes = device.processes.as_deref()?;
            // Where NVIDIA's multi-process server holds the device, others go through it.
            if processes.iter().any(is_shared_out) {
                return None;
            }
            let holder = processes.first()?;
            let name = holder.name.as_deref().unwrap_or("not visible from here");
            Some(blocks(
                "occupied",
                format!(
                    "its compute mode is exclusive and process {} ({name}) holds it",
                    holder.pid
                ),
                format!(
                    "wait for that process or end it, or let processes share: \
                     'sudo nvidia-smi -i {index} -c DEFAULT'"
                ),
            ))
        }
    }
}

fn is_shared_out(process: &ProcessUse) -> bool {
    process.name.as_ref().is_some_and(|name| name.starts_with("nvidia-cuda-mps"))
}

/// Whether a run finds memory there.
fn room(device: &DeviceReport) -> Option<Problem> {
    let index = device.index;
    if let Some(mig) = device.mig.as_ref().filter(|mig| mig.enabled) {
        let instances = mig.instances.as_ref()?;
        return instances.is_empty().then(|| {
            blocks(
                "mig-without-instances",
                "it is in MIG mode and no instance has been made",
                format!(
                    "list the profiles with 'nvidia-smi mig -lgip', make one with \
                     'sudo nvidia-smi mig -i {index} -cgi PROFILE -C', or leave MIG mode: \
                     'sudo nvidia-smi -i {index} -mig 0'"
                ),
            )
        });
    }
    let free = device.memory?.free;
    (free < CONTEXT).then(|| {
        blocks(
            "no-free-memory",
            format!("{free} free is less than a CUDA context takes"),
            "end a process that holds its memory (listed here), or use another GPU",
        )
    })
}

/// Settings that wait for a reset.
fn pending_modes(device: &DeviceReport) -> Vec<Problem> {
    let mig = device.mig.as_ref().map(|mig| ("MIG", mig.enabled, mig.pending));
    let ecc = device.health.ecc.map(|ecc| ("ECC", ecc.enabled, ecc.pending));
    let changed = [mig, ecc].into_iter().flatten().filter(|(_, now, then)| now != then);
    changed
        .map(|(what, _, then)| {
            let turned = if then { "on" } else { "off" };
            let reason = format!("{what} is to be turned {turned} at the next reset");
            warns("mode-pending", reason, reset(device.index))
        })
        .collect()
}

#[cfg(test)]
mod tests;
