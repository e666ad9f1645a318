//! The whole file's dictionary becomes a [`Snapshot`].

use std::collections::BTreeMap;

use freeboard_units::{Bytes, DeviceId};

use crate::history::{Event, History};
use crate::model::{Annotation, DeviceMemory, Segment, Setting, Snapshot};

use super::builder::Builder;
use super::error::{Fault, PickleError, Result, wrong};
use super::key;
use super::objects::{List, Pairs};
use super::records::HOST;
use super::value::{Data, Handle, Value};

/// The deepest table within tables, and the most bytes of text, in the settings.
pub(super) const DEPTH_MAX: usize = 4;
const SETTINGS_MAX: usize = 1 << 20;

impl Builder {
    /// What the last value of the file means: a dictionary, or in the oldest files a list of
    /// segments.
    pub(super) fn finish(mut self, whole: Value) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        match whole.data {
            Data::Dict(handle) => {
                let pairs = self.take_dict(handle).unwrap_or_default();
                let named =
                    |pair: &(u32, Value)| [key::SEGMENTS, key::DEVICE_TRACES].contains(&pair.0);
                if !pairs.iter().any(named) {
                    return Err(unknown("a pickled dictionary without 'segments'"));
                }
                self.fill(&mut snapshot, &pairs)?;
            }
            Data::List(_) => snapshot.segments = self.segments(key::SEGMENTS, whole)?,
            _ => return Err(unknown(&format!("a pickle of {}", self.describe(whole)))),
        }
        if let Some(at) = snapshot.segments.iter().position(|segment| segment.device == HOST) {
            let path = format!(".segments[{at}].device");
            return Err(wrong(whole.at, path, "-1", "a device number from 0 to 65535"));
        }
        for segment in snapshot.host_segments.iter_mut().filter(|segment| segment.device == HOST) {
            segment.device = DeviceId::default();
        }
        for list in [&snapshot.segments, &snapshot.host_segments] {
            let sum =
                list.iter().try_fold(Bytes::ZERO, |sum, segment| sum.checked_add(segment.size));
            if sum.is_none() {
                let expected = "segments of less than 2^64 bytes in all";
                return Err(wrong(whole.at, ".segments", "more", expected));
            }
        }
        snapshot.pools = self.pools;
        snapshot.names = self.names;
        snapshot.stacks = self.stacks;
        Ok(snapshot)
    }

    fn fill(&mut self, snapshot: &mut Snapshot, pairs: &Pairs) -> Result<()> {
        // Ours says how many events came before those in the lists, which must be there first.
        let (ours, theirs): (Vec<_>, Vec<_>) =
            pairs.iter().partition(|(key, _)| *key == key::FREEBOARD);
        for &(key, value) in theirs {
            match key {
                key::SEGMENTS => snapshot.segments = self.segments(key, value)?,
                key::HOST_SEGMENTS => snapshot.host_segments = self.segments(key, value)?,
                key::DEVICE_TRACES => snapshot.histories = self.histories(key, value)?,
                key::HOST_TRACES => snapshot.host_histories = self.histories(key, value)?,
                key::EXTERNAL_ANNOTATIONS => snapshot.annotations = self.annotations(key, value)?,
                key::ALLOCATOR_SETTINGS => {
                    let Data::Dict(handle) = value.data else {
                        return Err(self.unexpected(key, value, "a dictionary of settings"));
                    };
                    let mut room = SETTINGS_MAX;
                    snapshot.settings = self
                        .table(handle, DEPTH_MAX, &mut room)
                        .ok_or_else(|| self.unexpected(key, value, SETTINGS))?;
                }
                _ => {}
            }
        }
        for &(key, value) in ours {
            let Data::Dict(handle) = value.data else {
                return Err(self.unexpected(key, value, "a dictionary"));
            };
            let pairs = self.take_dict(handle).unwrap_or_default();
            self.ours(snapshot, &pairs).map_err(|error| error.within(".freeboard"))?;
        }
        Ok(())
    }

    fn segments(&mut self, key: u32, value: Value) -> Result<Vec<Segment>> {
        match self.list(value) {
            Some(List::Segments(segments)) => Ok(segments),
            Some(List::Empty) => Ok(Vec::new()),
            _ => Err(self.unexpected(key, value, "a list of segments")),
        }
    }

    fn histories(&mut self, key: u32, value: Value) -> Result<Vec<History>> {
        let whole = |events: Vec<Event>| History { events, dropped: 0 };
        match self.list(value) {
            // Pinned memory has one history for all devices.
            Some(List::Events(events)) if key == key::HOST_TRACES => Ok(vec![whole(events)]),
            Some(List::Traces(traces)) => Ok(traces.into_iter().map(whole).collect()),
            Some(List::Empty) => Ok(Vec::new()),
            _ => Err(self.unexpected(key, value, "a list with a list of events for each device")),
        }
    }

    fn annotations(&mut self, key: u32, value: Value) -> Result<Vec<Annotation>> {
        let mut annotations = match self.list(value) {
            Some(List::Annotations(annotations)) => annotations,
            Some(List::Empty) => Vec::new(),
            _ => return Err(self.unexpected(key, value, "a list of annotations")),
        };
        for annotation in annotations.iter_mut().filter(|annotation| annotation.device == HOST) {
            annotation.device = DeviceId::default();
        }
        Ok(annotations)
    }

    /// A table of settings; `None` if it is too deep or too long. A name that lies in the file
    /// once may be told a million times.
    fn table(
        &mut self,
        handle: Handle,
        depth: usize,
        room: &mut usize,
    ) -> Option<BTreeMap<String, Setting>> {
        let depth = depth.checked_sub(1)?;
        let mut table = BTreeMap::new();
        for (key, value) in self.take_dict(handle)? {
            let text = match value.data {
                Data::Text(number) => self.texts.get(number),
                _ => "",
            };
            *room = room.checked_sub(self.texts.get(key).len() + text.len() + 64)?;
            let setting = match value.data {
                Data::Bool(flag) => Setting::Flag(flag),
                Data::Int(number) => Setting::Number(number),
                Data::Float(number) => Setting::Fraction(number),
                Data::Text(_) => Setting::Text(text.to_owned()),
                Data::Dict(inner) => Setting::Table(self.table(inner, depth, room)?),
                _ => Setting::Text(self.describe(value)),
            };
            table.insert(self.texts.get(key).to_owned(), setting);
        }
        Some(table)
    }

    /// What only our files have.
    fn ours(&mut self, snapshot: &mut Snapshot, pairs: &Pairs) -> Result<()> {
        for &(key, value) in pairs {
            match key {
                // The writer adds empty histories for devices that have a segment.
                key::HISTORIES => {
                    let count = self.whole(key, value)?;
                    snapshot.histories.truncate(usize::try_from(count).unwrap_or(usize::MAX));
                }
                key::DEVICES => snapshot.devices = self.devices(key, value)?,
                key::DROPPED => self.dropped(&mut snapshot.histories, key, value)?,
                key::HOST_DROPPED => self.dropped(&mut snapshot.host_histories, key, value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn devices(&mut self, key: u32, value: Value) -> Result<Vec<DeviceMemory>> {
        match self.list(value) {
            Some(List::Devices(devices)) if devices.iter().all(|memory| memory.device != HOST) => {
                Ok(devices)
            }
            Some(List::Empty) => Ok(Vec::new()),
            _ => Err(self.unexpected(key, value, "a list of devices")),
        }
    }

    /// How many events are missing, under the number of the list as text.
    fn dropped(&mut self, histories: &mut [History], key: u32, value: Value) -> Result<()> {
        let pairs = match value.data {
            Data::Dict(handle) => self.take_dict(handle).unwrap_or_default(),
            _ => return Err(self.unexpected(key, value, "a dictionary of counts")),
        };
        for (number, count) in pairs {
            let dropped = self.whole(number, count)?;
            let number = self.texts.get(number).parse().ok();
            if let Some(history) = number.and_then(|number: usize| histories.get_mut(number)) {
                history.dropped = dropped;
            }
        }
        Ok(())
    }
}

const SETTINGS: &str = "up to 1 MiB of settings, in tables up to 4 deep";

fn unknown(found: &str) -> Fault {
    Fault::from(PickleError::NotASnapshot { found: found.to_owned() })
}
