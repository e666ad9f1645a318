//! What things are called where advice is given: in Python under `PyTorch`, in Rust under ours.

use crate::facts::Facts;

/// The words of one allocator's users.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) empty_cache: &'static str,
    pub(super) synchronize: &'static str,
    pub(super) record_use: &'static str,
    pub(super) lend: &'static str,
    pub(super) raise_limit: &'static str,
    pub(super) checkpoint: &'static str,
    pub(super) drop_losses: &'static str,
    pub(super) allocated_now: &'static str,
    pub(super) peak_allocated: &'static str,
    pub(super) peak_reserved: &'static str,
    pub(super) record_history: &'static str,
    pub(super) catch_growth: &'static str,
    pub(super) keep_whole: &'static str,
    /// What is written before an option string to set it.
    pub(super) setting: &'static str,
}

const PYTORCH: Words = Words {
    empty_cache: "call torch.cuda.empty_cache()",
    synchronize: "torch.cuda.synchronize()",
    record_use: "call record_stream on fewer tensors",
    lend: "MemPool(use_on_oom=True)",
    raise_limit: "torch.cuda.set_per_process_memory_fraction(1.0)",
    checkpoint: "torch.utils.checkpoint around each block",
    drop_losses: "append loss.item() or loss.detach()",
    allocated_now: "torch.cuda.memory_allocated()",
    peak_allocated: "torch.cuda.max_memory_allocated()",
    peak_reserved: "torch.cuda.max_memory_reserved()",
    record_history: "torch.cuda.memory._record_memory_history(), and dump a snapshot when it fails",
    catch_growth: "compare torch.cuda.memory_allocated() after a few steps and stop when it grows",
    keep_whole: "keep expandable segments on in every job whose shapes vary",
    setting: "PYTORCH_CUDA_ALLOC_CONF=",
};

const FREEBOARD: Words = Words {
    empty_cache: "call CachingAllocator::empty_cache()",
    synchronize: "synchronize the device",
    record_use: "call record_use on fewer allocations",
    lend: "PoolOptions with lending on",
    raise_limit: "CachingAllocator::set_memory_fraction(1.0)",
    checkpoint: "keep every few layers' outputs only",
    drop_losses: "keep numbers, not tensors",
    allocated_now: "stats().allocated_bytes",
    peak_allocated: "the peak of stats().allocated_bytes",
    peak_reserved: "the peak of stats().reserved_bytes",
    record_history: "with Freeboard's allocator: CachingAllocator::record_history, and dump_on_oom",
    catch_growth: "let watch::Stable check the first steps of every run",
    keep_whole: "keep stitching on: free pages are joined wherever they lie",
    setting: "PYTORCH_ALLOC_CONF=",
};

impl Words {
    /// Those of the allocator that ran out.
    pub(super) const fn of(facts: &Facts) -> &'static Self {
        if facts.by_freeboard { &FREEBOARD } else { &PYTORCH }
    }
}
