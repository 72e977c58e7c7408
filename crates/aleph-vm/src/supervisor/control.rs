//! The control socket: one JSON object a line, one answer a line.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::shared::{Shared, StopRequest};
use crate::error::ErrorKind;
use crate::status::{Failure, Phase};

/// Longest question.
const MAX_QUESTION: u64 = 4096;
/// Longest answer that a client reads: a page of log, escaped.
pub(crate) const MAX_ANSWER: u64 = 16 << 20;
/// Connections at once.
const CONNECTIONS: usize = 64;

/// What the agent asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub(crate) enum Question {
    /// the status now
    Status,
    /// the status once requests are served or the VM has ended
    WaitReady,
    /// the status once the VM has ended
    WaitEnded,
    /// end the VM; answered at once
    Stop {
        /// absent: by force
        grace_ms: Option<u64>,
    },
    /// lines of the log
    Logs {
        from: u64,
        limit: usize,
        /// how long to wait for the first line
        wait_ms: Option<u64>,
    },
}

/// What the supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer<T> {
    Ok(T),
    Error(Failure),
}

/// Serves the control socket for ever.
pub(crate) async fn serve(listener: UnixListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = connection(stream, &shared).await {
                        tracing::debug!(%error, "control connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let count = (&mut reader).take(MAX_QUESTION).read_until(b'\n', &mut line).await?;
        if count == 0 {
            return Ok(());
        }
        let mut answer = match serde_json::from_slice(&line) {
            Ok(question) => tokio::select! {
                answer = answer(question, shared) => answer,
                // nobody waits any more
                _ = reader.fill_buf() => return Ok(()),
            },
            Err(error) => encode(&Answer::<()>::Error(Failure {
                kind: ErrorKind::Rejected,
                message: format!("unknown question: {error}"),
            })),
        };
        answer.push(b'\n');
        writer.write_all(&answer).await?;
    }
}

fn encode<T: Serialize>(answer: &Answer<T>) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_else(|_| b"{}".to_vec())
}

async fn answer(question: Question, shared: &Shared) -> Vec<u8> {
    let wait = async |done: fn(Phase) -> bool| {
        let _ = shared.status.subscribe().wait_for(|status| done(status.phase)).await;
    };
    match question {
        Question::Status => {}
        Question::WaitReady => wait(|phase| phase == Phase::Running || phase.is_over()).await,
        Question::WaitEnded => wait(Phase::is_over).await,
        Question::Stop { grace_ms } => {
            let request = StopRequest { grace: grace_ms.map(Duration::from_millis) };
            // the queue is full only when it was asked many times already
            let _ = shared.stop.try_send(request);
        }
        Question::Logs { from, limit, wait_ms } => {
            if let Some(wait_ms) = wait_ms {
                let _ = tokio::time::timeout(Duration::from_millis(wait_ms), shared.log.wait(from)).await;
            }
            return encode(&Answer::Ok(shared.log.page(from, limit)));
        }
    }
    encode(&Answer::Ok(shared.snapshot()))
}
