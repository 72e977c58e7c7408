//! Fuzzer's bytes read as a list of small decisions.

/// What is left of the input. Where it has ended, every decision is 0.
#[derive(Debug, Clone)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = match end {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(u16::from_le_bytes([self.byte(), self.byte()])),
        };
        number % end
    }

    pub(crate) fn pick<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        &list[self.below(list.len())]
    }

    /// A character: mostly ASCII, sometimes any.
    pub(crate) fn character(&mut self) -> char {
        match self.byte() {
            byte @ 0..=0x7f => char::from(byte),
            byte => {
                let number = u32::from_le_bytes([self.byte(), self.byte(), byte & 0x1f, 0]);
                char::from_u32(number).unwrap_or('\u{fffd}')
            }
        }
    }
}
