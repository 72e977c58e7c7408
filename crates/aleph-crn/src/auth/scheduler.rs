//! `Authorization: Aleph-EIP191-V1 sig=0x…,payload=0x…` (`spec: crn-api.md §3.4`).

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::recover::eip191_signer;
use super::replay::{Replay, ReplayGuard};
use crate::defaults::ALLOCATION_SKEW_SECONDS;

/// Everything of a request that its signature covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedRequest<'a> {
    /// Exact method.
    pub(crate) method: &'a str,
    /// Percent-decoded path.
    pub(crate) path: &'a str,
    /// Whether there was a `?`.
    pub(crate) has_query: bool,
    /// Whole body.
    pub(crate) body: &'a [u8],
}

/// Why a signed request is refused. On the wire every cause is the same 401; the log says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchedulerAuthError {
    #[error("the Authorization header is not `Aleph-EIP191-V1 sig=…,payload=…`")]
    Header,
    #[error("the payload is no JSON object with method, path, body_sha256 and iat")]
    Payload,
    #[error("signed for {signed}, but this is {actual}")]
    Target { signed: String, actual: String },
    #[error("a signed request can't have a query string")]
    Query,
    #[error("issued {seconds} s away from this node's clock (at most {ALLOCATION_SKEW_SECONDS})")]
    Age { seconds: i64 },
    #[error("the body is not the signed one")]
    Body,
    #[error("the signature is malformed")]
    Signature,
    #[error(
        "{address} may not allocate on this node; add it to `allocation_signers`, or link the node to its core node"
    )]
    Signer { address: String },
    #[error(transparent)]
    Replay(#[from] Replay),
}

