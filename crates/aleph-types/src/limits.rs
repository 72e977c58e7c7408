//! Sizes that the network fixes, with their sources.

/// Most characters (Unicode scalar values) of an inline `item_content` (`spec: messages.md §2`).
pub const INLINE_CHARS: usize = 200_000;

/// Deepest nesting of JSON that the reference's parser accepts (`spec: messages.md §5`).
pub const JSON_DEPTH: usize = 1024;

/// Largest request body that is buffered (`spec: ccn-api.md §1`).
pub const BUFFERED_BODY: usize = 1_048_576;

/// Largest gossip payload that reaches every peer (`spec: p2p.md §2.5`).
pub const GOSSIP_PAYLOAD: usize = 261_000;

/// Largest file on the `storage` engine, in bytes (`spec: ccn-api.md §10`).
pub const STORAGE_FILE: u64 = 100 * 1024 * 1024;

/// Largest upload without a signed message, in bytes (`spec: ccn-api.md §10`).
pub const UNAUTHENTICATED_UPLOAD: u64 = 25 * 1024 * 1024;

/// Most targets of one FORGET, per list (`spec: messages.md §17`).
pub const FORGET_TARGETS: usize = 1000;

/// Most characters of a FORGET's reason (`spec: messages.md §17`).
pub const FORGET_REASON_CHARS: usize = 1000;

/// `content.time` lies between 0 and this number of seconds (`spec: messages.md §5`).
pub const CONTENT_TIME_MAX_SECS: f64 = 9_223_372_036.0;

/// Most tags of a message, and most characters of one (`spec: messages.md §12`).
pub const TAGS: usize = 16;
/// See [`TAGS`].
pub const TAG_CHARS: usize = 256;

/// Largest runtime manifest of a V-PROGRAM, in bytes (`spec: messages.md §21`).
pub const RUNTIME_MANIFEST: u64 = 1024 * 1024;

/// Most bytes of a text that lists are filtered by or that names something: the `type` of a POST, `ref`, the
/// key and the fields of an AGGREGATE.
///
/// The network fixes no number. The reference keeps these texts in PostgreSQL, where an entry of an index
/// holds 2,704 bytes after compression, and refuses (with -1) what does not fit; a bound before compression
/// is the same on every node and engine, and leaves room for an address and two such texts in one entry.
pub const INDEXED_TEXT: usize = 1024;
