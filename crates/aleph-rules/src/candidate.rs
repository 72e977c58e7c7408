use aleph_crypto::Verified;
use aleph_types::content::{Content, RuntimeManifest};
use aleph_types::{FormatError, ItemHash, Message, ParsedMessage, Timestamp};

/// What kind of thing a stored file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes.
    File,
    /// An IPFS directory.
    Directory,
}

impl FileKind {
    /// The word in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "dir",
        }
    }
}

/// A file that this node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Bytes.
    pub size: u64,
    /// File or directory.
    pub kind: FileKind,
}

/// What this node read of the file that a V-PROGRAM names as its runtime's manifest.
#[derive(Debug, Clone, Copy)]
pub struct ManifestFile<'a> {
    /// The file that was read.
    pub file: &'a ItemHash,
    /// What is in it, or why it is no manifest.
    pub manifest: &'a Result<RuntimeManifest, FormatError>,
}

/// A verified message with whatever this node has of the things it names.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The envelope.
    pub message: &'a Message,
    /// Its content; `None` while it must still be fetched.
    pub content: Option<&'a Content>,
    /// Bytes of the content.
    pub content_size: u64,
    /// For STORE: the file it names, if this node holds it.
    pub file: Option<FileInfo>,
    /// For V-PROGRAM: its runtime's manifest, if it could be read.
    pub manifest: Option<ManifestFile<'a>>,
    /// The node's clock: which credits have expired. The message's own time unless told otherwise.
    pub now: Timestamp,
}

impl<'a> Candidate<'a> {
    /// Only a verified message can become a candidate.
    pub fn new(
        verified: &'a Verified<ParsedMessage>,
        fetched: Option<&'a Content>,
        content_size: u64,
        file: Option<FileInfo>,
    ) -> Self {
        Self {
            message: &verified.message,
            content: verified.content.as_ref().or(fetched),
            content_size,
            file,
            manifest: None,
            now: verified.message.time,
        }
    }

    /// The same with the manifest of the V-PROGRAM's runtime.
    #[must_use]
    pub fn with_manifest(self, manifest: Option<ManifestFile<'a>>) -> Self {
        Self { manifest, ..self }
    }

    /// The same at that time of the node's clock.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }
}
