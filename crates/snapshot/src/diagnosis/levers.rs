//! What would help, by cause, with the bytes it would gain.

use freeboard_units::Bytes;

use super::{Cause, Lever, LeverKind};
use crate::facts::{Facts, Sums};

/// The part of a step's activations that checkpointing every block of a deep network saves, put
/// carefully: what is kept and the one block that is recomputed are the rest.
const CHECKPOINTED_PART: f64 = 0.6;

/// The levers, best first: those of the weightiest cause lead.
pub(super) fn levers(facts: &Facts, causes: &[Cause]) -> Vec<Lever> {
    let sums = facts.sums();
    let mut found: Vec<Lever> = Vec::new();
    // What is kept from step to step fills any device: nothing else would help for long.
    let causes = if causes.first() == Some(&Cause::Growth) { &causes[..1] } else { causes };
    for cause in causes {
        for lever in of_cause(*cause, facts, &sums) {
            if !found.iter().any(|known| known.action == lever.action) {
                found.push(lever);
            }
        }
    }
    found
}

fn lever(action: impl Into<String>, gain: Option<Bytes>) -> Lever {
    of_kind(LeverKind::Program, action, gain)
}

fn of_kind(kind: LeverKind, action: impl Into<String>, gain_bytes: Option<Bytes>) -> Lever {
    Lever { action: action.into(), setting: None, gain_bytes, verified: false, kind }
}

fn setting(action: &str, setting: impl Into<String>, gain: Bytes) -> Lever {
    let gain_bytes = Some(gain).filter(|gain| !gain.is_zero());
    Lever { setting: Some(setting.into()), ..of_kind(LeverKind::Setting, action, gain_bytes) }
}

fn of_cause(cause: Cause, facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let waiting = sums.pending.max(facts.late.unwrap_or_default());
    match cause {
        Cause::Exhaustion => smaller(facts, sums),
        Cause::Fragmentation => in_pieces(facts, sums),
        Cause::Rounding => vec![lever(
            "round sizes up by less: remove roundup_power2_divisions from the settings, or make \
             tensors of fewer different sizes",
            Some(sums.rounding),
        )],
        Cause::StrandedByStream => vec![
            lever(
                "use fewer streams, or the same ones again: free memory serves only the stream it \
                 was allocated on",
                Some(sums.free_streams),
            ),
            lever(
                "call torch.cuda.empty_cache() after the work on the other streams is done",
                Some(sums.free_streams),
            ),
            moved("Freeboard's allocator lets every stream use what any stream freed"),
        ],
        Cause::PrivatePool => vec![
            lever(
                "release graphs or MemPools that are no longer used, or share one pool between \
                 them: what is free in a private pool serves nobody else",
                Some(sums.free_private),
            ),
            lever("make the pool lend when memory runs out: MemPool(use_on_oom=True)", None),
        ],
        Cause::PendingFree => vec![
            lever(
                "wait for the other streams (torch.cuda.synchronize()) before the large request",
                Some(waiting),
            ),
            lever(
                "free earlier, or call record_stream on fewer tensors: order the streams with \
                 events instead and keep the tensor until then",
                Some(waiting),
            ),
        ],
        Cause::Limit => limited(facts, sums),
        Cause::OtherProcess => other_processes(facts, sums),
        Cause::Growth => leaking(facts),
        Cause::HostMemory => vec![lever(
            "give the host more memory, or use less of it: fewer data loader workers, less \
             prefetching and pinning, a larger /dev/shm",
            None,
        )],
        Cause::NotMemory | Cause::Unknown => Vec::new(),
    }
}

fn smaller(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let missing = missing(facts, sums);
    let part = |part: f64| facts.transient.map(|bytes| scaled(bytes, part));
    let mut found = Vec::new();
    if let (Some(requested), Some(total)) = (facts.requested, facts.total)
        && requested > total
    {
        found.push(lever(
            "look at the shapes of the failing operation: this one request is larger than the whole \
             device, which is more often a wrong dimension than a large model",
            Some(requested),
        ));
    }
    found.push(smaller_batch(facts));
    found.push(lever(
        "recompute activations instead of keeping them (torch.utils.checkpoint around each block)",
        part(CHECKPOINTED_PART),
    ));
    found.push(lever(
        "keep less per parameter: bf16 weights and gradients, an 8-bit or sharded optimizer \
         (FSDP, ZeRO), or offload its state to the host",
        None,
    ));
    let more = format!("use a device with more memory: the failed request alone lacked {missing}");
    found.push(of_kind(LeverKind::Capacity, more, None));
    found
}

