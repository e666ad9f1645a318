//! The words of a snapshot, each with a fixed number, so that a key is compared as a number.

macro_rules! words {
    ($($name:ident = $text:literal),* $(,)?) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers for the constants")]
        #[repr(u32)]
        enum Number { $($name),* }
        $(pub(in crate::pickle) const $name: u32 = Number::$name as u32;)*
        /// The words, in the order of their numbers.
        pub(in crate::pickle) const WORDS: &[&str] = &[$($text),*];
    };
}

words! {
    NOTHING = "",
    // The whole.
    SEGMENTS = "segments",
    DEVICE_TRACES = "device_traces",
    ALLOCATOR_SETTINGS = "allocator_settings",
    EXTERNAL_ANNOTATIONS = "external_annotations",
    HOST_SEGMENTS = "host_segments",
    HOST_TRACES = "host_traces",
    // Segments and blocks.
    DEVICE = "device",
    ADDRESS = "address",
    TOTAL_SIZE = "total_size",
    ALLOCATED_SIZE = "allocated_size",
    ACTIVE_SIZE = "active_size",
    REQUESTED_SIZE = "requested_size",
    STREAM = "stream",
    SEGMENT_TYPE = "segment_type",
    SEGMENT_POOL_ID = "segment_pool_id",
    IS_EXPANDABLE = "is_expandable",
    FRAMES = "frames",
    BLOCKS = "blocks",
    SIZE = "size",
    STATE = "state",
    HISTORY = "history",
    REAL_SIZE = "real_size",
    SMALL = "small",
    LARGE = "large",
    ACTIVE_ALLOCATED = "active_allocated",
    ACTIVE_PENDING_FREE = "active_pending_free",
    ACTIVE_AWAITING_FREE = "active_awaiting_free",
    INACTIVE = "inactive",
    // Frames.
    FILENAME = "filename",
    LINE = "line",
    NAME = "name",
    // Events.
    ACTION = "action",
    ADDR = "addr",
    DEVICE_FREE = "device_free",
    TIME_US = "time_us",
    COMPILE_CONTEXT = "compile_context",
    USER_METADATA = "user_metadata",
    POOL_ID = "pool_id",
    NOT_APPLICABLE = "N/A",
    ALLOC = "alloc",
    FREE_REQUESTED = "free_requested",
    FREE_COMPLETED = "free_completed",
    SEGMENT_ALLOC = "segment_alloc",
    SEGMENT_FREE = "segment_free",
    SEGMENT_MAP = "segment_map",
    SEGMENT_UNMAP = "segment_unmap",
    SNAPSHOT = "snapshot",
    OOM = "oom",
    ANNOTATE = "annotate",
    STITCH = "stitch",
    PLAN = "plan",
    // Annotations.
    STAGE = "stage",
    // Ours.
    FREEBOARD = "freeboard",
    VERSION = "version",
    DEVICES = "devices",
    DEVICE_TOTAL = "device_total",
    DEVICE_LIMIT = "device_limit",
    DROPPED = "dropped",
    HISTORIES = "histories",
    HOST_DROPPED = "host_dropped",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_once_and_at_its_number() {
        assert_eq!(
            (WORDS[SEGMENTS as usize], WORDS[HOST_DROPPED as usize]),
            ("segments", "host_dropped")
        );
        let all: std::collections::BTreeSet<_> = WORDS.iter().collect();
        assert_eq!(all.len(), WORDS.len());
    }
}
