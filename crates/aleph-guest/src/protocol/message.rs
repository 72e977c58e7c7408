//! What the two sides say to each other besides bytes of streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A file system on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSystem {
    /// read-only
    Squashfs,
    /// read-write
    Ext4,
}

/// A disk, named by its serial number, and where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMount {
    /// serial number that the hypervisor gives the disk
    pub serial: String,
    /// absolute path in the guest
    pub mount: String,
    /// what is on it
    pub file_system: FileSystem,
}

/// A file on a raw disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// serial number that the hypervisor gives the disk
    pub serial: String,
    /// bytes of the file; the disk may be longer
    pub length: u64,
    /// `true`: a zip archive, unpacked into `path`; `false`: written to `path` as it is
    pub zip: bool,
    /// absolute path in the guest: a folder for a zip, else a file
    pub path: String,
}

/// What the guest starts as the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCommand {
    /// program (absolute, or relative to `directory`) and arguments
    pub argv: Vec<String>,
    /// working directory
    pub directory: String,
    /// the whole environment
    pub environment: BTreeMap<String, String>,
    /// port of 127.0.0.1 on which the application is to listen
    pub port: u16,
    /// signal that tells the application that it is a clone and must draw new randomness
    pub resume_signal: Option<i32>,
}

/// All that the guest needs to become ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// serial number of the disk with the root file system (squashfs)
    pub root: String,
    /// more file systems, in order
    pub mounts: Vec<DiskMount>,
    /// files to unpack, in order, after the mounts
    pub archives: Vec<Archive>,
    /// the application
    pub app: AppCommand,
    /// host name
    pub hostname: String,
    /// milliseconds since 1970
    pub time_ms: u64,
    /// random bytes for the kernel, in hexadecimal
    pub entropy: String,
    /// how long the application may take to listen, in milliseconds
    pub ready_ms: u64,
    /// port of the guest's 127.0.0.1 that leads to the node's API, if any
    pub api_port: Option<u16>,
    /// port of the guest's 127.0.0.1 that is an HTTP proxy to the internet, if any
    pub proxy_port: Option<u16>,
    /// say `quiesced` when ready and wait for `resume`: the machine is about to be saved
    pub quiesce: bool,
}

/// What makes a clone of a saved machine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// host name
    pub hostname: String,
    /// milliseconds since 1970
    pub time_ms: u64,
    /// random bytes for the kernel, in hexadecimal
    pub entropy: String,
}

/// Host to guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum ToGuest {
    /// set up and start the application
    Configure(Box<Configuration>),
    /// go on after the machine was saved
    Resume(Resume),
    /// end the application and the machine
    Shutdown {
        /// how long the application may take, in milliseconds
        grace_ms: u64,
    },
}

/// The guest's steps, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetupStep {
    /// kernel modules, devices
    Devices,
    /// the runtime's file system
    Root,
    /// a volume
    Volume,
    /// the code or the data
    Archive,
    /// starting the application
    Application,
}

/// Guest to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum FromGuest {
    /// the guest's first word
    Hello {
        /// [`super::VERSION`]
        version: u32,
    },
    /// the configuration is applied, the application was started
    Started,
    /// the application listens
    Ready,
    /// ready, all streams closed, nothing more is said before `resume`
    Quiesced,
    /// going on after `resume`
    Resumed,
    /// the machine can't become ready
    SetupFailed {
        /// what it was doing
        step: SetupStep,
        /// what went wrong
        reason: String,
    },
    /// the application doesn't listen in time
    NeverListens,
    /// the application ended
    AppEnded {
        /// exit code, when it ended by itself
        code: Option<i32>,
        /// signal, when it was killed
        signal: Option<i32>,
    },
    /// everything is written, the machine ends now
    Bye,
}

/// What a new stream leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum StreamTarget {
    /// host to guest: the application's port
    App,
    /// guest to host: the node's API
    Api,
    /// guest to host: a place on the internet
    Internet {
        /// name or address
        host: String,
        /// TCP port
        port: u16,
    },
}
