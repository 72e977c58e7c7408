//! Why a compute node can't start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;

/// Why a compute node can't start or go on. Troubles of single programs are none of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not ours.
    #[error("can't listen on {address}: {source}; is another node running? set `listen` to a free address")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A folder of the state can't be made or written.
    #[error("can't use the folder '{path}': {source}; check `state_dir`, its owner and free space", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process works with this state.
    #[error("'{path}' is in use by another compute node; stop it, or give this one its own `state_dir`", path = path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The kept allocations can't be read. They say which VMs must stay: guessing is no option.
    #[error("the allocations in '{path}' can't be read: {reason}; restore the file, or remove it to wait for the next allocation", path = path.display())]
    Allocations {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The store of files.
    #[error("file store: {0}")]
    Files(#[from] aleph_blobs::BlobError),
    /// VMs and their supervisors.
    #[error("{0}")]
    Vm(#[from] aleph_vm::VmError),
    /// The HTTP client can't be made.
    #[error("http client: {0}; is a rustls provider installed in main?")]
    HttpClient(#[source] reqwest::Error),
    /// The bound socket has no address.
    #[error("http server: {0}")]
    Serve(#[source] io::Error),
}
