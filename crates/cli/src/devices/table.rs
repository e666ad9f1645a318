//! The report as text.

use std::fmt::{Display, Write as _};

use freeboard_survey::{ComputeMode, DeviceReport, ErrorCounts, Health, Mig, Survey};
use freeboard_units::Bytes;

/// A row per device, then what else is known about each.
pub(super) fn table(survey: &Survey) -> String {
    let mut text = String::new();
    if survey.driver_version.is_some() || survey.cuda_version.is_some() {
        let (driver, cuda) =
            (or_dash(survey.driver_version.as_ref()), or_dash(survey.cuda_version.as_ref()));
        let _ = writeln!(text, "driver {driver}, CUDA up to {cuda}");
    }
    if let Some(reason) = &survey.reason {
        let _ = writeln!(text, "no devices: {reason}");
    }
    if let Some(advice) = &survey.advice {
        let _ = writeln!(text, "  {advice}");
    }
    if !survey.devices.is_empty() {
        text.push_str(&rows(&survey.devices));
    }
    for device in &survey.devices {
        details(&mut text, device);
    }
    text
}

const HEADING: [&str; 9] =
    ["GPU", "name", "cc", "total", "free", "yours", "others", "busy", "usable"];

fn rows(devices: &[DeviceReport]) -> String {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(devices.iter().map(cells));
    let letters = |cell: &String| cell.chars().count();
    let widths: [usize; HEADING.len()] = std::array::from_fn(|column| {
        rows.iter().map(|row| letters(&row[column])).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Names to the left, numbers to the right.
            let _ = match column {
                0..=2 => write!(line, "  {cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn cells(device: &DeviceReport) -> [String; HEADING.len()] {
    let memory = device.memory;
    let part = |part: Option<Bytes>| or_dash(part);
    let busy = device.utilisation.map(|it| format!("{} %", it.compute_percent));
    [
        device.index.to_string(),
        or_dash(device.name.as_ref()),
        or_dash(device.compute_capability.as_ref()),
        part(memory.map(|it| it.total)),
        part(memory.map(|it| it.free)),
        part(memory.and_then(|it| it.used_by_user)),
        part(memory.and_then(|it| it.used_by_others)),
        or_dash(busy),
        (if device.usable { "yes" } else { "NO" }).to_owned(),
    ]
}

fn details(text: &mut String, device: &DeviceReport) {
    let (pci, uuid) = (or_dash(device.pci.as_ref()), or_dash(device.uuid.as_ref()));
    let _ = writeln!(text, "\nGPU {}  {pci}  {uuid}", device.index);
    let mut said = Vec::new();
    for problem in &device.problems {
        let what = if problem.blocks { "cannot be used" } else { "warning" };
        let _ = writeln!(text, "  {what}: {}", problem.reason);
        // One reset often mends several things.
        if !said.contains(&&problem.advice) {
            let _ = writeln!(text, "    {}", problem.advice);
            said.push(&problem.advice);
        }
    }
    if let Some(memory) = &device.memory {
        let _ = writeln!(
            text,
            "  memory: {} used, {} of it by processes not seen from here; the driver keeps {}",
            memory.used,
            or_dash(memory.unaccounted),
            memory.reserved_by_driver
        );
    }
    let mode = device.compute_mode.map(|mode| match mode {
        ComputeMode::Default => "shared",
        ComputeMode::ExclusiveThread => "exclusive to a thread",
        ComputeMode::ExclusiveProcess => "exclusive to a process",
        ComputeMode::Prohibited => "prohibited",
    });
    let (mode, persistence) = (or_dash(mode), switch(device.persistence));
    let mig = switch(device.mig.as_ref().map(|mig| mig.enabled));
    let _ = writeln!(text, "  compute mode {mode}, persistence {persistence}, MIG {mig}");
    instances(text, device.mig.as_ref());
    health(text, &device.health);
    let Some(processes) = &device.processes else {
        text.push_str("  processes: -\n");
        return;
    };
    let heading = if processes.is_empty() { "  processes: none\n" } else { "  processes:\n" };
    text.push_str(heading);
    for process in processes {
        let whose = if process.is_users { "yours" } else { "another's" };
        let (pid, used) = (process.pid, or_dash(process.used));
        let name = process.name.as_deref().unwrap_or("(not seen from here)");
        let _ = writeln!(text, "    {pid:>7}  {used:>11}  {whose:<9}  {name}");
    }
}

fn instances(text: &mut String, mig: Option<&Mig>) {
    for instance in mig.and_then(|mig| mig.instances.as_ref()).into_iter().flatten() {
        let (uuid, total) = (or_dash(instance.uuid.as_ref()), or_dash(instance.total));
        let _ = writeln!(text, "    {uuid}  {total}, {} free", or_dash(instance.free));
    }
}

fn health(text: &mut String, health: &Health) {
    let counts = |counts: ErrorCounts| {
        format!("{} corrected, {} not", or_dash(counts.corrected), or_dash(counts.uncorrected))
    };
    let _ = writeln!(
        text,
        "  ECC {}; errors since the last reset: {}; ever: {}",
        switch(health.ecc.map(|ecc| ecc.enabled)),
        counts(health.volatile_errors),
        counts(health.aggregate_errors)
    );
    let (rows, pages) = (health.remapped_rows, health.retired_pages);
    let both = ErrorCounts { corrected: rows.corrected, uncorrected: rows.uncorrected };
    let (pending, failed) = (answer(rows.pending), answer(rows.failure));
    let _ = writeln!(
        text,
        "  rows remapped for errors: {}; pending {pending}, failed {failed}",
        counts(both)
    );
    let (single, double) = (or_dash(pages.single_bit), or_dash(pages.double_bit));
    let pending = answer(pages.pending);
    let _ = writeln!(
        text,
        "  pages retired for errors: {single} single-bit, {double} double-bit; pending {pending}"
    );
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn switch(is_on: Option<bool>) -> &'static str {
    is_on.map_or("-", |is_on| if is_on { "on" } else { "off" })
}

fn answer(is_so: Option<bool>) -> &'static str {
    is_so.map_or("-", |is_so| if is_so { "YES" } else { "no" })
}
