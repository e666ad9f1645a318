//! `PyTorch`'s own messages, of every version, and this library's, which follows them.

use freeboard_units::{Bytes, DeviceId, StreamId};

use super::cursor::{Cursor, sum};
use super::{Found, Hit, Kind, Origin};
use crate::facts::{Facts, ProcessUse};

/// What the advice says where segments are expandable; from 2.15 on.
const EXPANDABLE: [&str; 2] =
    ["expandable_segmentsisenabled.", "Thisallocationexceedstheexpandable-segmentreserve"];

/// The backends whose name stands before "out of memory".
const BACKENDS: [&str; 7] = ["CUDA", "HIP", "XPU", "NPU", "MLU", "MUSA", "torch_gcu"];

pub(super) fn read(hit: &Hit<'_>) -> Option<Found> {
    if hit.after().starts_with(b"outofmemory(MPSallocated:") {
        return Some(metal(hit));
    }
    if hit.before().ends_with(b"wouldexceedallowedmemory.(") {
        return pooled(hit);
    }
    let mut text = hit.cursor();
    if text.eat("OutOfMemoryError:") {
        let is_cut = !text.rest().is_empty() && b"CUDAoutofmemor".starts_with(text.rest());
        let end = hit.after().len() + hit.before().len();
        return is_cut.then(|| Found { truncated: true, end, ..bare(&text) });
    }
    let is_whole = text.eat("outofmemory") || text.eat("Outofmemory");
    let is_named = BACKENDS.iter().any(|name| hit.before().ends_with(name.as_bytes()));
    text.eat(".");
    if !text.eat("Triedtoallocate") {
        if text.eat("Allocationwaspreemptivelyrejected") {
            return Some(refused(hit, text));
        }
        return (is_whole && is_named).then(|| bare(&text));
    }
    if text.eat("morethan1EBmemory.") {
        return Some(Found::new(Kind::Device, Origin::PyTorch, "more than 1 EB", text.at()));
    }
    let Some(requested) = text.size() else {
        // Other libraries may say the same words; a message that ends here was cut off.
        let is_cut = is_named || text.rest().is_empty();
        return is_cut.then(|| Found { truncated: true, ..bare(&text) });
    };
    let mut found = Found::new(Kind::Device, Origin::PyTorch, "PyTorch", text.at());
    found.facts.requested = requested;
    if text.eat("(") {
        old(&mut text, &mut found);
    } else {
        new(&mut text, &mut found);
    }
    found.end = text.at();
    Some(found)
}

/// No more than "CUDA out of memory".
fn bare(text: &Cursor<'_>) -> Found {
    Found::new(Kind::Driver, Origin::PyTorch, "CUDA out of memory, without numbers", text.at())
}

/// `GPU 0; …`, until 2.0; the bracket is behind.
fn old(text: &mut Cursor<'_>, found: &mut Found) {
    found.truncated = true;
    found.wording = "PyTorch 0.4 to 2.0";
    let facts = &mut found.facts;
    let Some(device) = device(text) else { return };
    facts.device = Some(device);
    text.eat(";");
    while let Some(size) = text.size() {
        if text.eat("totalcapacity;") {
            facts.total = size;
        } else if text.eat("alreadyallocated;") {
            facts.allocated = size;
        } else if text.eat("currentactive;") {
            facts.pending = size.zip(facts.allocated).map(|(all, own)| all.saturating_sub(own));
        } else if text.eat("free;") {
            facts.free = size;
        } else if text.eat("allowed;") {
            limit(facts, size);
        } else if text.eat("cached)") {
            facts.reserved = size;
            (found.truncated, found.wording) = (false, "PyTorch 0.4 to 1.3");
            return;
        } else if text.eat("reservedintotalbyPyTorch)") {
            facts.reserved = size;
            found.truncated = false;
            let advises = text.eat("Ifreservedmemoryis>>allocatedmemory");
            found.wording = if advises { "PyTorch 1.10 to 2.0" } else { "PyTorch 1.4 to 1.9" };
            return;
        } else {
            return;
        }
    }
}

/// `GPU 0`, or the name of another kind of device; stays where the number may be cut off.
fn device(text: &mut Cursor<'_>) -> Option<DeviceId> {
    let named = ["GPU", "NPU", "XPU", "MLU", "MUSA"].iter().any(|name| text.eat(name));
    named.then(|| text.small()).flatten().map(DeviceId::new)
}

fn limit(facts: &mut Facts, size: Option<Bytes>) {
    facts.limit = size;
    let total = facts.total.filter(|total| !total.is_zero());
    facts.fraction = size.zip(total).map(|(limit, total)| limit.as_f64() / total.as_f64());
}

