//! Numbers in few bytes, and bytes as text that may stand in a page.

use std::io::{self, Write};

/// Columns of numbers, seven bits to the byte, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Column(Vec<u8>);

impl Column {
    /// Appends a number.
    pub(super) fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// Appends the way from one number to another, small where they are near.
    pub(super) fn put_step(&mut self, from: u64, to: u64) {
        let step = to.wrapping_sub(from).cast_signed();
        self.put(((step << 1) ^ (step >> 63)).cast_unsigned());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as base64, padded.
pub(super) fn write_base64(bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
    // Whole groups of three, so that only the last piece is padded.
    for piece in bytes.chunks(3 << 10) {
        let mut text = Vec::with_capacity(4 << 10);
        for group in piece.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for digit in 0..4 {
                let sextet = (bits >> (18 - 6 * digit) & 0x3f) as usize;
                text.push(if digit <= group.len() { DIGITS[sextet] } else { b'=' });
            }
        }
        output.write_all(&text)?;
    }
    Ok(())
}

/// JSON that cannot end the script element it stands in: `<` only ever stands in its strings.
pub(super) fn json_for_script(value: &impl serde::Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

/// Text that means itself in HTML.
pub(super) fn html_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_seven_bits_to_the_byte_and_small_steps_one_byte() {
        let mut column = Column::default();
        for number in [0, 127, 128, u64::MAX] {
            column.put(number);
        }
        column.put_step(1000, 999);
        column.put_step(0, u64::MAX);
        let long = [0xff; 9];
        let expected = [&[0, 127, 128, 1][..], &long, &[1, 1, 1]].concat();
        assert_eq!(column.bytes(), expected);
    }

    #[test]
    fn bytes_become_the_text_that_everybody_else_writes() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foobar", "Zm9vYmFy")] {
            let mut written = Vec::new();
            write_base64(bytes.as_bytes(), &mut written).expect("memory takes all");
            assert_eq!(String::from_utf8_lossy(&written), text);
        }
    }

    #[test]
    fn no_text_can_end_its_element() {
        let json = json_for_script(&"</script><!--").expect("a string");
        assert!(!json.contains('<'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("ours"), "</script><!--");
        assert_eq!(html_text("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
    }
}
