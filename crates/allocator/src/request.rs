//! A request on its way down the ladder.

use freeboard_device::Device;
use freeboard_units::{Address, Bytes, StreamId};

use crate::block::BlockId;
use crate::error::Error;
use crate::policy::stitching::StitchPolicy;
use crate::policy::{placement, rounding};
use crate::state::State;
use crate::stats::Class;

/// What is wanted, worked out once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// As the caller asked, before rounding.
    pub(crate) asked: Bytes,
    /// The block size that serves it.
    pub(crate) size: Bytes,
    pub(crate) class: Class,
    /// The pool that serves it, by number.
    pub(crate) pool: u16,
    /// The stream, by number.
    pub(crate) stream: u16,
}

/// A block handed out, or nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) block: BlockId,
    pub(crate) address: Address,
    pub(crate) size: Bytes,
}

impl Grant {
    /// What a request for zero bytes gets.
    pub(crate) const EMPTY: Self =
        Self { block: BlockId::NONE, address: Address::NULL, size: Bytes::ZERO };
}

impl Request {
    /// The segment that would be taken from the device for it.
    pub(crate) fn segment_size(&self, large: Bytes) -> Bytes {
        placement::segment_size(self.size, large)
    }
}

impl<D: Device> State<D> {
    /// Works a request out; `asked` is not zero.
    #[inline]
    pub(crate) fn request(&mut self, asked: Bytes, stream: StreamId) -> Result<Request, Error> {
        if asked >= rounding::TOO_LARGE {
            return Err(self.absurd(asked, stream));
        }
        let size = rounding::block_size(asked, self.roundup.as_ref());
        let class = placement::class_of(size);
        let pool =
            if self.captures.is_empty() { class as u16 } else { self.captured_pool(stream, class) };
        let pool = if self.is_stitched(usize::from(pool)) {
            StitchPolicy::pool(pool, size, self.stitch.round_mask)
        } else {
            pool
        };
        let stream = self.streams.number(stream).ok_or(Error::TooManyStreams)?;
        Ok(Request { asked, size, class, pool, stream })
    }
}
