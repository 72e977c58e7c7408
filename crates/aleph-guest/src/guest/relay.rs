//! Carries connections and output between the application and the host: one `poll` loop.

mod stream;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use aleph_guest::protocol::{
    Configuration, Frame, FromGuest, Kind, MAX_DATA, MAX_GUEST_STREAMS, MAX_HOST_STREAMS, Resume,
    StreamTarget, ToGuest, decode_json,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::app::App;
use super::channel::{Channel, HIGH_WATER, broken};
use super::{goodbye, identity};
use stream::{Role, Stream};

/// How often the kernel's table of listeners is read while the application starts.
const LISTEN_POLL: Duration = Duration::from_millis(8);
/// How often orphans are collected otherwise.
const IDLE_POLL: Duration = Duration::from_secs(2);

/// The guest's state while the application lives.
pub(crate) struct Relay<'a> {
    channel: &'a mut Channel,
    app: App,
    streams: BTreeMap<u32, Stream>,
    next_stream: u32,
    doors: Vec<(TcpListener, Role)>,
    started: Instant,
    ready_within: Duration,
    quiesce: bool,
    said_ready: bool,
    said_late: bool,
    said_ended: bool,
}

enum Next {
    GoOn,
    Shutdown(Duration),
}

/// What a ready file descriptor belongs to.
enum Source {
    Port,
    AppEnd,
    Stdout,
    Stderr,
    Door(usize),
    Stream(u32),
}

impl<'a> Relay<'a> {
    pub(crate) fn new(channel: &'a mut Channel, app: App, configuration: &Configuration) -> io::Result<Self> {
        let mut doors = Vec::new();
        for (port, role) in [(configuration.api_port, Role::Api), (configuration.proxy_port, Role::Proxy)] {
            if let Some(port) = port {
                let door = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
                door.set_nonblocking(true)?;
                doors.push((door, role));
            }
        }
        for pipe in
            [app.stdout.as_ref().map(AsFd::as_fd), app.stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten()
        {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            channel,
            app,
            streams: BTreeMap::new(),
            next_stream: 2,
            doors,
            started: Instant::now(),
            ready_within: Duration::from_millis(configuration.ready_ms),
            quiesce: configuration.quiesce,
            said_ready: false,
            said_late: false,
            said_ended: false,
        })
    }

