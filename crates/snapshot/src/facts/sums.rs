//! [`Sums`]: what follows from the facts, with nothing unknown left.

use freeboard_units::Bytes;

use super::Facts;

/// Other processes count from this part of the device on: a desktop's few hundred megabytes do not.
const OTHERS_PART: f64 = 0.1;
/// The most that a CUDA context and its libraries take beside the allocator's memory.
const CONTEXT_MAX: Bytes = Bytes::gib(2);
/// What may come and go beside the allocator without meaning anything.
const SLACK: Bytes = Bytes::mib(256);
/// `PyTorch`'s segments: of small blocks, of large ones up to 10 MiB, and pages above.
pub(crate) const SMALL_SEGMENT: Bytes = Bytes::mib(2);
const LARGE_SEGMENT: Bytes = Bytes::mib(20);
const OWN_SEGMENT: Bytes = Bytes::mib(10);

/// Bytes by what would have to happen for a request to have them. What is not known is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sums {
    /// Held by the allocator.
    pub reserved: Bytes,
    /// In blocks handed out.
    pub allocated: Bytes,
    /// Given back, but still used by other streams.
    pub pending: Bytes,
    /// Held and free for the request's stream, in pieces.
    pub free_own: Bytes,
    /// Held and free, but for other streams.
    pub free_streams: Bytes,
    /// Held and free, but private pools'.
    pub free_private: Bytes,
    /// Free on the device, and within the limit.
    pub growable: Bytes,
    /// What the allocator could hold at the most, beside the other processes.
    pub within_reach: Bytes,
    /// Lost to rounding.
    pub rounding: Bytes,
    /// Held by other processes, where that is much.
    pub others: Bytes,
    /// Held by this process beside the allocator: context, libraries.
    pub beside: Bytes,
}

impl Sums {
    /// Whether what is missing lies in this process beside its allocator, as far as the driver can
    /// tell: more than a context takes, and no less than what others hold.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.beside > CONTEXT_MAX && self.beside >= self.others
    }
}

impl Facts {
    /// What follows from the facts.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let or_zero = Option::<Bytes>::unwrap_or_default;
        let (reserved, allocated) = (or_zero(self.reserved), or_zero(self.allocated));
        let pending = or_zero(self.pending);
        let free = or_zero(self.free);
        let cached = reserved.saturating_sub(allocated).saturating_sub(pending);
        let free_streams = or_zero(self.free_other_streams).min(cached);
        // What PyTorch's message calls allocated in private pools is what is free in them.
        let free_private =
            or_zero(self.free_private.or(self.private)).min(cached.saturating_sub(free_streams));
        let rest = cached.saturating_sub(free_streams).saturating_sub(free_private);
        // Files of PyTorch do not tell the limit; but the device had room and was not used.
        let is_limited = self.requested.is_some_and(|requested| self.is_limited_untold(requested));
        let free = if is_limited { Bytes::ZERO } else { free };
        let room = self.limit.map_or(free, |limit| free.min(limit.saturating_sub(reserved)));
        Sums {
            reserved,
            allocated,
            pending,
            free_own: self.free_own.unwrap_or(rest),
            free_streams,
            free_private,
            growable: room,
            within_reach: reserved.saturating_add(room),
            rounding: self.asked.map_or(Bytes::ZERO, |asked| allocated.saturating_sub(asked)),
            others: self.others_bytes(),
            beside: self.process.map_or(Bytes::ZERO, |process| process.saturating_sub(reserved)),
        }
    }

    /// All memory there is for this process, if it had nothing yet: the device's, or, where that is
    /// not told, what was held and free.
    #[must_use]
    pub fn whole(&self) -> Option<Bytes> {
        let within_reach = || self.sums().within_reach;
        self.total.or_else(|| (self.says_all && self.free.is_some()).then(within_reach))
    }

    /// Whether the device had room, as was measured then, and a limit that is not told stopped it.
    #[must_use]
    pub fn is_limited_untold(&self, requested: Bytes) -> bool {
        self.limit.is_none()
            && self.says_all
            && !self.by_freeboard
            && self.device_had_room(requested)
    }

    /// Whether the settings keep large blocks whole, so that one that is free may not serve.
    #[must_use]
    pub fn keeps_blocks_whole(&self) -> bool {
        self.settings.as_deref().is_some_and(|settings| settings.contains("max_split_size_mb"))
    }

    /// Whether the device had room for the segment that the request would have needed.
    #[must_use]
    pub fn device_had_room(&self, requested: Bytes) -> bool {
        self.free.is_some_and(|free| free >= segment_for(requested))
    }

    /// What other processes hold, told or not; zero where it is little.
    fn others_bytes(&self) -> Bytes {
        let told = self.other_processes().map(|process| process.bytes);
        let told = told.fold(Bytes::ZERO, Bytes::saturating_add);
        // What this process once held, and could not have again.
        let within_reach =
            self.reserved.unwrap_or_default().saturating_add(self.free.unwrap_or_default());
        let taken = self.once_reserved.unwrap_or_default().saturating_sub(within_reach);
        let told = told.max(if taken > SLACK { taken } else { Bytes::ZERO });
        let (Some(total), Some(free)) = (self.total, self.free) else { return told };
        // Inside a container other processes are not listed, but what they hold is gone.
        // What this process holds beside its allocator counts too, once it is more than a context.
        let own = match (self.process, self.reserved) {
            (Some(process), None) => process,
            (_, Some(reserved)) => reserved.saturating_add(CONTEXT_MAX),
            (None, None) => return told,
        };
        let missing = total.saturating_sub(free).saturating_sub(own);
        let others = told.max(missing);
        if others.as_f64() >= OTHERS_PART * total.as_f64() { others } else { Bytes::ZERO }
    }

    /// The processes listed, without this one: inside a container its number is another, and it is
    /// listed among the others.
    pub fn other_processes(&self) -> impl Iterator<Item = &super::ProcessUse> {
        let reserved = self.reserved.unwrap_or_default();
        let within = reserved..=reserved.saturating_add(CONTEXT_MAX);
        let looks_own = |bytes| self.process.is_none() && within.contains(&bytes);
        let own = self.others.iter().position(|other| looks_own(other.bytes));
        let others = self.others.iter().enumerate();
        others.filter(move |(place, _)| Some(*place) != own).map(|(_, other)| other)
    }
}

/// The segment that a request needs where no block serves it.
pub(crate) fn segment_for(requested: Bytes) -> Bytes {
    match requested {
        small if small <= Bytes::mib(1) => SMALL_SEGMENT,
        large if large < OWN_SEGMENT => LARGE_SEGMENT,
        own => own.checked_align_up(Bytes::mib(2)).unwrap_or(own),
    }
}
