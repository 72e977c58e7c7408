//! One question or answer on a stream: four bytes of length (big endian), then so many bytes.
//!
//! Both sides hold the other to a pace: a frame has [`PATIENCE`] and what its length takes at [`SLOWEST`],
//! so that a drip ends, and a long frame over a slow line does not. Memory is taken as bytes arrive, never
//! because a length announces them.

use std::io;
use std::time::Duration;

use futures_util::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

/// What any frame may take beside its bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes a second of the slowest line that is served.
const SLOWEST: u64 = 32 * 1024;

/// Bytes that are read and written at once.
const STEP: usize = 64 * 1024;

/// Why a frame did not come, or could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The stream ended where a frame may begin.
    #[error("the stream ended")]
    End,
    /// Nothing came in time, or too slowly.
    #[error("too slow")]
    Slow,
    /// It is longer than the reader takes.
    #[error("{0} bytes are announced")]
    TooLong(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn deadline(length: usize) -> Instant {
    Instant::now() + PATIENCE + Duration::from_secs(length as u64 / SLOWEST)
}

/// Writes one frame.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(bytes.len()).map_err(|_| FrameError::TooLong(bytes.len() as u64))?;
    let writing = async {
        // One write for a short frame.
        let mut head = Vec::with_capacity(4 + bytes.len().min(STEP));
        head.extend_from_slice(&length.to_be_bytes());
        let (first, rest) = bytes.split_at(bytes.len().min(STEP));
        head.extend_from_slice(first);
        stream.write_all(&head).await?;
        for step in rest.chunks(STEP) {
            stream.write_all(step).await?;
        }
        stream.flush().await
    };
    Ok(timeout_at(deadline(bytes.len()), writing).await.map_err(|_| FrameError::Slow)??)
}

/// Reads one frame of at most `most` bytes that begins within `wait`.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
    wait: Duration,
) -> Result<Vec<u8>, FrameError> {
    let mut head = [0; 4];
    // The first byte tells an end between frames from one inside.
    let first = timeout(wait, stream.read(&mut head[..1])).await.map_err(|_| FrameError::Slow)??;
    if first == 0 {
        return Err(FrameError::End);
    }
    timeout(PATIENCE, stream.read_exact(&mut head[1..])).await.map_err(|_| FrameError::Slow)??;
    let length = u32::from_be_bytes(head) as usize;
    if length > most {
        return Err(FrameError::TooLong(length as u64));
    }
    let reading = async {
        let mut bytes = Vec::with_capacity(length.min(STEP));
        while bytes.len() < length {
            let begin = bytes.len();
            bytes.resize(length.min(begin + STEP), 0);
            stream.read_exact(&mut bytes[begin..]).await?;
        }
        Ok::<_, io::Error>(bytes)
    };
    Ok(timeout_at(deadline(length), reading).await.map_err(|_| FrameError::Slow)??)
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;

    use super::*;

    /// Gives its bytes one at a time, a second apart.
    struct Drip(Vec<u8>, Option<std::pin::Pin<Box<tokio::time::Sleep>>>);

    impl AsyncRead for Drip {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            out: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let sleep = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_secs(1))));
            std::task::ready!(Future::poll(sleep.as_mut(), cx));
            self.1 = None;
            if self.0.is_empty() {
                return std::task::Poll::Ready(Ok(0));
            }
            out[0] = self.0.remove(0);
            std::task::Poll::Ready(Ok(1))
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        for length in [0, 1, STEP - 1, STEP, STEP + 1, 5 * STEP] {
            let bytes: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let mut line = Cursor::new(Vec::new());
            write(&mut line, &bytes).await.unwrap();
            write(&mut line, b"next").await.unwrap();
            line.set_position(0);
            assert_eq!(read(&mut line, length, PATIENCE).await.unwrap(), bytes);
            assert_eq!(read(&mut line, 4, PATIENCE).await.unwrap(), b"next");
            assert!(matches!(read(&mut line, 4, PATIENCE).await, Err(FrameError::End)));
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_or_too_long_is_none() {
        let mut long = Cursor::new(vec![0, 0, 1, 0, 1]);
        assert!(matches!(read(&mut long, 255, PATIENCE).await, Err(FrameError::TooLong(256))));
        for cut in [vec![0, 0], vec![0, 0, 0, 5, 1, 2]] {
            assert!(matches!(read(&mut Cursor::new(cut), 255, PATIENCE).await, Err(FrameError::Io(_))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_ends() {
        let frame = |length: u32| [&length.to_be_bytes()[..], &[7; 8]].concat();
        // Twelve seconds of a frame of eight bytes: more than it has.
        assert!(read(&mut Drip(frame(8), None), 100, PATIENCE).await.is_ok());
        let mut slow = Drip(vec![0, 0, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], None);
        assert!(matches!(read(&mut slow, 100, PATIENCE).await, Err(FrameError::Slow)));
        let mut nothing = Drip(Vec::new(), None);
        assert!(matches!(read(&mut nothing, 100, Duration::from_millis(10)).await, Err(FrameError::Slow)));
    }
}
