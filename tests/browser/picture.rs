//! [`Picture`]: what a screen shows.

use serde_json::json;

use crate::chromium::Chromium;

/// Pixels of the page, four bytes each.
pub(crate) struct Picture {
    pixels: Vec<[u8; 4]>,
}

impl Picture {
    /// What the browser shows now.
    pub(crate) fn take(browser: &mut Chromium) -> Self {
        let shot = browser.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = from_base64(shot["data"].as_str().unwrap());
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::ALPHA | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(frame.color_type, png::ColorType::Rgba);
        Self { pixels: pixels.chunks_exact(4).map(|p| [p[0], p[1], p[2], p[3]]).collect() }
    }

    /// How many different colours there are.
    pub(crate) fn colours(&self) -> usize {
        let mut all = self.pixels.clone();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// The part of the pixels that are different.
    pub(crate) fn changed(&self, other: &Self) -> f64 {
        assert_eq!(self.pixels.len(), other.pixels.len());
        let pairs = self.pixels.iter().zip(&other.pixels);
        self.part(pairs.filter(|(a, b)| a != b).count())
    }

    /// The part of the pixels that have this colour.
    pub(crate) fn part_of(&self, red: u8, green: u8, blue: u8) -> f64 {
        let same = self.pixels.iter().filter(|pixel| pixel[..3] == [red, green, blue]);
        self.part(same.count())
    }

    fn part(&self, count: usize) -> f64 {
        let [count, all] = [count, self.pixels.len()].map(|n| u32::try_from(n).unwrap());
        f64::from(count) / f64::from(all)
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|&digit| digit != b'=').map(value).collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, &digit| bits << 6 | u32::from(digit));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
