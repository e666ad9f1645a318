//! Units and number formats that suit the range shown.

use freeboard_units::Bytes;

/// What one unit of an axis stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) size: f64,
}

impl Unit {
    /// The unit in which the largest value shown is a handy number.
    pub(super) fn of_bytes(largest: Bytes) -> Self {
        let (name, size) = match largest {
            size if size >= Bytes::gib(1) => ("GiB", Bytes::gib(1)),
            size if size >= Bytes::mib(1) || size.is_zero() => ("MiB", Bytes::mib(1)),
            size if size >= Bytes::kib(1) => ("KiB", Bytes::kib(1)),
            _ => ("bytes", Bytes::new(1)),
        };
        Self { name, size: size.as_f64() }
    }

    /// Operations, by the thousand where there are many.
    pub(super) fn of_operations(most: usize) -> Self {
        if most >= 5000 {
            Self { name: "operations (thousands)", size: 1000.0 }
        } else {
            Self { name: "operations", size: 1.0 }
        }
    }

    pub(super) fn bytes(self, bytes: Bytes) -> f64 {
        bytes.as_f64() / self.size
    }

    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    pub(super) fn operations(self, operations: usize) -> f64 {
        operations as f64 / self.size
    }
}

/// A number on an axis, without needless zeros.
pub(super) fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A count with its thousands set apart.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