/// What the header claims; nothing is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Claim {
    /// Parses the header. Unknown, missing and empty parameters are refused.
    pub(crate) fn parse(header: &str) -> Result<Self, SchedulerAuthError> {
        let refused = SchedulerAuthError::Header;
        let (scheme, parameters) = header.trim().split_once(' ').ok_or(refused.clone())?;
        if !scheme.eq_ignore_ascii_case("Aleph-EIP191-V1") {
            return Err(refused);
        }
        let (mut signature, mut payload) = (None, None);
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').ok_or(refused.clone())?;
            let slot = match name.trim() {
                "sig" => &mut signature,
                "payload" => &mut payload,
                _ => return Err(refused),
            };
            let digits = value.trim();
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            if digits.is_empty() || slot.is_some() {
                return Err(refused);
            }
            *slot = Some(hex::decode(digits).map_err(|_| refused.clone())?);
        }
        match (signature, payload) {
            (Some(signature), Some(payload)) => Ok(Self { payload, signature }),
            _ => Err(refused),
        }
    }

    /// The lower-case address that made the signature, once everything that the payload says about
    /// `request` holds at `now` (seconds since the epoch).
    pub(crate) fn signer(&self, request: SignedRequest<'_>, now: i64) -> Result<String, SchedulerAuthError> {
        let fields: Value = serde_json::from_slice(&self.payload).map_err(|_| SchedulerAuthError::Payload)?;
        let text = |key: &str| fields.get(key).and_then(Value::as_str).ok_or(SchedulerAuthError::Payload);
        let issued = self.issued(&fields)?;
        if request.has_query {
            return Err(SchedulerAuthError::Query);
        }
        let (method, path) = (text("method")?, text("path")?);
        if method != request.method || path != request.path {
            return Err(SchedulerAuthError::Target {
                signed: format!("{method} {path}"),
                actual: format!("{} {}", request.method, request.path),
            });
        }
        let seconds = issued.saturating_sub(now);
        if seconds.saturating_abs() > ALLOCATION_SKEW_SECONDS {
            return Err(SchedulerAuthError::Age { seconds });
        }
        if text("body_sha256")? != hex::encode(Sha256::digest(request.body)) {
            return Err(SchedulerAuthError::Body);
        }
        eip191_signer(&self.payload, &self.signature).ok_or(SchedulerAuthError::Signature)
    }

    /// Marks the request as accepted; the last check, so that refused requests can be corrected.
    pub(crate) fn accept_once(
        &self,
        guard: &ReplayGuard,
        signer: &str,
        now: i64,
    ) -> Result<(), SchedulerAuthError> {
        let fields: Value = serde_json::from_slice(&self.payload).map_err(|_| SchedulerAuthError::Payload)?;
        let mut key = Sha256::new();
        key.update(signer.as_bytes());
        key.update([0]);
        key.update(&self.payload);
        let forget_at = self.issued(&fields)?.saturating_add(ALLOCATION_SKEW_SECONDS);
        Ok(guard.accept(key.finalize().into(), forget_at, now)?)
    }

    /// `iat`: a JSON integer; neither a double nor a boolean.
    fn issued(&self, fields: &Value) -> Result<i64, SchedulerAuthError> {
        match fields.get("iat") {
            Some(Value::Number(number)) if !number.is_f64() => {
                number.as_i64().ok_or(SchedulerAuthError::Payload)
            }
            _ => Err(SchedulerAuthError::Payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"persistent_vms":[],"instances":[]}"#;
    const NOW: i64 = 1_786_104_000;
    const ADDRESS: &str = "0x735e45d27138457e66e8b5cbb9e3b7e2fc2555d2";
    const PAYLOAD: &str = r#"{"method":"POST","path":"/control/allocations","body_sha256":"bacd7df6b15d098133e2be8734567cbc6afa46d721c3147cac915c63664cc5e8","iat":1786104000}"#;
    const SIGNATURE: &str = "0x3764e1ea3d97a245666c2b49dfb51cf1d1c7e9df0f4c41e8cf83bb33dd8305d832674077ca99b2e34190abb02bbc71c239a34473a515590024eb4dbecb6a8b771b";

    fn request() -> SignedRequest<'static> {
        SignedRequest { method: "POST", path: "/control/allocations", has_query: false, body: BODY }
    }

    fn header(payload: &str) -> String {
        format!("Aleph-EIP191-V1 sig={SIGNATURE},payload=0x{}", hex::encode(payload))
    }

    #[test]
    fn the_published_vector() {
        let claim = Claim::parse(&header(PAYLOAD)).unwrap();
        assert_eq!(claim.signer(request(), NOW).unwrap(), ADDRESS);
        for skew in [-300, 300] {
            assert!(claim.signer(request(), NOW + skew).is_ok());
        }
        assert!(matches!(claim.signer(request(), NOW + 301), Err(SchedulerAuthError::Age { seconds: -301 })));
        let guard = ReplayGuard::default();
        assert_eq!(claim.accept_once(&guard, ADDRESS, NOW), Ok(()));
        assert_eq!(claim.accept_once(&guard, ADDRESS, NOW), Err(Replay::Seen.into()));
        assert_eq!(claim.accept_once(&guard, "0xother", NOW), Ok(()), "per signer");
    }

    #[test]
    fn everything_signed_is_compared() {
        let claim = Claim::parse(&header(PAYLOAD)).unwrap();
        let other_body = SignedRequest { body: b"{}", ..request() };
        assert_eq!(claim.signer(other_body, NOW), Err(SchedulerAuthError::Body));
        let slash = SignedRequest { path: "/control/allocations/", ..request() };
        assert!(matches!(claim.signer(slash, NOW), Err(SchedulerAuthError::Target { .. })));
        let get = SignedRequest { method: "GET", ..request() };
        assert!(matches!(claim.signer(get, NOW), Err(SchedulerAuthError::Target { .. })));
        let query = SignedRequest { has_query: true, ..request() };
        assert_eq!(claim.signer(query, NOW), Err(SchedulerAuthError::Query));
        // Another payload recovers to another signer, or none.
        let changed = PAYLOAD.replace("\"iat\":1786104000", "\"iat\":1786104001");
        assert_ne!(Claim::parse(&header(&changed)).unwrap().signer(request(), NOW), Ok(ADDRESS.into()));
        for iat in ["true", "1786104000.0", "\"1786104000\"", "null"] {
            let payload = PAYLOAD.replace(":1786104000}", &format!(":{iat}}}"));
            let claim = Claim::parse(&header(&payload)).unwrap();
            assert_eq!(claim.signer(request(), NOW), Err(SchedulerAuthError::Payload), "{iat}");
        }
    }

    #[test]
    fn headers() {
        let hex = hex::encode(PAYLOAD);
        let bare = SIGNATURE.trim_start_matches("0x");
        for good in [
            format!("aleph-eip191-v1 sig={SIGNATURE}, payload=0x{hex}"),
            format!("Aleph-EIP191-V1 payload={hex} ,sig={bare}"),
        ] {
            assert!(Claim::parse(&good).is_ok(), "{good}");
        }
        for bad in [
            "".to_owned(),
            "Bearer x".into(),
            format!("Aleph-EIP191-V1 sig={SIGNATURE}"),
            format!("Aleph-EIP191-V1 sig={SIGNATURE},payload="),
            format!("Aleph-EIP191-V1 sig={SIGNATURE},payload=0x{hex},more=1"),
            format!("Aleph-EIP191-V1 sig={SIGNATURE},payload=0x{hex},sig={SIGNATURE}"),
            format!("Aleph-EIP191-V1 sig=0xzz,payload=0x{hex}"),
        ] {
            assert_eq!(Claim::parse(&bad), Err(SchedulerAuthError::Header), "{bad}");
        }
    }
}
