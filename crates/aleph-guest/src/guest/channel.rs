//! The channel's port: whole messages when the guest sets itself up, frames afterwards.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aleph_guest::protocol::{Decoder, Frame, FromGuest, Kind, ToGuest, decode_json, encode_control};
use rustix::event::{PollFd, PollFlags, poll};

/// Bytes waiting for the host above which nothing more is read from the application.
pub(crate) const HIGH_WATER: usize = 256 * 1024;

/// The port and what waits on either side of it.
#[derive(Debug)]
pub(crate) struct Channel {
    port: File,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
    scratch: Box<[u8]>,
}

pub(crate) fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

impl Channel {
    pub(crate) fn new(port: File) -> Self {
        let scratch = vec![0; 64 * 1024].into_boxed_slice();
        Self { port, decoder: Decoder::new(), out: Vec::new(), sent: 0, scratch }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }

    /// Bytes that wait for the host.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Adds a frame to what waits for the host.
    pub(crate) fn queue(&mut self, kind: Kind, stream: u32, payload: &[u8]) {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Frame { kind, stream, payload }.encode(&mut self.out);
    }

    /// Adds a message to what waits for the host.
    pub(crate) fn queue_message(&mut self, message: &FromGuest) -> io::Result<()> {
        encode_control(message, &mut self.out).map_err(broken)
    }

    /// Says something and waits until the host has it all.
    pub(crate) fn say(&mut self, message: &FromGuest) -> io::Result<()> {
        self.queue_message(message)?;
        while self.backlog() > 0 {
            self.wait(PollFlags::OUT)?;
            self.flush_some()?;
        }
        Ok(())
    }

    /// Waits for the next message; frames of streams have no meaning then and are dropped.
    pub(crate) fn wait_message(&mut self) -> io::Result<ToGuest> {
        loop {
            while let Some(frame) = self.decoder.next_frame().map_err(broken)? {
                if frame.kind == Kind::Control {
                    return decode_json(frame).map_err(broken);
                }
            }
            self.wait(PollFlags::IN)?;
            self.read_some()?;
        }
    }

    fn wait(&self, what: PollFlags) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.port, what)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds[0].revents().contains(PollFlags::HUP) && !fds[0].revents().intersects(what) {
            // nobody at the other end yet: a clone that was not connected; it will be
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Writes what the port takes now.
    pub(crate) fn flush_some(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.port.write(&self.out[self.sent..]) {
                Ok(0) => return Ok(()),
                Ok(count) => self.sent += count,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.out.capacity() > 2 * HIGH_WATER {
            self.out.shrink_to(HIGH_WATER);
        }
        Ok(())
    }

    /// Reads what is there now; false when there is nothing.
    pub(crate) fn read_some(&mut self) -> io::Result<bool> {
        match self.port.read(&mut self.scratch) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.decoder.push(&self.scratch[..count]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The next whole frame that was read.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.decoder.next_frame().map_err(broken)
    }
}
