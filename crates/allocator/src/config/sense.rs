//! Settings that exclude each other, and settings that do nothing.

use freeboard_units::Bytes;

use super::{Config, ConfigError, ConfigWarning};

impl Config {
    /// Fails where two settings exclude each other.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let large = self.large_segment_size;
        if self.max_split_size.is_some_and(|split| split < large) {
            return Err(ConfigError::Contradiction {
                key: "max_split_size_mb".into(),
                conflict: format!("must be at least the large segment size of {large}"),
            });
        }
        if self.max_non_split_rounding.is_some_and(|rounding| rounding < large) {
            return Err(ConfigError::Contradiction {
                key: "max_non_split_rounding_mb".into(),
                conflict: format!("must be at least the large segment size of {large}"),
            });
        }
        if self.expandable_segments && !large.is_aligned(Bytes::mib(2)) {
            return Err(ConfigError::Contradiction {
                key: "large_segment_size_mb".into(),
                conflict: format!(
                    "expandable segments are mapped in pages of 2 MiB, which {large} is no \
                     multiple of; use an even number, or expandable_segments:False"
                ),
            });
        }
        if self.stitching && !self.expandable_segments {
            return Err(ConfigError::Contradiction {
                key: "stitching".into(),
                conflict: "needs expandable_segments:True; use both or neither".into(),
            });
        }
        let ours = self.clone().with_reserve_target(self.reserve_target)?;
        ours.with_mapping_budget(self.mapping_budget).map(drop)
    }

    /// Settings that change nothing as things stand, with the remedy.
    #[must_use]
    pub fn inert_settings(&self) -> Vec<ConfigWarning> {
        let mut inert = Vec::new();
        let mut warn = |key: &str, message: &str| {
            inert.push(ConfigWarning { key: key.into(), message: message.into() });
        };
        let collects = self.garbage_collection_threshold.is_some();
        if collects && self.memory_fraction.is_none() && !self.garbage_collection_without_fraction {
            warn(
                "garbage_collection_threshold",
                "has no effect without a memory fraction below 1; set \
                 per_process_memory_fraction:0.9999 to collect relative to the whole device",
            );
        }
        if collects && self.expandable_segments {
            warn(
                "garbage_collection_threshold",
                "skips expandable segments, so it finds nothing to collect; leave it out",
            );
        }
        if self.max_split_size.is_some() && self.stitching {
            warn("max_split_size_mb", "has no effect where memory is stitched; leave it out");
        } else if self.max_split_size.is_some() && self.expandable_segments {
            warn(
                "max_split_size_mb",
                "expandable segments are split whatever their size; it only keeps large free \
                 ranges from serving smaller requests. Leave it out",
            );
        }
        if self.max_non_split_rounding.is_some() && self.max_split_size.is_none() {
            warn("max_non_split_rounding_mb", "has no effect without max_split_size_mb");
        }
        if self.expandable_segments_reserve.is_some() && !self.expandable_segments {
            warn("expandable_segments_reserve", "has no effect without expandable_segments:True");
        }
        if self.planning && !self.stitching {
            warn("planning", "has no effect without stitching:True");
        }
        inert
    }
}
