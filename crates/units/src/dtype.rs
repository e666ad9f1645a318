//! [`Dtype`]: what a number in memory is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Bytes;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $size:literal;)*) => {
        /// The type of a tensor's elements. Written and read as PyTorch names it, without the
        /// `torch.` before it.
        ///
        /// ```
        /// use freeboard_units::{Bytes, Dtype};
        ///
        /// assert_eq!(Dtype::BF16.size(), Bytes::new(2));
        /// assert_eq!("float16".parse(), Ok(Dtype::F16));
        /// assert!(Dtype::F8E5M2.is_float() && !Dtype::I32.is_float());
        /// ```
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Dtype {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, as PyTorch writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The size of an element.
            #[must_use]
            pub const fn size(self) -> Bytes {
                Bytes::new(match self {
                    $(Self::$name => $size,)*
                })
            }
        }
    };
}

dtypes! {
    /// IEEE 754 double precision.
    F64 = "float64", 8;
    /// IEEE 754 single precision.
    F32 = "float32", 4;
    /// IEEE 754 half precision: 5 bits of exponent, up to 65,504.
    F16 = "float16", 2;
    /// The upper half of an `f32`: its range, 8 bits of precision.
    BF16 = "bfloat16", 2;
    /// 4 bits of exponent, 3 of fraction, no infinity, up to 448.
    F8E4M3 = "float8_e4m3fn", 1;
    /// 5 bits of exponent, 2 of fraction, up to 57,344.
    F8E5M2 = "float8_e5m2", 1;
    /// Signed, 64 bits.
    I64 = "int64", 8;
    /// Signed, 32 bits.
    I32 = "int32", 4;
    /// Signed, 16 bits.
    I16 = "int16", 2;
    /// Signed, 8 bits.
    I8 = "int8", 1;
    /// Unsigned, 64 bits.
    U64 = "uint64", 8;
    /// Unsigned, 32 bits.
    U32 = "uint32", 4;
    /// Unsigned, 16 bits.
    U16 = "uint16", 2;
    /// Unsigned, 8 bits.
    U8 = "uint8", 1;
    /// True or false, a byte each.
    Bool = "bool", 1;
}

impl Dtype {
    /// Whether it is a floating-point type.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }
}

/// No type has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no type of elements; the names are PyTorch's: float32, float16, bfloat16, …")]
pub struct ParseDtypeError {
    text: String,
}

impl FromStr for Dtype {
    type Err = ParseDtypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("torch.").unwrap_or(text);
        let found = Self::ALL.iter().find(|dtype| dtype.name() == name);
        found.copied().ok_or_else(|| ParseDtypeError { text: text.to_owned() })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for &dtype in Dtype::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(format!("torch.{dtype}").parse(), Ok(dtype));
        }
        assert!("float33".parse::<Dtype>().unwrap_err().to_string().contains("\"float33\""));
    }
}
