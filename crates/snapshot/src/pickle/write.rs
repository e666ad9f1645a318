//! Writing a [`Snapshot`] so that `PyTorch`'s tools and its viewer open it.

use std::io::{self, Write};

use freeboard_units::{Bytes, DeviceId};

use crate::history::{Action, Event, History};
use crate::model::{Block, BlockState, Segment, Setting, Snapshot};
use crate::names::NameId;

use super::encode::{Encoder, out_of_range};
use super::finish::DEPTH_MAX;
use super::key;
use super::records::DEVICES_MAX;

/// Writes a snapshot in the layout of `PyTorch` 2.15, in the part of pickle's protocol 4 that its
/// viewer reads.
///
/// `PyTorch`'s keys say all they can. What only we know stands under a key `freeboard` of the
/// whole, and a block's tag under `user_metadata`; its tools look at neither. A pinned segment's
/// device is always −1.
///
/// # Errors
/// Those of `to`; and [`io::ErrorKind::InvalidInput`] for what no such file can say: numbers of
/// 2⁶³ or more, device numbers above 65,535, and tables of settings within tables, four deep.
pub fn write(snapshot: &Snapshot, to: impl Write) -> io::Result<()> {
    let mut file = Writer { encoder: Encoder::new(snapshot, to), snapshot };
    file.whole()?;
    file.encoder.finish()
}

struct Writer<'s, W> {
    encoder: Encoder<'s, W>,
    snapshot: &'s Snapshot,
}

