//! One connection between a socket of this machine and the host.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aleph_guest::protocol::{Kind, MAX_DATA, StreamTarget, WINDOW};
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::super::channel::{Channel, broken};
use super::super::proxy::{Wish, read_wish};

/// Who asked for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// the host: a request to the application
    App,
    /// the application: the node's API
    Api,
    /// the application: the HTTP proxy
    Proxy,
}

/// What the application side of a proxied connection is told when it is through.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// nothing: bytes flow as they are
    None,
    /// the answer to `CONNECT`
    Tunnel,
    /// an error, when the host refuses
    ErrorOnly,
}

/// One connection, with a bounded buffer towards its socket.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    role: Role,
    connecting: bool,
    /// bytes of a proxy request whose head is not complete
    head: Option<Vec<u8>>,
    answer: Answer,
    to_socket: VecDeque<u8>,
    host_finished: bool,
    socket_shut: bool,
    /// bytes that the host still takes
    credit: u32,
    /// bytes that the socket took and the host wasn't told of
    handed_on: u32,
    socket_eof: bool,
    opened: bool,
    over: bool,
}

/// Queues the opening of stream `id`.
pub(crate) fn open(channel: &mut Channel, id: u32, target: &StreamTarget) -> io::Result<()> {
    let payload = serde_json::to_vec(target).map_err(broken)?;
    channel.queue(Kind::Open, id, &payload);
    Ok(())
}

impl Stream {
    fn new(socket: TcpStream, role: Role, connecting: bool) -> Self {
        Self {
            socket,
            role,
            connecting,
            head: (role == Role::Proxy).then(Vec::new),
            answer: Answer::None,
            to_socket: VecDeque::new(),
            host_finished: false,
            socket_shut: false,
            credit: WINDOW,
            handed_on: 0,
            socket_eof: false,
            opened: role != Role::Proxy,
            over: false,
        }
    }

