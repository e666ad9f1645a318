//! [`Cursor`]: reads fixed words, sizes and numbers from a message without white space.

use freeboard_units::Bytes;

/// A place in a message whose white space was taken out.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at: at.min(text.len()) }
    }

    /// How far it has come.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Steps over `word` if it comes next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Steps behind the next `word` if it comes within `reach` bytes.
    pub(super) fn skip_to(&mut self, word: &str, reach: usize) -> bool {
        let rest = self.rest();
        let near = &rest[..rest.len().min(reach)];
        let found = memchr::memmem::find(near, word.as_bytes());
        if let Some(offset) = found {
            self.at += offset + word.len();
        }
        found.is_some()
    }

    /// Steps over digits; they must not end the text, where more may have been cut off.
    fn digits(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0 && count < rest.len()).then(|| {
            self.at += count;
            &rest[..count]
        })
    }

    /// Reads a whole number, or stays.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut ahead = self.clone();
        let number = whole(ahead.digits()?)?.try_into().ok()?;
        *self = ahead;
        Some(number)
    }

    /// Reads a whole number of 32 bits, or stays.
    pub(super) fn small(&mut self) -> Option<u32> {
        let mut ahead = self.clone();
        let number = ahead.number()?.try_into().ok()?;
        *self = ahead;
        Some(number)
    }

    /// Reads a size with its unit. What does not fit 2⁶³ bytes is a counter that ran below zero:
    /// it is stepped over and `None`, as is "no limit".
    #[expect(clippy::option_option, reason = "no size, and one that says nothing")]
    pub(super) fn size(&mut self) -> Option<Option<Bytes>> {
        let mut ahead = self.clone();
        let whole_part = ahead.digits()?;
        let decimals = if ahead.eat(".") { ahead.digits()? } else { &[] };
        let shift = ahead.unit()?;
        *self = ahead;
        Some(scaled(whole_part, decimals, shift))
    }

    /// Steps over a unit; the longest spelling that fits.
    fn unit(&mut self) -> Option<u32> {
        const UNITS: [(&str, u32); 14] = [
            ("bytes", 0),
            ("KiB", 10),
            ("MiB", 20),
            ("GiB", 30),
            ("TiB", 40),
            ("KB", 10),
            ("kB", 10),
            ("MB", 20),
            ("GB", 30),
            ("TB", 40),
            ("B", 0),
            ("M(", 20),
            ("G(", 30),
            ("K(", 10),
        ];
        let (name, shift) =
            UNITS.into_iter().find(|(name, _)| self.rest().starts_with(name.as_bytes()))?;
        // TensorFlow's bare letters are told from a unit cut short by the bracket that follows.
        self.at += name.trim_end_matches('(').len();
        Some(shift)
    }
}

/// The number that digits write, up to 20 of them.
fn whole(digits: &[u8]) -> Option<u128> {
    let add = |sum: u128, digit: &u8| sum * 10 + u128::from(digit - b'0');
    (digits.len() <= 20).then(|| digits.iter().fold(0, add))
}

/// `whole.decimals` shifted left, to the nearest byte.
fn scaled(whole_part: &[u8], decimals: &[u8], shift: u32) -> Option<Bytes> {
    let decimals = &decimals[..decimals.len().min(9)];
    let ten = 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    let number = (whole(whole_part)? * ten + whole(decimals)?) << shift;
    plausible(u64::try_from((number + ten / 2) / ten).ok()?)
}

/// A size, unless it is 2⁶³ bytes or more.
pub(super) fn plausible(bytes: u64) -> Option<Bytes> {
    i64::try_from(bytes).ok().map(|_| Bytes::new(bytes))
}

/// The sum, if it is [`plausible`].
pub(super) fn sum(one: Bytes, other: Bytes) -> Option<Bytes> {
    one.checked_add(other).and_then(|sum| plausible(sum.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<u64> {
        Cursor::new(text.as_bytes(), 0).size().flatten().map(Bytes::get)
    }

    #[test]
    fn sizes_are_read_to_the_nearest_byte() {
        for (text, bytes) in [
            ("0bytes", 0),
            ("20.00MiB.", 20 << 20),
            ("18.19MiBfree", 19_073_597),
            ("1024.00KiB", 1 << 20),
            ("9.05GB,", 9_717_363_507),
            ("2.00TiB", 2 << 40),
            ("7B", 7),
            ("17.79G(19104890880bytes)", 19_101_867_049),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        let below_zero = Cursor::new(b"17179869184.00GiB", 0).size();
        assert_eq!(below_zero, Some(None), "there, but no size");
        for text in ["", "12", "12.", "12.3", "12.34", "12.34M", "12.34 MiB", "byte", "12byte", "x"]
        {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_at_the_end_may_have_been_longer() {
        assert_eq!(Cursor::new(b"12", 0).number(), None);
        assert_eq!(Cursor::new(b"12;", 0).number(), Some(12));
        assert_eq!(Cursor::new(b"99999999999999999999999;", 0).number(), None);
        assert_eq!(Cursor::new(b"4294967296;", 0).small(), None);
    }
}
