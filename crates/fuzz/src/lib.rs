//! What the fuzz targets share: an input as numbers.

#![forbid(unsafe_code)]

/// The bytes of an input, taken one after the other; zeros behind its end, so that every input means something.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// Whether bytes are left.
    pub fn has_more(&self) -> bool {
        !self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    /// The next 16 bits, little-endian.
    pub fn short(&mut self) -> usize {
        u16::from_le_bytes(self.bytes()).into()
    }

    /// The next 32 bits, little-endian.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..head.len()].copy_from_slice(head);
        bytes
    }
}