    /// Starts a connection to the application.
    pub(crate) fn to_app(port: u16) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let connecting = match rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
            Ok(()) => false,
            Err(rustix::io::Errno::INPROGRESS) => true,
            Err(error) => return Err(error.into()),
        };
        let socket = TcpStream::from(socket);
        let _ = socket.set_nodelay(true);
        Ok(Self::new(socket, Role::App, connecting))
    }

    /// A connection that the application made.
    pub(crate) fn from_guest(socket: TcpStream, role: Role) -> Self {
        Self::new(socket, role, false)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// True when the host knows of it.
    pub(crate) fn is_open(&self) -> bool {
        self.opened && !self.over
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over || (self.socket_eof && self.host_finished && self.to_socket.is_empty())
    }

    /// What to wait for on the socket.
    pub(crate) fn wanted(&self, room: bool) -> PollFlags {
        let mut events = PollFlags::empty();
        if self.connecting {
            return PollFlags::OUT;
        }
        if room && !self.socket_eof && (self.credit > 0 || self.head.is_some()) {
            events |= PollFlags::IN;
        }
        if !self.to_socket.is_empty() {
            events |= PollFlags::OUT;
        }
        events
    }

    /// The socket is ready for something.
    pub(crate) fn ready(&mut self, revents: PollFlags, id: u32, channel: &mut Channel) {
        if self.connecting {
            self.connecting = false;
            if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
                self.fail(id, channel, &error.to_string());
                return;
            }
        }
        if revents.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read(id, channel);
        }
    }

    fn read(&mut self, id: u32, channel: &mut Channel) {
        if self.socket_eof || self.over || (self.credit == 0 && self.head.is_none()) {
            return;
        }
        let mut bytes = [0; MAX_DATA];
        let most = if self.head.is_some() { 4096 } else { MAX_DATA.min(self.credit as usize) };
        match self.socket.read(&mut bytes[..most]) {
            Ok(0) if self.head.is_some() => self.over = true,
            Ok(0) => {
                self.socket_eof = true;
                channel.queue(Kind::Finish, id, &[]);
            }
            Ok(count) if self.head.is_some() => self.read_head(id, channel, &bytes[..count]),
            Ok(count) => self.send(id, channel, &bytes[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => self.fail(id, channel, &error.to_string()),
        }
    }

    fn send(&mut self, id: u32, channel: &mut Channel, bytes: &[u8]) {
        for part in bytes.chunks(MAX_DATA) {
            channel.queue(Kind::Data, id, part);
            // a head is far smaller than the first window, reads are cut to the credit
            self.credit = self.credit.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX));
        }
    }

    fn read_head(&mut self, id: u32, channel: &mut Channel, bytes: &[u8]) {
        let Some(head) = &mut self.head else { return };
        head.extend_from_slice(bytes);
        let (target, first, answer) = match read_wish(head) {
            Wish::Incomplete => return,
            Wish::Invalid => {
                self.head = None;
                self.refuse("400 Bad Request", "this proxy takes CONNECT host:port and GET http://host/path");
                return;
            }
            Wish::Tunnel { host, port, rest } => {
                (StreamTarget::Internet { host, port }, rest, Answer::Tunnel)
            }
            Wish::Forward { host, port, head } => {
                (StreamTarget::Internet { host, port }, head, Answer::ErrorOnly)
            }
        };
        self.head = None;
        self.answer = answer;
        if open(channel, id, &target).is_err() {
            self.over = true;
            return;
        }
        self.opened = true;
        self.send(id, channel, &first);
    }

    fn refuse(&mut self, status: &str, reason: &str) {
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reason}",
            reason.len()
        );
        self.to_socket.extend(text.as_bytes());
        self.host_finished = true;
        self.socket_eof = true;
    }

    fn fail(&mut self, id: u32, channel: &mut Channel, reason: &str) {
        if self.is_open() {
            let reason = &reason.as_bytes()[..reason.len().min(200)];
            channel.queue(Kind::Reset, id, reason);
        }
        self.over = true;
    }

    /// Takes a frame of the host.
    pub(crate) fn take(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        match kind {
            Kind::Data => {
                if self.to_socket.len() + payload.len() > WINDOW as usize || self.host_finished {
                    return Err(broken("the host sent more than its window"));
                }
                if !self.socket_shut {
                    self.to_socket.extend(payload);
                }
            }
            Kind::Finish => self.host_finished = true,
            // the application is being told why already
            Kind::Reset if self.host_finished && self.socket_eof => {}
            Kind::Reset => {
                if self.answer == Answer::None {
                    // a close would look like the end of what the client sends; this is its end
                    let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
                    self.over = true;
                } else {
                    self.answer = Answer::None;
                    self.refuse("502 Bad Gateway", &String::from_utf8_lossy(payload));
                }
            }
            Kind::Credit => {
                let amount = payload.try_into().map(u32::from_le_bytes).map_err(broken)?;
                self.credit = self
                    .credit
                    .checked_add(amount)
                    .filter(|&c| c <= WINDOW)
                    .ok_or_else(|| broken("credit"))?;
                // the first credit, of nothing, says that the connection is made
                if std::mem::replace(&mut self.answer, Answer::None) == Answer::Tunnel {
                    self.to_socket.extend(b"HTTP/1.1 200 Connection established\r\n\r\n");
                }
            }
            Kind::Control | Kind::Log | Kind::Open => {}
        }
        Ok(())
    }

    /// Writes what the socket takes and tells the host.
    pub(crate) fn advance(&mut self, id: u32, channel: &mut Channel) {
        if self.connecting || self.over {
            return;
        }
        while !self.to_socket.is_empty() {
            let (front, _) = self.to_socket.as_slices();
            match self.socket.write(front) {
                Ok(count) => {
                    self.to_socket.drain(..count);
                    self.handed_on = self.handed_on.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    break;
                }
                Err(error) => {
                    self.fail(id, channel, &error.to_string());
                    return;
                }
            }
        }
        if self.handed_on >= WINDOW / 4 && self.opened && !self.host_finished {
            channel.queue(Kind::Credit, id, &self.handed_on.to_le_bytes());
            self.handed_on = 0;
        }
        if self.host_finished && self.to_socket.is_empty() && !self.socket_shut {
            self.socket_shut = true;
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        if self.role == Role::Proxy && self.socket_shut && self.socket_eof {
            self.over = true;
        }
    }
}