impl<W: Write> Writer<'_, W> {
    fn whole(&mut self) -> io::Result<()> {
        let snapshot = self.snapshot;
        self.encoder.dict();
        // Histories first: what every event refers to gets the small numbers, which take less room.
        self.encoder.word(key::DEVICE_TRACES)?;
        // The viewer looks for a history of every device that has a segment.
        let devices = snapshot.segments.iter().map(|segment| segment.device.get());
        let devices = devices.max().map_or(0, |last| last as usize + 1);
        if devices as u64 > DEVICES_MAX.cast_unsigned() + 1 {
            return Err(out_of_range("device number", devices as u64 - 1));
        }
        let nothing = History::default();
        let missing = devices.saturating_sub(snapshot.histories.len());
        let histories = snapshot.histories.iter().chain(std::iter::repeat_n(&nothing, missing));
        self.list(histories, |file, history| file.list(&history.events, Self::event))?;

        self.encoder.word(key::HOST_TRACES)?;
        match &snapshot.host_histories[..] {
            // As PyTorch has it; an empty list would be no history.
            [only] if !only.events.is_empty() => self.list(&only.events, Self::event)?,
            all => self.list(all, |file, history| file.list(&history.events, Self::event))?,
        }
        self.encoder.word(key::SEGMENTS)?;
        self.list(&snapshot.segments, |file, segment| {
            file.segment(segment, segment.device.get().into())
        })?;
        self.encoder.word(key::HOST_SEGMENTS)?;
        self.list(&snapshot.host_segments, |file, segment| file.segment(segment, -1))?;
        self.encoder.word(key::ALLOCATOR_SETTINGS)?;
        self.table(snapshot.settings.iter(), DEPTH_MAX)?;
        self.encoder.word(key::EXTERNAL_ANNOTATIONS)?;
        self.list(&snapshot.annotations, |file, annotation| {
            file.encoder.dict();
            file.encoder.word(key::STAGE)?;
            file.encoder.name(annotation.stage)?;
            file.encoder.word(key::NAME)?;
            file.encoder.name(annotation.name)?;
            file.device(annotation.device)?;
            file.signed(key::TIME_US, annotation.time_us)?;
            file.encoder.set()
        })?;
        self.encoder.word(key::FREEBOARD)?;
        self.ours()?;
        self.encoder.set()
    }

    /// Entries go in runs of a thousand: the viewer passes a run as arguments of one call.
    fn list<T>(
        &mut self,
        entries: impl IntoIterator<Item = T>,
        mut one: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.encoder.list();
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            self.encoder.mark();
            for entry in entries.by_ref().take(1000) {
                one(self, entry)?;
            }
            self.encoder.append()?;
        }
        Ok(())
    }

    fn whole_number(&mut self, key: u32, number: u64) -> io::Result<()> {
        let number =
            i64::try_from(number).map_err(|_| out_of_range(key::WORDS[key as usize], number))?;
        self.signed(key, number)
    }

    fn signed(&mut self, key: u32, number: i64) -> io::Result<()> {
        self.encoder.word(key)?;
        self.encoder.number(number);
        Ok(())
    }

    fn device(&mut self, device: DeviceId) -> io::Result<()> {
        if i64::from(device.get()) > DEVICES_MAX {
            return Err(out_of_range("device number", device.get().into()));
        }
        self.signed(key::DEVICE, device.get().into())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.encoder.dict();
        self.encoder.word(key::ACTION)?;
        self.action(event.action)?;
        let place = if event.action == Action::Oom { key::DEVICE_FREE } else { key::ADDR };
        self.whole_number(place, event.address)?;
        self.whole_number(key::SIZE, event.size.get())?;
        self.whole_number(key::STREAM, event.stream.get())?;
        self.signed(key::TIME_US, event.time_us)?;
        self.encoder.word(key::COMPILE_CONTEXT)?;
        if event.context.is_zero() {
            self.encoder.word(key::NOT_APPLICABLE)?;
        } else {
            self.encoder.name(event.context)?;
        }
        self.encoder.word(key::USER_METADATA)?;
        self.encoder.name(event.tag)?;
        self.encoder.word(key::POOL_ID)?;
        self.encoder.pool(self.snapshot.pool(event.pool))?;
        self.encoder.word(key::FRAMES)?;
        self.encoder.stack(event.stack)?;
        self.encoder.set()
    }

    fn action(&mut self, action: Action) -> io::Result<()> {
        let word = match action {
            Action::Alloc => key::ALLOC,
            Action::FreeRequested => key::FREE_REQUESTED,
            Action::FreeCompleted => key::FREE_COMPLETED,
            Action::SegmentAlloc => key::SEGMENT_ALLOC,
            Action::SegmentFree => key::SEGMENT_FREE,
            Action::SegmentMap => key::SEGMENT_MAP,
            Action::SegmentUnmap => key::SEGMENT_UNMAP,
            Action::Snapshot => key::SNAPSHOT,
            Action::Oom => key::OOM,
            Action::Annotate => key::ANNOTATE,
            // The tools show actions that they do not know by name.
            Action::Stitch => key::STITCH,
            Action::Plan => key::PLAN,
            Action::Other(name) => return self.encoder.name(name),
        };
        self.encoder.word(word)
    }

    fn segment(&mut self, segment: &Segment, device: i64) -> io::Result<()> {
        self.encoder.dict();
        self.signed(key::DEVICE, device)?;
        self.whole_number(key::ADDRESS, segment.address.get())?;
        self.whole_number(key::TOTAL_SIZE, segment.size.get())?;
        self.whole_number(key::ALLOCATED_SIZE, segment.allocated().get())?;
        self.whole_number(key::ACTIVE_SIZE, segment.active().get())?;
        self.whole_number(key::REQUESTED_SIZE, segment.requested().get())?;
        self.whole_number(key::STREAM, segment.stream.get())?;
        self.encoder.word(key::SEGMENT_TYPE)?;
        self.encoder.word(if segment.small { key::SMALL } else { key::LARGE })?;
        self.encoder.word(key::SEGMENT_POOL_ID)?;
        self.encoder.pool(segment.pool)?;
        self.encoder.word(key::IS_EXPANDABLE)?;
        self.encoder.flag(segment.expandable);
        self.encoder.word(key::FRAMES)?;
        self.encoder.stack(segment.stack)?;
        self.encoder.word(key::BLOCKS)?;
        self.list(&segment.blocks, Self::block)?;
        self.encoder.set()
    }

    fn block(&mut self, block: &Block) -> io::Result<()> {
        self.encoder.dict();
        self.whole_number(key::ADDRESS, block.address.get())?;
        self.whole_number(key::SIZE, block.size.get())?;
        self.whole_number(key::REQUESTED_SIZE, block.requested.get())?;
        self.encoder.word(key::STATE)?;
        self.encoder.word(match block.state {
            BlockState::Allocated => key::ACTIVE_ALLOCATED,
            BlockState::Pending => key::ACTIVE_PENDING_FREE,
            BlockState::Free => key::INACTIVE,
        })?;
        self.encoder.word(key::FRAMES)?;
        self.encoder.stack(block.stack)?;
        if block.tag != NameId::default() {
            self.encoder.word(key::USER_METADATA)?;
            self.encoder.name(block.tag)?;
        }
        self.encoder.set()
    }

    fn table<'t>(
        &mut self,
        settings: impl Iterator<Item = (&'t String, &'t Setting)>,
        depth: usize,
    ) -> io::Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            let what = "settings are tables within tables more than four deep";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        self.encoder.dict();
        for (name, setting) in settings {
            self.encoder.text(name)?;
            match setting {
                Setting::Flag(flag) => self.encoder.flag(*flag),
                Setting::Number(number) => self.encoder.number(*number),
                Setting::Fraction(number) => self.encoder.fraction(*number),
                Setting::Text(text) => self.encoder.text(text)?,
                Setting::Table(inner) => self.table(inner.iter(), depth)?,
            }
        }
        self.encoder.set()
    }

    /// What only our files have.
    fn ours(&mut self) -> io::Result<()> {
        let snapshot = self.snapshot;
        self.encoder.dict();
        self.signed(key::VERSION, 1)?;
        self.whole_number(key::HISTORIES, snapshot.histories.len() as u64)?;
        self.encoder.word(key::DEVICES)?;
        self.list(&snapshot.devices, |file, memory| {
            file.encoder.dict();
            file.device(memory.device)?;
            file.perhaps(key::DEVICE_TOTAL, memory.total)?;
            file.perhaps(key::DEVICE_FREE, memory.free)?;
            file.perhaps(key::DEVICE_LIMIT, memory.limit)?;
            file.encoder.set()
        })?;
        self.encoder.word(key::DROPPED)?;
        self.dropped(&snapshot.histories)?;
        self.encoder.word(key::HOST_DROPPED)?;
        self.dropped(&snapshot.host_histories)?;
        self.encoder.set()
    }

    fn perhaps(&mut self, key: u32, bytes: Option<Bytes>) -> io::Result<()> {
        if let Some(bytes) = bytes {
            return self.whole_number(key, bytes.get());
        }
        self.encoder.word(key)?;
        self.encoder.none();
        Ok(())
    }

    fn dropped(&mut self, histories: &[History]) -> io::Result<()> {
        self.encoder.dict();
        for (number, history) in histories.iter().enumerate().filter(|(_, h)| h.dropped > 0) {
            self.encoder.text(&number.to_string())?;
            let count = i64::try_from(history.dropped);
            self.encoder.number(count.map_err(|_| out_of_range("dropped", history.dropped))?);
        }
        self.encoder.set()
    }
}
