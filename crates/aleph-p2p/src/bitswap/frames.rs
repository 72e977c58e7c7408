//! Messages in and out of streams, with bounds on memory and on patience.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::message::{Malformed, Message, write_number};

/// A peer that sends or takes nothing for this long is given up; there is no limit on the whole.
pub(super) const STALL: Duration = Duration::from_secs(15);

/// Bytes that are read or written before the timer starts anew.
const PIECE: usize = 64 << 10;

/// Why nothing more comes from a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the peer sent nothing for {} s inside a message", STALL.as_secs())]
    Stalled,
    #[error("a message of {0} bytes is too large")]
    TooLarge(u64),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the stream broke")]
    Io(#[from] io::Error),
    #[error("this node is ending")]
    Ending,
}

impl ReadError {
    /// Whether the peer sent what it must not.
    pub(super) fn is_offence(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::Malformed(_))
    }
}

/// The next message of at most `most` bytes; none at the end of the stream. The permit stands for its bytes.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    most: impl FnOnce() -> usize,
    room: &Arc<Semaphore>,
) -> Result<Option<(Message, OwnedSemaphorePermit)>, ReadError> {
    let Some(len) = read_len(stream).await? else { return Ok(None) };
    let len = usize::try_from(len).ok().filter(|len| *len <= most()).ok_or(ReadError::TooLarge(len))?;
    let kib = u32::try_from(len.div_ceil(1024).max(1)).unwrap_or(u32::MAX);
    let permit = Arc::clone(room).acquire_many_owned(kib).await.map_err(|_| ReadError::Ending)?;
    let mut frame = BytesMut::new();
    while frame.len() < len {
        // Memory grows with what came, not with what was announced.
        let start = frame.len();
        frame.resize(len.min(start + PIECE), 0);
        let piece = stream.read_exact(&mut frame[start..]);
        timeout(STALL, piece).await.map_err(|_| ReadError::Stalled)??;
    }
    Ok(Some((Message::decode(&Bytes::from(frame))?, permit)))
}

async fn read_len<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<u64>, ReadError> {
    let mut value = 0u64;
    for index in 0..10 {
        let mut byte = [0];
        let read = timeout(STALL, stream.read(&mut byte)).await;
        match read {
            // Between messages nothing need come.
            Err(_) if index == 0 => return Ok(None),
            Err(_) => return Err(ReadError::Stalled),
            Ok(read) => match read? {
                0 if index == 0 => return Ok(None),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                _ => {}
            },
        }
        value |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Err(ReadError::TooLarge(u64::MAX))
}

/// Writes a message.
///
/// # Errors
/// The stream broke, or the peer took nothing for [`STALL`].
pub(super) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &Message) -> io::Result<()> {
    let body = message.encode();
    let mut head = Vec::new();
    write_number(body.len() as u64, &mut head);
    let stalled = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(STALL, stream.write_all(&head)).await.map_err(stalled)??;
    for piece in body.chunks(PIECE) {
        timeout(STALL, stream.write_all(piece)).await.map_err(stalled)??;
    }
    timeout(STALL, stream.flush()).await.map_err(stalled)?
}

/// Says that nothing more comes, so that what was written arrives.
pub(super) async fn close<S: AsyncWrite + Unpin>(mut stream: S) {
    // A peer that went away does not care.
    let _ = timeout(STALL, stream.close()).await;
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;

    use super::*;
    use crate::bitswap::message::{MAX_MESSAGE, Presence};

    fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1 << 16))
    }

    #[tokio::test]
    async fn messages_follow_each_other() {
        let mut wire = Cursor::new(Vec::new());
        let message = |has| Message {
            presences: vec![Presence { cid: Bytes::from_static(b"cid"), has }],
            ..Message::default()
        };
        for has in [true, false] {
            write(&mut wire, &message(has)).await.unwrap();
        }
        let mut wire = Cursor::new(wire.into_inner());
        for has in [true, false] {
            let (read, _) = read(&mut wire, || MAX_MESSAGE, &room()).await.unwrap().unwrap();
            assert_eq!(read, message(has));
        }
        assert!(read(&mut wire, || MAX_MESSAGE, &room()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_too_large_or_cut_is_told_and_takes_no_room() {
        let room = room();
        let mut huge = Cursor::new(vec![0xff, 0xff, 0xff, 0x0f, 1, 2]);
        let error = read(&mut huge, || MAX_MESSAGE, &room).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge(33_554_431)) && error.is_offence());
        let mut endless = Cursor::new(vec![0xff; 20]);
        assert!(read(&mut endless, || MAX_MESSAGE, &room).await.unwrap_err().is_offence());
        let mut cut = Cursor::new(vec![10, 1, 2]);
        assert!(!read(&mut cut, || MAX_MESSAGE, &room).await.unwrap_err().is_offence());
        let mut garbage = Cursor::new(vec![3, 0xff, 0xff, 0xff]);
        assert!(read(&mut garbage, || MAX_MESSAGE, &room).await.unwrap_err().is_offence());
        assert_eq!(room.available_permits(), 1 << 16);
    }
}
