//! A small client of QEMU's control protocol: one command at a time, bounded lines.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::VmError;

/// Longest line that QEMU may send.
const MAX_LINE: u64 = 1 << 20;
/// How long a command may take. None of ours waits for the guest.
const DEADLINE: Duration = Duration::from_secs(20);

/// An open control socket, after its greeting.
#[derive(Debug)]
pub(crate) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next: u64,
}

/// One line from QEMU.
#[derive(Debug, PartialEq)]
enum Line {
    Greeting,
    Event,
    Answer { id: Option<u64>, value: Result<Value, String> },
}

fn parse_line(line: &[u8]) -> Result<Line, String> {
    let mut value: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let object = value.as_object_mut().ok_or("not an object")?;
    if object.contains_key("QMP") {
        return Ok(Line::Greeting);
    }
    if object.contains_key("event") {
        return Ok(Line::Event);
    }
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(error) = object.remove("error") {
        let text = error.get("desc").and_then(Value::as_str).unwrap_or("no description").to_owned();
        return Ok(Line::Answer { id, value: Err(text) });
    }
    match object.remove("return") {
        Some(value) => Ok(Line::Answer { id, value: Ok(value) }),
        None => Err("neither an answer nor an event".to_owned()),
    }
}

impl Qmp {
    /// Reads the greeting and takes the capabilities.
    pub(crate) async fn open(stream: UnixStream) -> Result<Self, VmError> {
        let (reader, writer) = stream.into_split();
        let mut qmp = Self { reader: BufReader::new(reader), writer, next: 0 };
        match qmp.line("greeting").await? {
            Line::Greeting => {}
            other => {
                return Err(VmError::Qmp { command: "greeting".to_owned(), reason: format!("{other:?}") });
            }
        }
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok(qmp)
    }

    /// Gives QEMU an open file under a name.
    pub(crate) async fn give_file(&mut self, name: &str, file: &File) -> Result<(), VmError> {
        self.run("getfd", json!({"fdname": name}), Some(file)).await.map(drop)
    }

    /// Runs one command and gives what it returned.
    pub(crate) async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, VmError> {
        self.run(command, arguments, None).await
    }

    async fn run(&mut self, command: &str, arguments: Value, file: Option<&File>) -> Result<Value, VmError> {
        self.next += 1;
        let id = self.next;
        let mut text = json!({"execute": command, "id": id});
        if !arguments.is_null() {
            text["arguments"] = arguments;
        }
        let failed = |reason: String| VmError::Qmp { command: command.to_owned(), reason };
        let work = async {
            let bytes = format!("{text}\n").into_bytes();
            // a file travels with the first byte; the rest is written as always
            let sent = match file {
                Some(file) => self.send_with_file(&bytes, file).await.map_err(|e| failed(e.to_string()))?,
                None => 0,
            };
            self.writer.write_all(&bytes[sent..]).await.map_err(|e| failed(e.to_string()))?;
            loop {
                if let Line::Answer { id: answered, value } = self.line(command).await?
                    && answered.is_none_or(|answered| answered == id)
                {
                    return value.map_err(failed);
                }
            }
        };
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(result) => result,
            Err(_) => Err(VmError::Deadline {
                what: "a command of QEMU's control socket",
                seconds: DEADLINE.as_secs(),
            }),
        }
    }

    async fn send_with_file(&self, bytes: &[u8], file: &File) -> io::Result<usize> {
        let stream: &UnixStream = self.writer.as_ref();
        loop {
            stream.writable().await?;
            let sent = stream.try_io(Interest::WRITABLE, || {
                let files = [file.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut message = SendAncillaryBuffer::new(&mut space);
                if !message.push(SendAncillaryMessage::ScmRights(&files)) {
                    return Err(io::Error::other("no room for a file"));
                }
                Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut message, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    async fn line(&mut self, command: &str) -> Result<Line, VmError> {
        let failed = |reason: String| VmError::Qmp { command: command.to_owned(), reason };
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_LINE);
        let count = limited.read_until(b'\n', &mut line).await.map_err(|e| failed(e.to_string()))?;
        if count == 0 || line.last() != Some(&b'\n') {
            return Err(failed("the control socket was closed".to_owned()));
        }
        parse_line(&line).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(parse_line(br#"{"QMP": {"version": {}, "capabilities": []}}"#), Ok(Line::Greeting));
        assert_eq!(parse_line(br#"{"event": "STOP", "timestamp": {}}"#), Ok(Line::Event));
        assert_eq!(
            parse_line(br#"{"return": {"status": "running"}, "id": 3}"#),
            Ok(Line::Answer { id: Some(3), value: Ok(json!({"status": "running"})) })
        );
        assert_eq!(
            parse_line(br#"{"error": {"class": "GenericError", "desc": "no"}, "id": 4}"#),
            Ok(Line::Answer { id: Some(4), value: Err("no".to_owned()) })
        );
        for bad in ["", "[]", "{}", "{\"return\""] {
            assert!(parse_line(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn commands_skip_events_and_carry_errors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = tokio::spawn(async move {
            let mut server = BufReader::new(theirs);
            server.get_mut().write_all(b"{\"QMP\": {}}\n").await.unwrap();
            for answer in [
                "{\"return\": {}, \"id\": 1}\n",
                "{\"event\": \"X\"}\n{\"return\": 5, \"id\": 2}\n",
                "{\"error\": {\"desc\": \"bad\"}, \"id\": 3}\n",
            ] {
                let mut line = String::new();
                server.read_line(&mut line).await.unwrap();
                server.get_mut().write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut qmp = Qmp::open(ours).await.unwrap();
        assert_eq!(qmp.execute("a", Value::Null).await.unwrap(), json!(5));
        let error = qmp.execute("b", json!({"x": 1})).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused b: bad");
        assert!(qmp.execute("c", Value::Null).await.is_err());
        server.await.unwrap();
    }
}
