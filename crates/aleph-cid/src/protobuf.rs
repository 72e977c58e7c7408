//! As much of protobuf as dag-pb and UnixFS use.

use crate::varint;

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-width value: in none of our messages, but allowed in unknown fields.
    Fixed,
}

/// The fields of a message, in the order in which they stand.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn number(&mut self) -> Option<u64> {
        let (value, taken) = varint::read(self.0).ok()?;
        self.0 = &self.0[taken..];
        Some(value)
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.number()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or("cut or broken protobuf"))
    }
}

/// Appends a field that holds a number.
pub(crate) fn write_number(field: u64, value: u64, out: &mut Vec<u8>) {
    varint::write(field << 3, out);
    varint::write(value, out);
}

/// Appends the head of a field that holds `len` bytes; they follow.
pub(crate) fn write_head(field: u64, len: usize, out: &mut Vec<u8>) {
    varint::write(field << 3 | 2, out);
    varint::write(len as u64, out);
}

/// Appends a field that holds bytes.
pub(crate) fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_head(field, bytes.len(), out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_order() {
        let mut out = Vec::new();
        write_number(1, 300, &mut out);
        write_bytes(2, b"abc", &mut out);
        out.extend([3 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let fields: Vec<_> = Fields::of(&out).map(Result::unwrap).collect();
        assert_eq!(fields, [(1, Value::Number(300)), (2, Value::Bytes(b"abc")), (3, Value::Fixed)]);
        for cut in 1..out.len() {
            let read: Result<Vec<_>, _> = Fields::of(&out[..cut]).collect();
            assert!(read.is_err() || [3, 8].contains(&cut), "{cut}");
        }
    }

    #[test]
    fn groups_and_huge_lengths_are_refused() {
        assert!(Fields::of(&[0x0b]).next().unwrap().is_err());
        assert!(
            Fields::of(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
                .next()
                .unwrap()
                .is_err()
        );
    }
}
