//! The headers of tus 1.0, read.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::api::errors::ApiError;

pub(super) const VERSION: &str = "1.0.0";
pub(super) const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");

/// Of ours: the hash of the finished file, and what became of its message.
pub(super) const FILE_HASH: HeaderName = HeaderName::from_static("aleph-file-hash");
pub(super) const MESSAGE_STATUS: HeaderName = HeaderName::from_static("aleph-message-status");

/// The bodies of uploads.
pub(super) const OFFSET_STREAM: &str = "application/offset+octet-stream";

/// The status of a wrong checksum, as tus numbers it.
const CHECKSUM_MISMATCH: u16 = 460;

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::text(StatusCode::BAD_REQUEST, format!("400: {}", text.into()))
}

/// Refuses clients that speak another version.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(TUS_RESUMABLE).map(HeaderValue::as_bytes) {
        Some(version) if version == VERSION.as_bytes() => Ok(()),
        _ => Err(ApiError::text(
            StatusCode::PRECONDITION_FAILED,
            format!("412: this node speaks tus {VERSION}: send 'Tus-Resumable: {VERSION}'"),
        )),
    }
}

/// A header that holds a number of bytes.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(bad(format!("'{name}' must be a number of bytes"))),
    }
}

/// `Upload-Length`, which is needed from the start: quotas are counted by it.
pub(super) fn length(headers: &HeaderMap) -> Result<u64, ApiError> {
    if headers.contains_key(UPLOAD_DEFER_LENGTH) {
        return Err(bad("'Upload-Defer-Length' is not supported: send 'Upload-Length'"));
    }
    number(headers, &UPLOAD_LENGTH)?.ok_or_else(|| bad("'Upload-Length' is required"))
}

/// `Upload-Metadata` as it came; it is kept and shown again.
pub(super) fn metadata(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get(UPLOAD_METADATA) else { return Ok(String::new()) };
    value.to_str().map(str::to_owned).map_err(|_| bad("'Upload-Metadata' must be ASCII"))
}

/// The value of a key of `Upload-Metadata`, decoded.
pub(super) fn metadata_value(metadata: &str, wanted: &str) -> Result<Option<Vec<u8>>, ApiError> {
    for pair in metadata.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        if key == wanted {
            let decoded = STANDARD.decode(value.trim());
            return decoded
                .map(Some)
                .map_err(|_| bad(format!("'{wanted}' in 'Upload-Metadata' is no base64")));
        }
    }
    Ok(None)
}

/// The checksum that a piece must have.
#[derive(Debug)]
pub(super) struct Checksum {
    state: State,
    expected: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Sha1(Sha1),
    Sha256(Box<Sha256>),
}

impl Checksum {
    /// Reads `Upload-Checksum`.
    pub(super) fn read(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get(UPLOAD_CHECKSUM) else { return Ok(None) };
        let wrong = || bad("'Upload-Checksum' must be 'sha256 <base64>' or 'sha1 <base64>'");
        let (algorithm, text) =
            value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or_else(wrong)?;
        let state = match algorithm {
            "sha1" => State::Sha1(Sha1::default()),
            "sha256" => State::Sha256(Box::default()),
            _ => return Err(wrong()),
        };
        let expected = STANDARD.decode(text.trim()).map_err(|_| wrong())?;
        Ok(Some(Self { state, expected }))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha1(state) => sha1::Digest::update(state, bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// Whether the piece is what the client sent.
    pub(super) fn check(self) -> Result<(), ApiError> {
        let actual = match self.state {
            State::Sha1(state) => sha1::Digest::finalize(state).to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
        };
        if actual == self.expected {
            return Ok(());
        }
        let status = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
        Err(ApiError::text(
            status,
            "460: the piece does not have its checksum: it was thrown away, send it again",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_a_list_of_keys_with_base64() {
        let metadata = "filename d29ybGQ=, is_confidential,message e30=";
        assert_eq!(metadata_value(metadata, "filename").unwrap(), Some(b"world".to_vec()));
        assert_eq!(metadata_value(metadata, "is_confidential").unwrap(), Some(Vec::new()));
        assert_eq!(metadata_value(metadata, "message").unwrap(), Some(b"{}".to_vec()));
        assert_eq!(metadata_value(metadata, "other").unwrap(), None);
        assert!(metadata_value("message *", "message").is_err());
    }

    #[test]
    fn checksums_of_both_kinds() {
        for (header, good) in [
            ("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", true),
            ("sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", true),
            ("sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(UPLOAD_CHECKSUM, HeaderValue::from_static(header));
            let mut checksum = Checksum::read(&headers).unwrap().unwrap();
            checksum.update(b"hello ");
            checksum.update(b"world");
            assert_eq!(checksum.check().is_ok(), good, "{header}");
        }
        for header in ["md5 abc", "sha1", "sha256 *"] {
            let mut headers = HeaderMap::new();
            headers.insert(UPLOAD_CHECKSUM, HeaderValue::from_static(header));
            assert!(Checksum::read(&headers).is_err(), "{header}");
        }
    }
}