    /// Serves until the host says `shutdown`.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            self.wait_and_read()?;
            match self.take_frames()? {
                Next::GoOn => {}
                Next::Shutdown(grace) => return self.shutdown(grace),
            }
            self.watch_app()?;
            self.move_streams();
            self.channel.flush_some()?;
        }
    }

    fn wait_and_read(&mut self) -> io::Result<()> {
        let room = self.channel.backlog() < HIGH_WATER;
        let mut sources = Vec::with_capacity(8 + self.streams.len());
        let mut fds = Vec::with_capacity(8 + self.streams.len());
        let port_events =
            if self.channel.backlog() > 0 { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        sources.push(Source::Port);
        fds.push(PollFd::from_borrowed_fd(self.channel.fd(), port_events));
        if !self.said_ended {
            sources.push(Source::AppEnd);
            fds.push(PollFd::from_borrowed_fd(self.app.ended(), PollFlags::IN));
        }
        if room {
            if let Some(out) = &self.app.stdout {
                sources.push(Source::Stdout);
                fds.push(PollFd::new(out, PollFlags::IN));
            }
            if let Some(err) = &self.app.stderr {
                sources.push(Source::Stderr);
                fds.push(PollFd::new(err, PollFlags::IN));
            }
        }
        if self.streams.keys().filter(|id| *id % 2 == 0).count() < MAX_GUEST_STREAMS {
            for (index, (door, _)) in self.doors.iter().enumerate() {
                sources.push(Source::Door(index));
                fds.push(PollFd::new(door, PollFlags::IN));
            }
        }
        for (&id, stream) in &self.streams {
            let events = stream.wanted(room);
            if !events.is_empty() {
                sources.push(Source::Stream(id));
                fds.push(PollFd::from_borrowed_fd(stream.fd(), events));
            }
        }
        let timeout = if self.said_ready || self.said_ended { IDLE_POLL } else { LISTEN_POLL };
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<(Source, PollFlags)> = sources
            .into_iter()
            .zip(fds.iter().map(PollFd::revents))
            .filter(|(_, revents)| !revents.is_empty())
            .collect();
        drop(fds);
        for (source, revents) in ready {
            match source {
                Source::Port => {
                    if revents.contains(PollFlags::IN) {
                        self.channel.read_some()?;
                    } else if revents.contains(PollFlags::HUP) && !revents.contains(PollFlags::OUT) {
                        // the supervisor is gone: keep running, somebody may come back
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                Source::AppEnd => self.app.reap(),
                Source::Stdout => {
                    if read_log(&mut self.app.stdout, 1, self.channel)? {
                        self.app.stdout = None;
                    }
                }
                Source::Stderr => {
                    if read_log(&mut self.app.stderr, 2, self.channel)? {
                        self.app.stderr = None;
                    }
                }
                Source::Door(index) => self.accept(index)?,
                Source::Stream(id) => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.ready(revents, id, self.channel);
                    }
                }
            }
        }
        self.app.reap();
        Ok(())
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        let (door, role) = &self.doors[index];
        let (role, accepted) = (*role, door.accept());
        let Ok((socket, _)) = accepted else { return Ok(()) };
        socket.set_nonblocking(true)?;
        let _ = socket.set_nodelay(true);
        let id = self.next_stream;
        // ids are used again after two thousand million connections
        self.next_stream = self.next_stream.checked_add(2).unwrap_or(2);
        let stream = Stream::from_guest(socket, role);
        if role == Role::Api {
            stream::open(self.channel, id, &StreamTarget::Api)?;
        }
        self.streams.insert(id, stream);
        Ok(())
    }

    fn take_frames(&mut self) -> io::Result<Next> {
        loop {
            let Some(frame) = self.channel.next_frame()? else { return Ok(Next::GoOn) };
            match frame.kind {
                Kind::Control => match decode_json(frame).map_err(broken)? {
                    ToGuest::Shutdown { grace_ms } => {
                        return Ok(Next::Shutdown(Duration::from_millis(grace_ms)));
                    }
                    ToGuest::Configure(_) | ToGuest::Resume(_) => {}
                },
                Kind::Open => {
                    let id = frame.stream;
                    if id % 2 == 0
                        || self.streams.contains_key(&id)
                        || self.streams.len() >= MAX_HOST_STREAMS * 2
                    {
                        return Err(broken(format_args!("stream {id} can't be opened")));
                    }
                    match Stream::to_app(self.app.port()) {
                        Ok(stream) => {
                            self.streams.insert(id, stream);
                        }
                        Err(error) => self.channel.queue(Kind::Reset, id, error.to_string().as_bytes()),
                    }
                }
                Kind::Log => {}
                Kind::Data | Kind::Finish | Kind::Reset | Kind::Credit => {
                    let Frame { kind, stream: id, payload } = frame;
                    // a stream that is gone here may still be talked about by the host
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.take(kind, payload)?;
                    }
                }
            }
        }
    }

    fn watch_app(&mut self) -> io::Result<()> {
        if !self.said_ended
            && let Some(outcome) = self.app.outcome()
        {
            self.drain_logs()?;
            self.said_ended = true;
            self.channel.queue_message(&outcome)?;
        }
        if self.said_ready || self.said_ended {
            return Ok(());
        }
        if self.app.listens() {
            self.said_ready = true;
            self.channel.queue_message(&FromGuest::Ready)?;
            if self.quiesce {
                self.be_saved()?;
            }
        } else if !self.said_late && self.started.elapsed() > self.ready_within {
            self.said_late = true;
            self.channel.queue_message(&FromGuest::NeverListens)?;
        }
        Ok(())
    }

    /// Leaves the channel empty, so that the saved machine has no frame in flight, and goes on as
    /// whatever machine the host says.
    fn be_saved(&mut self) -> io::Result<()> {
        self.drain_logs()?;
        for (id, stream) in std::mem::take(&mut self.streams) {
            if stream.is_open() {
                self.channel.queue(Kind::Reset, id, b"the machine is being saved");
            }
        }
        self.channel.say(&FromGuest::Quiesced)?;
        loop {
            match self.channel.wait_message()? {
                ToGuest::Resume(Resume { hostname, time_ms, entropy }) => {
                    identity::apply(&hostname, time_ms, &entropy)?;
                    super::root::write_names(&hostname);
                    break;
                }
                ToGuest::Shutdown { .. } => return Err(io::Error::other("ended while being saved")),
                ToGuest::Configure(_) => {}
            }
        }
        self.app.resumed();
        self.channel.say(&FromGuest::Resumed)
    }

    fn move_streams(&mut self) {
        let mut gone = Vec::new();
        for (&id, stream) in &mut self.streams {
            stream.advance(id, self.channel);
            if stream.is_over() {
                gone.push(id);
            }
        }
        for id in gone {
            self.streams.remove(&id);
        }
    }

    fn drain_logs(&mut self) -> io::Result<()> {
        while read_log(&mut self.app.stdout, 1, self.channel)
            .is_ok_and(|over| !over && self.app.stdout.is_some())
            && self.channel.backlog() < HIGH_WATER
            && readable(self.app.stdout.as_ref().map(AsFd::as_fd))
        {}
        while read_log(&mut self.app.stderr, 2, self.channel)
            .is_ok_and(|over| !over && self.app.stderr.is_some())
            && self.channel.backlog() < HIGH_WATER
            && readable(self.app.stderr.as_ref().map(AsFd::as_fd))
        {}
        Ok(())
    }

    fn shutdown(mut self, grace: Duration) -> io::Result<()> {
        self.app.end(grace);
        self.drain_logs()?;
        goodbye(self.channel)
    }
}

fn readable(fd: Option<BorrowedFd<'_>>) -> bool {
    let Some(fd) = fd else { return false };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && fds[0].revents().contains(PollFlags::IN)
}

/// Sends one read's worth of output; true when the pipe is closed.
fn read_log(pipe: &mut Option<impl Read>, source: u8, channel: &mut Channel) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut bytes = [0; 8 * 1024];
    const _: () = assert!(8 * 1024 <= MAX_DATA);
    bytes[0] = source;
    match pipe.read(&mut bytes[1..]) {
        Ok(0) => Ok(true),
        Ok(count) => {
            channel.queue(Kind::Log, 0, &bytes[..=count]);
            Ok(false)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(false)
        }
        Err(_) => Ok(true),
    }
}
