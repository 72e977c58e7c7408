//! The life of the process: open, take over VMs, serve, drain.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use aleph_http::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::defaults::{ADOPT_AGAIN, CONNECTIONS, DRAIN_TIMEOUT, REQUEST_HEAD};
use crate::error::Error;
use crate::execution::handle::Command;
use crate::execution::machine::{Event, Goal};
use crate::http;
use crate::network::feed;
use crate::node::Node;

/// Runs a compute node until `shutdown` is cancelled.
///
/// # Errors
/// When it can't start: configuration, state folder, address. Once it serves, troubles are answered, not
/// returned.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let address = config.listen;
    config.check()?;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    run_on(listener, config, shutdown).await
}

/// The same on a listener that is bound already; `config.listen` is not used.
///
/// # Errors
/// As [`run`].
pub async fn run_on(listener: TcpListener, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let _lock = lock(&config)?;
    let stop_vms = config.stop_vms_on_exit;
    // Cancelled after the drain: requests inside programs end first.
    let node = Node::open(config, CancellationToken::new())?;
    let (adopted, unanswering) = node.adopt().await?;
    if unanswering > 0 {
        node.tasks.spawn(adopt_again(Arc::clone(&node)));
    }
    restore_allocations(&node);
    if node.config.watch_messages {
        node.tasks.spawn(feed::follow(Arc::clone(&node)));
    }
    let ready = Arc::clone(&node);
    node.tasks.spawn(async move {
        tokio::select! {
            () = ready.get_ready() => {}
            () = ready.shutdown.cancelled() => {}
        }
    });
    let address = listener.local_addr().map_err(Error::Serve)?;
    tracing::info!(%address, domain = %node.config.domain_name, adopted, "compute node serves");

    let closing = CancellationToken::new();
    let limits = Limits { connections: CONNECTIONS, head: REQUEST_HEAD };
    let server =
        tokio::spawn(aleph_http::serve(listener, http::router(Arc::clone(&node)), limits, closing.clone()));
    shutdown.cancelled().await;

    tracing::info!("draining");
    node.drain();
    closing.cancel();
    match tokio::time::timeout(DRAIN_TIMEOUT, server).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::error!(%cause, "the server's task failed"),
        Err(_) => tracing::warn!("requests are still inside programs; leaving them"),
    }
    if stop_vms {
        stop_all(&node).await;
    }
    node.shutdown.cancel();
    node.tasks.close();
    if tokio::time::timeout(Duration::from_secs(5), node.tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    tracing::info!("compute node stopped");
    Ok(())
}

/// Two processes on one state would both drive the same VMs.
fn lock(config: &Config) -> Result<File, Error> {
    let folder = |source| Error::Folder { path: config.state_dir.clone(), source };
    std::fs::create_dir_all(&config.state_dir).map_err(folder)?;
    let path = config.state_dir.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path }),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}

/// Asks again for VMs whose supervisors did not answer, until all have.
async fn adopt_again(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(ADOPT_AGAIN) => {}
            () = node.shutdown.cancelled() => return,
        }
        match node.adopt().await {
            Ok((_, 0)) => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "running vms can't be looked for"),
        }
    }
}

/// What schedulers wanted before this process: listed at once, persistent programs running again.
fn restore_allocations(node: &Arc<Node>) {
    for (hash, persistent) in node.allocations.all() {
        match node.executions.get_or_start(node, &hash) {
            Ok(execution) => {
                let goal = if persistent { Goal::Serve } else { Goal::Files };
                execution.tell(Command::Allocate { allocated: true, persistent, goal: Some(goal) });
            }
            Err(failure) => tracing::error!(%hash, %failure, "an allocated program can't be listed"),
        }
    }
}

/// For networks that live as long as this process.
async fn stop_all(node: &Arc<Node>) {
    let executions = node.executions.all();
    for execution in &executions {
        execution.tell(Command::Allocate { allocated: false, persistent: false, goal: None });
        execution.tell(Command::Event(Event::StopAsked));
    }
    for execution in executions {
        let stopped = execution.wait_until(|view| !view.state.has_vm());
        if tokio::time::timeout(DRAIN_TIMEOUT, stopped).await.is_err() {
            tracing::warn!(hash = %execution.hash, "vm does not stop");
        }
    }
}
