//! One HTML page that shows what memory did.
//!
//! The page is one file: no network, no font, script or style from elsewhere, so it can be opened
//! years later and sent to a colleague. It draws memory over time, the blocks over time, and the
//! map of the segments at any moment; see [`write()`]. Every event is in it, at about 7 bytes.
//!
//! A file names whatever it likes. Names are data here: they reach the page as JSON that cannot
//! end its element and are shown as text only, and the page forbids itself to load anything.
//!
//! A history has the sizes that were asked for. A block that was freed before the snapshot was
//! taken is drawn with its size rounded up to 512 bytes; one that was still there is exact.

mod clock;
mod device;
mod encode;
mod lives;
mod marks;
mod ranges;
mod strings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};

use freeboard_units::DeviceId;
use serde::Serialize;

use crate::{DeviceMemory, Setting, Snapshot};
use device::{Device, Source};
use encode::{html_text, json_for_script, write_base64};
use strings::Strings;

/// The page around scripts and data.
const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// In the order in which each uses only what came before, but in functions called later.
const SCRIPTS: &[&str] = &[
    include_str!("page/text.js"),
    include_str!("page/decode.js"),
    include_str!("page/pyramid.js"),
    include_str!("page/model.js"),
    include_str!("page/kinds.js"),
    include_str!("page/view.js"),
    include_str!("page/canvas.js"),
    include_str!("page/timeline.js"),
    include_str!("page/bands.js"),
    include_str!("page/layout.js"),
    include_str!("page/map.js"),
    include_str!("page/find.js"),
    include_str!("page/panel.js"),
    include_str!("page/input.js"),
    include_str!("page/main.js"),
];

/// What a page shows first, and how it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageOptions {
    title: String,
    device: Option<DeviceId>,
}

impl PageOptions {
    /// The page's title; the default is none.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// The only device to show; the default is all of them, with a chooser.
    #[must_use]
    pub fn device(mut self, device: Option<DeviceId>) -> Self {
        self.device = device;
        self
    }
}

#[derive(Serialize)]
struct Header<'a> {
    title: &'a str,
    settings: &'a BTreeMap<String, Setting>,
    devices: Vec<Device>,
    names: Vec<&'a str>,
}

/// Writes a page that shows a snapshot, as one HTML file.
///
/// ```
/// use freeboard_snapshot::Snapshot;
/// use freeboard_snapshot::page::{self, PageOptions};
///
/// let mut html = Vec::new();
/// page::write(&Snapshot::default(), &PageOptions::default().title("run 7"), &mut html)?;
/// assert!(html.starts_with(b"<!doctype html>"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of the output.
pub fn write(snapshot: &Snapshot, options: &PageOptions, mut output: impl Write) -> io::Result<()> {
    let mut strings = Strings::new(snapshot);
    let (mut devices, mut columns) = (Vec::new(), Vec::new());
    for source in sources(snapshot, options.device) {
        let (device, column) = Device::follow(&source, snapshot, &mut strings);
        devices.push(device);
        columns.push(column);
    }
    let (stacks, names) = strings.finish();
    let title = match options.title.as_str() {
        "" => "memory",
        title => title,
    };
    let header = Header { title, settings: &snapshot.settings, devices, names };

    for part in FRAME.split_inclusive('\n') {
        match part.trim() {
            "{{title}}" => writeln!(output, "<title>{} · Freeboard</title>", html_text(title))?,
            "{{style}}" => writeln!(output, "<style>\n{STYLE}</style>")?,
            "{{data}}" => {
                let json = json_for_script(&header)?;
                writeln!(
                    output,
                    "<script id=\"header\" type=\"application/json\">{json}</script>"
                )?;
                write_data("stacks", stacks.bytes(), &mut output)?;
                for (number, column) in columns.iter().enumerate() {
                    write_data(&format!("device-{number}"), column.bytes(), &mut output)?;
                }
            }
            "{{scripts}}" => {
                for script in SCRIPTS {
                    writeln!(output, "<script>\n{script}</script>")?;
                }
            }
            _ => output.write_all(part.as_bytes())?,
        }
    }
    output.flush()
}

fn write_data(id: &str, bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
    write!(output, "<script id=\"{id}\" type=\"text/plain\">")?;
    write_base64(bytes, output)?;
    writeln!(output, "</script>")
}

/// The devices to show, and pinned host memory where it was recorded.
fn sources(snapshot: &Snapshot, only: Option<DeviceId>) -> Vec<Source<'_>> {
    let devices = snapshot.device_ids();
    let chosen = devices.into_iter().filter(|&device| only.is_none_or(|only| only == device));
    let mut all: Vec<Source<'_>> = chosen
        .map(|device| Source {
            name: device.to_string(),
            history: snapshot.histories.get(device.get() as usize),
            segments: snapshot.segments_of(device).collect(),
            memory: snapshot
                .devices
                .iter()
                .find(|memory| memory.device == device)
                .cloned()
                .unwrap_or_default(),
            annotations: snapshot.annotations.iter().filter(|end| end.device == device).collect(),
        })
        .collect();
    let host = snapshot.host_histories.iter().find(|history| !history.events.is_empty());
    if only.is_none() && (host.is_some() || !snapshot.host_segments.is_empty()) {
        all.push(Source {
            name: "pinned host memory".to_owned(),
            history: host,
            segments: snapshot.host_segments.iter().collect(),
            memory: DeviceMemory::default(),
            annotations: Vec::new(),
        });
    }
    all
}
