use serde_json::Value;

use crate::limits::RUNTIME_MANIFEST;
use crate::{FormatError, ItemHash, json};

/// What `format` of a manifest says.
const FORMAT: &str = "aleph-vprogram-runtime";

/// The manifest of the measured stack that a V-PROGRAM boots: the file of its `runtime.ref`
/// (`spec: messages.md §21`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeManifest {
    /// STORE message of the bundle with kernel, firmware and root file system.
    pub bundle: ItemHash,
}

impl RuntimeManifest {
    /// Reads a manifest; keys that it does not need are ignored.
    ///
    /// # Errors
    /// What is wrong, for code 305: too large, no JSON object, another format, no bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() as u64 > RUNTIME_MANIFEST {
            return Err(FormatError::text(format!("larger than {RUNTIME_MANIFEST} bytes")));
        }
        let document = json::parse(bytes).map_err(|error| FormatError::text(format!("no JSON: {error}")))?;
        if document.get("format").and_then(Value::as_str) != Some(FORMAT) {
            return Err(FormatError::text(format!("'format' is not '{FORMAT}'")));
        }
        let bundle = document
            .pointer("/bundle/ref")
            .and_then(Value::as_str)
            .and_then(|text| ItemHash::parse(text).ok())
            .ok_or_else(|| FormatError::text("'bundle.ref' is no item hash"))?;
        Ok(Self { bundle })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_format_and_the_bundle_count() {
        let hash = "a".repeat(64);
        let valid =
            json!({ "format": FORMAT, "version": 9, "bundle": { "ref": hash, "size": "?" }, "x": [] });
        assert_eq!(RuntimeManifest::parse(valid.to_string().as_bytes()).unwrap().bundle.as_str(), hash);
        for wrong in [
            json!(null),
            json!([]),
            json!({ "bundle": { "ref": hash } }),
            json!({ "format": "other", "bundle": { "ref": hash } }),
            json!({ "format": FORMAT }),
            json!({ "format": FORMAT, "bundle": hash }),
            json!({ "format": FORMAT, "bundle": { "ref": hash.to_uppercase() } }),
            json!({ "format": FORMAT, "bundle": { "ref": 5 } }),
        ] {
            assert!(RuntimeManifest::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
        assert!(RuntimeManifest::parse(b"{").is_err());
        let mut padded = valid.to_string().into_bytes();
        padded.resize(RUNTIME_MANIFEST as usize, b' ');
        assert!(RuntimeManifest::parse(&padded).is_ok());
        padded.push(b' ');
        assert!(RuntimeManifest::parse(&padded).unwrap_err().to_string().contains("1048576"));
    }
}