/// `. GPU 0 has a total capacity of …`, from 2.1 on, and this library's message.
fn new(text: &mut Cursor<'_>, found: &mut Found) {
    found.truncated = true;
    found.wording = "PyTorch 2.1 and later";
    text.eat(".");
    if let Some(device) = device(text) {
        found.facts.device = Some(device);
        if text.eat("hasatotalcapacityof") {
            found.wording = "PyTorch 2.2 and later";
        } else if text.eat("hasatotalcapactyof") {
            found.wording = "PyTorch 2.1";
        } else {
            return;
        }
        let Some(total) = text.size() else { return };
        found.facts.total = total;
        let Some(free) = text.eat("ofwhich").then(|| text.size()).flatten() else { return };
        found.facts.free = free;
        if !text.eat("isfree.") {
            return;
        }
    }
    while process(text, &mut found.facts) {}
    let mut ahead = text.clone();
    if let Some(allowed) = ahead.size()
        && ahead.eat("allowed;")
    {
        limit(&mut found.facts, allowed);
        *text = ahead;
    }
    if text.eat("Oftheallocatedmemory") {
        breakdown(text, found);
    } else {
        ours(text, found);
    }
    own_process(&mut found.facts);
}

/// One process's use.
fn process(text: &mut Cursor<'_>, facts: &mut Facts) -> bool {
    let mut ahead = text.clone();
    if ahead.eat("Includingnon-PyTorchmemory,thisprocesshas") {
        let Some(size) = ahead.size() else { return false };
        facts.process = size;
    } else {
        if !ahead.eat("Process") {
            return false;
        }
        let pid = ahead.small();
        if pid.is_none() {
            ahead.eat("(unknown)");
        }
        let Some(size) = ahead.eat("has").then(|| ahead.size()).flatten() else { return false };
        facts.others.extend(size.map(|bytes| ProcessUse { pid, bytes }));
    }
    ahead.eat("memoryinuse.");
    *text = ahead;
    true
}

/// What the allocator holds, as `PyTorch` divides it.
///
/// "Allocated" counts the free blocks of private pools in, and the number behind "private pools"
/// is those free blocks alone: so the sums in `PyTorch`'s source say, and runs.
fn breakdown(text: &mut Cursor<'_>, found: &mut Found) {
    let facts = &mut found.facts;
    let Some(Some(shown)) = text.size() else { return };
    if !text.eat("isallocatedbyPyTorch,") {
        return;
    }
    facts.allocated = Some(shown);
    if text.eat("with") {
        let Some(private) = text.size() else { return };
        facts.free_private = private;
        facts.allocated = Some(shown.saturating_sub(private.unwrap_or_default()));
        text.eat("allocatedinprivatepools(e.g.,CUDAGraphs),");
    }
    text.eat("and");
    let Some(rest) = text.size() else { return };
    facts.reserved = rest.and_then(|rest| sum(rest, shown));
    found.truncated = !text.eat("isreservedbyPyTorchbutunallocated.");
    if EXPANDABLE.iter().any(|advice| text.eat(advice)) {
        facts.expandable = Some(true);
        found.wording = "PyTorch 2.15";
    } else if text.eat("ThecustomallocatorbackingthisMemPoolreturnednullptr.") {
        found.wording = "PyTorch 2.15";
    }
}

/// The rest of this library's message.
fn ours(text: &mut Cursor<'_>, found: &mut Found) {
    let mut ahead = text.clone();
    let Some(Some(allocated)) = ahead.size() else { return };
    if !ahead.eat("isallocated,") {
        return;
    }
    (found.origin, found.wording) = (Origin::Freeboard, "Freeboard");
    let facts = &mut found.facts;
    facts.allocated = Some(allocated);
    *text = ahead;
    let Some(rest) = text.size() else { return };
    facts.reserved = rest.and_then(|rest| sum(rest, allocated));
    if !text.eat("isreservedbutunallocated") {
        return;
    }
    if text.eat("(") {
        let Some(pending) = text.size() else { return };
        facts.pending = pending;
        text.skip_to(")", 64);
    }
    if !text.eat(";thelargestfreeblockforstream") {
        return;
    }
    facts.stream = text.number().map(StreamId::new);
    let Some(largest) = text.eat("has").then(|| text.size()).flatten() else { return };
    found.truncated = !text.eat(".");
    if text.eat("Therequestwasrefusedbeforethedevicewasasked") {
        facts.refused_early = true;
        found.kind = Kind::RefusedEarly;
    } else if text.eat("Enoughisfree,butnotinonepiece:thisisfragmentation.") {
        facts.expandable = Some(false);
    } else if text.eat("Enoughisfree,butnotinonepiece,andliveblocksholdthepages") {
        facts.expandable = Some(true);
    }
    // Where memory is stitched, the block may be another stream's.
    let is_stitched = text.clone().skip_to("arefreeinwholehandles", 400);
    facts.largest_own = largest.filter(|_| !is_stitched && !found.truncated);
}

