//! The guest channel: frames over one byte stream.
//!
//! ```text
//! | kind u8 | stream u32 | length u32 | payload |      integers little-endian
//! ```
//!
//! Stream 0 carries control messages (JSON) and logs. Every other stream is one TCP-like
//! connection: `Open`, `Data` both ways, `Finish` (no more bytes from this side), `Reset` (over, at
//! once). Streams that the host opens have odd numbers, those of the guest even ones. Each side may
//! send [`WINDOW`] bytes on a stream; `Credit` gives back what the receiver has handed on. A frame
//! that breaks these rules ends the channel: there is no way to find the next frame's start.
//!
//! Nothing here does IO. [`Decoder`] takes whatever bytes came and gives whole frames, holds at
//! most one frame, and never trusts a length.

mod message;

pub use message::{
    AppCommand, Archive, Configuration, DiskMount, FileSystem, FromGuest, Resume, SetupStep, StreamTarget,
    ToGuest,
};

/// Bytes before the payload.
pub const HEADER: usize = 9;
/// Most payload bytes of a `Data`, `Log`, `Open` or `Reset` frame.
pub const MAX_DATA: usize = 32 * 1024;
/// Most payload bytes of a `Control` frame; a configuration with a full environment fits.
pub const MAX_CONTROL: usize = 256 * 1024;
/// Bytes that a side may send on a stream before it gets credit.
pub const WINDOW: u32 = 256 * 1024;
/// Most streams at once that the host opens.
pub const MAX_HOST_STREAMS: usize = 256;
/// Most streams at once that the guest opens.
pub const MAX_GUEST_STREAMS: usize = 64;
/// Name of the virtio-serial port.
pub const PORT_NAME: &str = "org.aleph.guest.0";
/// Version of this protocol; both sides say theirs first and must agree.
pub const VERSION: u32 = 1;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// JSON, [`ToGuest`] or [`FromGuest`]
    Control = 1,
    /// text that the application wrote; first byte 1 = standard output, 2 = standard error
    Log = 2,
    /// a new stream; payload is a [`StreamTarget`] in JSON
    Open = 3,
    /// bytes of a stream
    Data = 4,
    /// this side has no more bytes
    Finish = 5,
    /// the stream is over, at once; the payload is a short reason
    Reset = 6,
    /// four bytes: how many more may be sent
    Credit = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Control,
            2 => Self::Log,
            3 => Self::Open,
            4 => Self::Data,
            5 => Self::Finish,
            6 => Self::Reset,
            7 => Self::Credit,
            _ => return None,
        })
    }

    fn max_payload(self) -> usize {
        match self {
            Self::Control => MAX_CONTROL,
            Self::Log | Self::Data => MAX_DATA,
            Self::Open | Self::Reset => 1024,
            Self::Finish => 0,
            Self::Credit => 4,
        }
    }
}

/// One frame, its payload borrowed from the decoder or the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// what it is
    pub kind: Kind,
    /// 0 for the channel itself
    pub stream: u32,
    /// its bytes
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Appends the frame to `out`.
    ///
    /// # Panics
    /// In debug builds when the payload is longer than its kind allows: senders cut first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.payload.len() <= self.kind.max_payload(), "payload too long for {:?}", self.kind);
        out.reserve(HEADER + self.payload.len());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.stream.to_le_bytes());
        // the bound above keeps the length far below u32::MAX
        out.extend_from_slice(&u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(self.payload);
    }

    /// The amount of a `Credit` frame.
    pub fn credit(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.payload.try_into().ok()?))
    }
}

/// A broken rule. The channel can't go on after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// no such kind
    #[error("unknown kind of frame {kind}")]
    Kind {
        /// the byte
        kind: u8,
    },
    /// longer than allowed
    #[error("frame {kind:?} announces {length} bytes, at most {} are allowed", kind.max_payload())]
    Length {
        /// what it is
        kind: Kind,
        /// announced length
        length: usize,
    },
    /// a stream frame on stream 0, or a control frame on a stream
    #[error("frame {kind:?} can't be on stream {stream}")]
    Stream {
        /// what it is
        kind: Kind,
        /// where it came
        stream: u32,
    },
    /// a payload that can't be read
    #[error("frame {kind:?} can't be read: {reason}")]
    Payload {
        /// what it is
        kind: Kind,
        /// what is wrong
        reason: String,
    },
    /// more bytes than were credited
    #[error("stream {stream} sent more than its window")]
    Window {
        /// the stream
        stream: u32,
    },
    /// a stream opened twice, by the wrong side, or one too many
    #[error("stream {stream} can't be opened: {reason}")]
    Open {
        /// the stream
        stream: u32,
        /// why not
        reason: &'static str,
    },
    /// a message that has no place here
    #[error("unexpected message {0}")]
    Unexpected(String),
}

/// Turns a byte stream into frames. Holds at most one frame's bytes beyond what it was given.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes. Call [`Self::next_frame`] until it gives `None` before adding more, and the
    /// decoder never holds more than one frame and `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole frame, `None` when more bytes are needed. An error is final.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ProtocolError> {
        let held = &self.buffer[self.start..];
        let Some((header, rest)) = held.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let kind = Kind::from_byte(header[0]).ok_or(ProtocolError::Kind { kind: header[0] })?;
        let stream = word(1);
        let length = word(5) as usize;
        if length > kind.max_payload() || (kind == Kind::Credit && length != 4) {
            return Err(ProtocolError::Length { kind, length });
        }
        if matches!(kind, Kind::Control | Kind::Log) != (stream == 0) {
            return Err(ProtocolError::Stream { kind, stream });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start = from + length;
        Ok(Some(Frame { kind, stream, payload: &self.buffer[from..self.start] }))
    }
}

/// Appends a control message to `out`.
pub fn encode_control<T: serde::Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let unreadable = |reason: String| ProtocolError::Payload { kind: Kind::Control, reason };
    let payload = serde_json::to_vec(message).map_err(|e| unreadable(e.to_string()))?;
    if payload.len() > MAX_CONTROL {
        return Err(ProtocolError::Length { kind: Kind::Control, length: payload.len() });
    }
    Frame { kind: Kind::Control, stream: 0, payload: &payload }.encode(out);
    Ok(())
}

/// Reads the JSON of a control or open frame.
pub fn decode_json<T: serde::de::DeserializeOwned>(frame: Frame<'_>) -> Result<T, ProtocolError> {
    serde_json::from_slice(frame.payload)
        .map_err(|e| ProtocolError::Payload { kind: frame.kind, reason: e.to_string() })
}

#[cfg(test)]
mod tests;
