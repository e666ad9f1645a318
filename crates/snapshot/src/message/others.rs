//! Other frameworks' messages that name a size: XLA, `TensorFlow`, ONNX Runtime, Burn.

use freeboard_units::DeviceId;

use super::cursor::{Cursor, plausible};
use super::{Found, Hit, HostCause, Kind, Origin};

pub(super) fn read(hit: &Hit<'_>) -> Option<Found> {
    xla(hit).or_else(|| tensor(hit)).or_else(|| arena(hit)).or_else(|| cubecl(hit))
}

fn sized(origin: Origin, wording: &'static str, mut text: Cursor<'_>) -> Found {
    let mut found = Found::new(Kind::Device, origin, wording, text.at());
    match text.size() {
        Some(rounded) => {
            let exact = text.eat("(").then(|| text.size()).flatten();
            found.facts.requested = exact.unwrap_or(rounded);
        }
        None => found.truncated = true,
    }
    found.end = text.at();
    found
}

/// `RESOURCE_EXHAUSTED: Out of memory while trying to allocate 33762398024 bytes.`, and older ways.
fn xla(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    if !text.eat("RESOURCE_EXHAUSTED:") && !text.eat("Resourceexhausted:") {
        return None;
    }
    if text.eat("Outofmemorywhiletryingtoallocate") || text.eat("Outofmemoryallocating") {
        return Some(sized(Origin::Xla, "XLA, while trying to allocate", text));
    }
    if text.eat("Failedtoallocaterequestfor") {
        let mut found = sized(Origin::Xla, "XLA, failed to allocate request", text);
        let mut text = Cursor::new(hit.text, found.end);
        if text.eat(")ondeviceordinal") {
            found.facts.device = text.small().map(DeviceId::new);
            found.end = text.at();
        }
        return Some(found);
    }
    let says = text.eat("Outofmemory");
    says.then(|| Found::new(Kind::Driver, Origin::Xla, "XLA, out of memory", text.at()))
}

/// `OOM when allocating tensor with shape[32,1024] and type float on …/device:GPU:0 by allocator`,
/// and the allocator's own `ran out of memory trying to allocate 2.00GiB`.
fn tensor(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.line();
    if text.eat("outofmemorytryingtoallocate") {
        let mut found = sized(Origin::TensorFlow, "TensorFlow, allocator ran out", text);
        let start = memchr::memmem::rfind(hit.before(), b"(GPU_");
        let number = start.map(|start| Cursor::new(hit.before(), start + 5));
        found.facts.device = number.and_then(|mut text| text.small()).map(DeviceId::new);
        let is_failure = !hit.line().skip_to("notafailure", 400);
        return is_failure.then_some(found);
    }
    text.eat("OOMwhenallocatingtensorwithshape[").then_some(())?;
    let wording = "TensorFlow, OOM when allocating tensor";
    let mut found = Found::new(Kind::Device, Origin::TensorFlow, wording, text.at());
    found.truncated = true;
    let mut count = Some(1_u64);
    while let Some(extent) = text.number() {
        count = count.and_then(|count| count.checked_mul(extent));
        if !text.eat(",") {
            break;
        }
    }
    if text.eat("]andtype") {
        let size = [
            ("floaton", 4),
            ("halfon", 2),
            ("bfloat16on", 2),
            ("doubleon", 8),
            ("int64on", 8),
            ("int32on", 4),
            ("uint8on", 1),
            ("int8on", 1),
            ("boolon", 1),
            ("complex64on", 8),
        ];
        let size = size.into_iter().find(|(name, _)| text.eat(name));
        found.facts.requested =
            size.zip(count).and_then(|((_, size), count)| plausible(count.checked_mul(size)?));
        if text.skip_to("device:", 80) {
            if text.eat("GPU:") {
                found.facts.device = text.small().map(DeviceId::new);
            } else if text.eat("CPU:") {
                found.kind = Kind::Host { cause: HostCause::Allocation };
            }
        }
        found.truncated = !text.skip_to("byallocator", 16);
    }
    found.end = text.at();
    Some(found)
}

/// ONNX Runtime's arena, which does not say whose memory it is but by the provider's name.
fn arena(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    text.eat("Failedtoallocatememoryforrequestedbufferofsize").then_some(())?;
    let mut found = Found::new(Kind::Device, Origin::OnnxRuntime, "ONNX Runtime", text.at());
    found.facts.requested = hit.last_number(&mut text).and_then(plausible);
    found.truncated = found.facts.requested.is_none() && text.rest().is_empty();
    found.end = text.at();
    Some(found)
}

/// `CubeCL`'s pools.
fn cubecl(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    text.eat("Nopoolhandlesallocationofsize").then_some(())?;
    let mut found = Found::new(Kind::Device, Origin::Burn, "CubeCL, no pool", text.at());
    found.facts.requested = hit.last_number(&mut text).and_then(plausible);
    found.end = text.at();
    Some(found)
}