/// In a container the process does not know its own number and is listed with the others: where
/// their memory and ours are more than the device has, the one that has ours is this one.
fn own_process(facts: &mut Facts) {
    let (None, Some(total), Some(reserved)) = (facts.process, facts.total, facts.reserved) else {
        return;
    };
    let sum = facts.others.iter().fold(reserved, |sum, other| sum.saturating_add(other.bytes));
    // Two decimals of a GiB.
    let enough = reserved.saturating_sub(Bytes::mib(11));
    let mut fitting = (0..).zip(&facts.others).filter(|(_, other)| other.bytes >= enough);
    if let (Some((index, _)), None) = (fitting.next(), fitting.next())
        && sum > total.saturating_add(Bytes::mib(32))
    {
        facts.process = Some(facts.others.remove(index).bytes);
    }
}

/// Refused before the device was asked: the numbers are in a warning just before.
fn refused(hit: &Hit<'_>, mut text: Cursor<'_>) -> Found {
    let wording = "PyTorch 2.15, refused early";
    let mut found = Found::new(Kind::RefusedEarly, Origin::PyTorch, wording, text.at());
    found.facts.refused_early = true;
    found.truncated = true;
    if text.eat("becauseitwouldexceedper_process_memory_fractionlimit.Requestedsize:") {
        if let Some(requested) = text.size() {
            found.facts.requested = requested;
            found.truncated = false;
        }
        found.end = text.at();
    }
    let warning = hit.line_before("Preemptively rejecting allocation: requested ");
    let mut text = Cursor::new(&warning, 0);
    if let Some(requested) = text.size()
        && found.facts.requested.is_none_or(|known| requested == Some(known))
        && text.eat("buttotal_allocated_memory(")
    {
        found.facts.requested = requested;
        found.facts.reserved = text.size().flatten();
        if text.eat(")+requestedsizewouldexceedmemorylimit(") {
            found.facts.limit = text.size().flatten();
            if text.skip_to("%of", 16) {
                found.facts.total = text.size().flatten();
                let allowed = found.facts.limit;
                limit(&mut found.facts, allowed);
            }
        }
    }
    found
}

/// `backend:cudaMallocAsync`.
fn pooled(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    text.eat("outofmemory)").then_some(())?;
    let wording = "PyTorch, backend cudaMallocAsync";
    let mut found = Found::new(Kind::Device, Origin::PyTorch, wording, text.at());
    found.truncated = true;
    let facts = &mut found.facts;
    let start = memchr::memmem::rfind(hit.before(), b"Allocationondevice")?;
    facts.device = Cursor::new(hit.before(), start + 18).small().map(DeviceId::new);
    let mut fields: [(&str, Option<Bytes>); 5] = [
        ("Currentlyallocated:", None),
        ("Requested:", None),
        ("Devicelimit:", None),
        ("Free(accordingtoCUDA):", None),
        ("PyTorchlimit(setbyuser-suppliedmemoryfraction):", None),
    ];
    let mut read = 0;
    for (name, value) in &mut fields {
        let Some(size) = text.eat(name).then(|| text.size()).flatten() else { break };
        *value = size;
        read += 1;
    }
    let [allocated, requested, total, free, allowed] = fields.map(|(_, value)| value);
    (facts.allocated, facts.requested, facts.total, facts.free) =
        (allocated, requested, total, free);
    limit(facts, allowed);
    found.truncated = read < fields.len();
    found.end = text.at();
    Some(found)
}

/// Apple's devices.
fn metal(hit: &Hit<'_>) -> Found {
    let mut text = hit.cursor();
    text.eat("outofmemory(MPSallocated:");
    let mut found = Found::new(Kind::Device, Origin::PyTorch, "PyTorch on MPS", text.at());
    found.truncated = true;
    let facts = &mut found.facts;
    // What Metal holds for this process: the allocator's and the rest.
    facts.reserved = text.size().flatten();
    if text.eat(",otherallocations:") {
        let rest = text.size().flatten();
        facts.process = facts.reserved.zip(rest).and_then(|(own, rest)| sum(own, rest));
    }
    if text.eat(",maxallowed:") {
        facts.limit = text.size().flatten();
    }
    text.eat(")");
    if text.eat(".Triedtoallocate") {
        facts.requested = text.size().flatten();
        found.truncated = facts.requested.is_none();
    }
    found.end = text.at();
    found
}
