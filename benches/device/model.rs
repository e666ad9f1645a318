//! From times by size to a cost model for the simulated device.

use freeboard::Bytes;
use freeboard::device_sim::{CallCost, CostModel};

use crate::costs::CallTime;

/// The model that goes through the smallest and the largest size measured of each call. What was
/// not measured keeps its default.
pub(crate) fn cost_model(times: &[CallTime]) -> CostModel {
    let line = |call: &str| {
        let mut of_call = times.iter().filter(|time| time.call == call);
        let first = of_call.next()?;
        let last = of_call.next_back().unwrap_or(first);
        Some(through(first, last))
    };
    let mut model = CostModel::default();
    for (cost, call) in [
        (&mut model.malloc, "cuMemAlloc"),
        (&mut model.free, "cuMemFree"),
        (&mut model.address_reserve, "cuMemAddressReserve"),
        (&mut model.address_free, "cuMemAddressFree"),
        (&mut model.create, "cuMemCreate"),
        (&mut model.release, "cuMemRelease"),
        (&mut model.map, "cuMemMap"),
        (&mut model.unmap, "cuMemUnmap"),
        (&mut model.set_access, "cuMemSetAccess"),
        (&mut model.info, "cuMemGetInfo"),
        (&mut model.event, "cuEventRecord"),
    ] {
        *cost = line(call).unwrap_or(*cost);
    }
    // What more a range of many handles takes than one handle of the same size.
    for (cost, one, many) in [
        (&mut model.set_access, "cuMemSetAccess", "cuMemSetAccess, pages"),
        (&mut model.unmap, "cuMemUnmap", "cuMemUnmap, pages"),
    ] {
        let largest = |call: &str| times.iter().rfind(|time| time.call == call);
        if let (Some(one), Some(many)) = (largest(one), largest(many)) {
            let handles = many.size.get() / Bytes::mib(2).get();
            cost.per_handle_ns = many.median_ns.saturating_sub(one.median_ns) / handles.max(1);
        }
    }
    model
}

fn through(first: &CallTime, last: &CallTime) -> CallCost {
    let mib = |size: Bytes| size.get() / Bytes::mib(1).get();
    let rise = last.median_ns.saturating_sub(first.median_ns);
    let per_mib_ns = rise / (mib(last.size) - mib(first.size)).max(1);
    let fixed_ns = first.median_ns.saturating_sub(per_mib_ns * mib(first.size));
    CallCost { fixed_ns, per_mib_ns, per_handle_ns: 0 }
}
