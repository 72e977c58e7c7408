//! A connection to a server, driven by the thread that waits for the answer.
//!
//! The driver is asynchronous, this crate's sessions are not. Instead of a runtime beside every session
//! (a second thread, or one that must not be entered from another), the thread that asks polls the driver
//! itself and sleeps in poll(2) on the one socket: no thread is woken for an answer.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Connection};

use super::super::EngineError;
use super::tls::{Encrypted, Tls};
use crate::StoreError;
use crate::location::{Encryption, PostgresUrl};

/// How long a server may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a server may say nothing while a statement runs. The longest statement reads a whole table.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const ACKNOWLEDGE_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Plug {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
struct Socket {
    plug: Plug,
    /// A write would have blocked.
    is_full: AtomicBool,
}

impl Socket {
    fn new(plug: Plug) -> io::Result<Self> {
        match &plug {
            Plug::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                sockopt::set_socket_keepalive(stream, true)?;
                sockopt::set_tcp_keepidle(stream, ACKNOWLEDGE_PATIENCE)?;
                let millis = u32::try_from(ACKNOWLEDGE_PATIENCE.as_millis()).unwrap_or(u32::MAX);
                sockopt::set_tcp_user_timeout(stream, millis)?;
            }
            Plug::Unix(stream) => stream.set_nonblocking(true)?,
        }
        Ok(Self { plug, is_full: AtomicBool::new(false) })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.plug {
            Plug::Tcp(stream) => stream.as_fd(),
            Plug::Unix(stream) => stream.as_fd(),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.plug {
            Plug::Tcp(stream) => (&*stream).read(buffer),
            Plug::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.plug {
            Plug::Tcp(stream) => (&*stream).write(bytes),
            Plug::Unix(stream) => (&*stream).write(bytes),
        }
    }

    /// Sleeps until the socket can be read, or written if that was tried.
    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut events = PollFlags::IN;
        if self.is_full.swap(false, Ordering::Relaxed) {
            events |= PollFlags::OUT;
        }
        let limit = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        let fd = self.as_fd();
        match poll(&mut [PollFd::new(&fd, events)], Some(&limit)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The socket as the driver sees it.
#[derive(Debug)]
pub(super) struct Stream(Arc<Socket>);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.0.read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.0.write(bytes) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.is_full.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Set when something that was polled can go on.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection and what drives it.
pub(super) struct Wire {
    socket: Arc<Socket>,
    woken: Arc<Woken>,
    waker: Waker,
    /// `None` once the connection ended.
    connection: RefCell<Option<Connection<Stream, Encrypted>>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects to the first host of the URL that answers.
    pub(super) fn connect(url: &PostgresUrl) -> Result<(Client, Self), StoreError> {
        let config = url.config();
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host");
        for (index, host) in config.get_hosts().iter().enumerate() {
            let port = config.get_ports().get(index).or(config.get_ports().first()).copied().unwrap_or(5432);
            match plug(host, port).and_then(Socket::new) {
                Ok(socket) => return Self::secure(url, host, port, socket),
                Err(error) => last = error,
            }
        }
        Err(EngineError::Lost(last).into())
    }

    /// Greets the server as safely as the URL asks; a socket of this machine needs no encryption.
    fn secure(
        url: &PostgresUrl,
        host: &Host,
        port: u16,
        socket: Socket,
    ) -> Result<(Client, Self), StoreError> {
        let plain = |socket| {
            let config = url.config().clone().ssl_mode(SslMode::Disable).clone();
            Self::greet(&config, Arc::new(socket), Tls::none()).map_err(StoreError::from)
        };
        match (host, url.encryption()) {
            (Host::Unix(_), _) | (_, Encryption::Never) => plain(socket),
            (Host::Tcp(name), encryption) => {
                let greeted = Tls::new(encryption, name)
                    .and_then(|tls| Self::greet(url.config(), Arc::new(socket), tls));
                match greeted {
                    // The server offers encryption that this program does not speak.
                    Err(EngineError::Encryption(_)) if *encryption == Encryption::IfOffered => {
                        plain(plug(host, port).and_then(Socket::new).map_err(EngineError::Lost)?)
                    }
                    done => Ok(done?),
                }
            }
        }
    }

    fn greet(config: &Config, socket: Arc<Socket>, tls: Tls) -> Result<(Client, Self), EngineError> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let wire = Self { socket: Arc::clone(&socket), woken, waker, connection: RefCell::new(None) };
        let mut context = Context::from_waker(&wire.waker);
        let mut greeting = pin!(config.connect_raw(Stream(socket), tls));
        let (client, connection) = loop {
            match greeting.as_mut().poll(&mut context) {
                Poll::Ready(done) => break done.map_err(EngineError::from)?,
                Poll::Pending if wire.woken.0.swap(false, Ordering::Relaxed) => {}
                Poll::Pending => wire.socket.wait(CONNECT_PATIENCE).map_err(EngineError::Lost)?,
            }
        };
        wire.connection.replace(Some(connection));
        Ok((client, wire))
    }

    /// Waits for `work`, which uses the client of this connection.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let mut context = Context::from_waker(&self.waker);
        let mut work = pin!(work);
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Ok(done);
            }
            let is_open = self.advance(&mut context);
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Ok(done);
            }
            if !is_open {
                return Err(EngineError::Lost(io::ErrorKind::ConnectionAborted.into()).into());
            }
            if self.woken.0.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.socket.wait(ANSWER_PATIENCE) {
                self.connection.replace(None);
                return Err(EngineError::Lost(error).into());
            }
        }
    }

    /// Sends what `work` asks for and waits for no answer.
    pub(super) fn send(&self, work: impl Future) {
        let mut context = Context::from_waker(&self.waker);
        let mut work = pin!(work);
        let _ = work.as_mut().poll(&mut context);
        self.advance(&mut context);
    }

    /// Whether the connection still stands, as far as the socket tells without asking the server.
    pub(super) fn is_open(&self) -> bool {
        self.advance(&mut Context::from_waker(&self.waker))
    }

    /// Reads and writes what can be read and written now.
    fn advance(&self, context: &mut Context<'_>) -> bool {
        let mut connection = self.connection.borrow_mut();
        match connection.as_mut().map(|connection| Pin::new(connection).poll(context)) {
            Some(Poll::Pending) => true,
            Some(Poll::Ready(_)) => {
                // What still waits for answers learns that none will come.
                *connection = None;
                false
            }
            None => false,
        }
    }
}

fn plug(host: &Host, port: u16) -> io::Result<Plug> {
    match host {
        Host::Unix(folder) => {
            let socket: &Path = &folder.join(format!(".s.PGSQL.{port}"));
            Ok(Plug::Unix(UnixStream::connect(socket)?))
        }
        Host::Tcp(name) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in (name.as_str(), port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                    Ok(stream) => return Ok(Plug::Tcp(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}
