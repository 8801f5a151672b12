//! The protobuf wire format.

/// Bytes that are no protobuf, in the words of Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end too early.
    #[error("unexpected EOF")]
    End,
    /// A number has too many bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// An unknown wire type.
    #[error("proto: illegal wireType {0}")]
    Type(u64),
    /// A field of another wire type than its own.
    #[error("proto: wrong wireType")]
    WrongType,
    /// Nested too deeply.
    #[error("proto: exceeded max depth")]
    Depth,
}

/// Writes a number without a tag.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a number.
pub fn number(out: &mut Vec<u8>, tag: u32, value: i64) {
    varint(out, u64::from(tag) << 3);
    varint(out, value as u64);
}

/// Writes a floating-point number.
pub fn double(out: &mut Vec<u8>, tag: u32, value: f64) {
    varint(out, (u64::from(tag) << 3) | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes bytes or text.
pub fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    varint(out, (u64::from(tag) << 3) | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes a message that `write` fills.
pub fn message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, (u64::from(tag) << 3) | 2);
    // One byte is enough for the length of most messages.
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    out.splice(start..=start, prefix);
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum Wire<'b> {
    /// A number.
    Number(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Bytes, text or a message.
    Bytes(&'b [u8]),
    /// Four bytes, which no type of Kubernetes has.
    Fixed32,
}

impl<'b> Wire<'b> {
    /// As bytes.
    pub fn bytes(self) -> Result<&'b [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WrongType),
        }
    }

    /// As text; Go does not check that it is any, so what is not is replaced.
    pub fn text(self) -> Result<String, WireError> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// As a number.
    pub fn number(self) -> Result<i64, WireError> {
        match self {
            Self::Number(number) => Ok(number as i64),
            _ => Err(WireError::WrongType),
        }
    }

    /// As a floating-point number.
    pub fn double(self) -> Result<f64, WireError> {
        match self {
            Self::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(WireError::WrongType),
        }
    }
}

/// Reads the fields of a message.
#[derive(Clone, Debug)]
pub struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// A reader of these bytes.
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's tag and value.
    pub fn field(&mut self) -> Result<Option<(u32, Wire<'b>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Number(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Wire::Fixed64(bytes.try_into().map_err(|_| WireError::End)?)
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(usize::try_from(length).map_err(|_| WireError::End)?)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            other => return Err(WireError::Type(other)),
        };
        Ok(Some((u32::try_from(key >> 3).unwrap_or(u32::MAX), value)))
    }

    /// A number without a tag.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.rest.split_first().ok_or(WireError::End)?;
            self.rest = rest;
            value |= u64::from(first & 0x7f) << shift;
            if *first < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::End)?;
        self.rest = rest;
        Ok(taken)
    }
}