fn smaller_batch(facts: &Facts) -> Lever {
    of_kind(
        LeverKind::Batch,
        "halve the batch and accumulate gradients over two of them: the same gradients, half the \
         activations",
        facts.transient.map(|bytes| scaled(bytes, 0.5)),
    )
}

fn in_pieces(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let mut found = Vec::new();
    let settings = facts.settings.as_deref().unwrap_or_default();
    let expandable =
        facts.expandable.unwrap_or_else(|| settings.contains("expandable_segments:True"));
    if expandable {
        found.push(moved(
            "expandable segments are on already and live blocks hold the pages between: Freeboard's \
             allocator joins free pages wherever they lie",
        ));
    } else {
        found.push(setting(
            "let segments grow instead of making new ones",
            with_setting(settings, "expandable_segments:True"),
            sums.free_own,
        ));
        if !settings.contains("max_split_size_mb") {
            found.push(setting(
                "where expandable segments cannot be used: keep large blocks whole",
                with_setting(settings, "max_split_size_mb:256"),
                Bytes::ZERO,
            ));
        }
    }
    found.push(lever(
        "make sizes vary less from step to step: pad or bucket sequence lengths and image sizes",
        None,
    ));
    found.push(smaller_batch(facts));
    found
}

/// The settings there are with one more: writing the variable anew must not lose the others.
fn with_setting(settings: &str, one: &str) -> String {
    if settings.is_empty() {
        return format!("PYTORCH_CUDA_ALLOC_CONF={one}");
    }
    // Blocks are not kept whole where segments grow: PyTorch refuses or ignores the two together.
    let kept =
        settings.split(',').filter(|key| !key.trim_start().starts_with("expandable_segments"));
    let kept: Vec<&str> = kept.chain([one]).collect();
    format!("PYTORCH_CUDA_ALLOC_CONF={}", kept.join(","))
}

fn limited(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let beyond = facts.free.unwrap_or_default().saturating_sub(sums.growable);
    let gain = Some(beyond).filter(|gain| !gain.is_zero()).or(facts.free);
    let mut found = vec![of_kind(
        LeverKind::Capacity,
        "raise or remove the limit: torch.cuda.set_per_process_memory_fraction(1.0), or \
         per_process_memory_fraction in the settings",
        gain,
    )];
    found.extend(smaller(facts, sums).into_iter().filter(|lever| lever.kind == LeverKind::Batch));
    found
}

fn other_processes(facts: &Facts, sums: &Sums) -> Vec<Lever> {
    let pids: Vec<String> =
        facts.other_processes().filter_map(|other| other.pid).map(|pid| pid.to_string()).collect();
    let whose =
        if pids.is_empty() { String::new() } else { format!(" (process {})", pids.join(", ")) };
    vec![
        lever(
            format!(
                "stop the other processes on the device{whose}, or wait for them: nvidia-smi lists them"
            ),
            Some(sums.others),
        ),
        lever(
            "use another device: CUDA_VISIBLE_DEVICES; freeboard devices shows which is free",
            None,
        ),
    ]
}

fn leaking(facts: &Facts) -> Vec<Lever> {
    let Some(growth) = &facts.growth else { return Vec::new() };
    let who = growth.holders.first().map(|holder| format!(", above all at {}", holder.name));
    vec![
        lever(
            format!(
                "drop what is kept from step to step{}: lists of losses (append loss.item() or \
                 loss.detach()), caches, graphs kept by retain_graph",
                who.unwrap_or_default()
            ),
            Some(growth.held),
        ),
        lever("a smaller batch only puts it off", None),
    ]
}

fn moved(action: &str) -> Lever {
    of_kind(LeverKind::Freeboard, action, None)
}

/// Bytes that the request lacked, if all that is free could be used.
pub(super) fn missing(facts: &Facts, sums: &Sums) -> Bytes {
    let free = sums.growable + sums.free_own + sums.free_streams + sums.free_private;
    facts.requested.unwrap_or_default().saturating_sub(free)
}

fn scaled(bytes: Bytes, part: f64) -> Bytes {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of it")]
    Bytes::new((bytes.as_f64() * part) as u64)
}
