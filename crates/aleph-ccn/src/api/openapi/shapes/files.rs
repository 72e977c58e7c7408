//! Files and uploads.

use utoipa::ToSchema;

/// Where a file was put.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct StoredFile {
    /// `success`.
    status: String,
    hash: String,
    /// Of IPFS uploads.
    name: Option<String>,
    size: Option<u64>,
}

/// A file, and the signed message that stores it.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct FileForm {
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// JSON: `{"message": <signed STORE>, "sync": <bool>}`.
    metadata: Option<String>,
}

/// An archive, and the signed message that stores what it holds.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ArchiveForm {
    #[schema(format = Binary, content_media_type = "application/vnd.ipld.car")]
    file: String,
    /// JSON: `{"message": <signed STORE of item_type ipfs>, "sync": <bool>}`.
    metadata: String,
}

/// Bytes that uploads may have.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct UploadLimits {
    storage: StorageLimits,
    ipfs: IpfsLimits,
}

/// Bytes of files.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct StorageLimits {
    max_file_size: u64,
    max_unauthenticated_upload_file_size: u64,
}

/// Bytes of files that are addressed by CID.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct IpfsLimits {
    max_upload_file_size: u64,
    max_upload_car_size: u64,
    max_unauthenticated_upload_file_size: u64,
}

/// A file in base64.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Base64File {
    status: String,
    hash: String,
    /// `storage` or `ipfs`.
    engine: String,
    /// In lines of 76 characters.
    content: String,
}

/// How an upload is.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct UploadState {
    id: String,
    /// Bytes that arrived.
    offset: u64,
    /// Bytes of the whole file.
    length: u64,
    /// When it is thrown away, ISO 8601.
    expires: String,
    finished: bool,
    #[schema(required)]
    file_hash: Option<String>,
    /// What became of the STORE message that came with it.
    #[schema(required)]
    message_status: Option<String>,
}

/// What is known about a file.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct FileMetadata {
    file_hash: String,
    /// `file` or `dir`.
    r#type: String,
    size: u64,
    download_url: String,
}

/// A version of a file with its reference.
#[derive(Debug, ToSchema)]
#[schema(as = FileVersion)]
pub(in crate::api) struct FileVersionAnswer {
    r#ref: String,
    owner: String,
    file_hash: String,
    download_url: String,
    size: u64,
}
