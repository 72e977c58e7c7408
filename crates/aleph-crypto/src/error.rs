use aleph_types::{Chain, ErrorCode, Rejection};

/// Why a message's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none, and the message comes from where one is needed.
    #[error("Missing signature")]
    Missing,
    /// It was made by another key, or for another message.
    #[error("The signature of the message is invalid")]
    Invalid,
    /// It, or the sender's address, can't be read; says why.
    #[error("Signature validation error: {0}")]
    Malformed(&'static str),
    /// The schema names the chain, but nothing on the network verifies it.
    #[error("Unknown chain for validation: {0}")]
    UnknownChain(Chain),
}

impl SignatureError {
    /// The network's code for it (`spec: signatures.md §3`).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::Invalid | Self::Malformed(_) => ErrorCode::InvalidSignature,
            Self::UnknownChain(_) => ErrorCode::InvalidFormat,
        }
    }
}

impl From<SignatureError> for Rejection {
    fn from(error: SignatureError) -> Self {
        Rejection::text(error.code(), error.to_string())
    }
}

/// Why bytes or a text are no key, address or signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the hexadecimal form of that many bytes.
    #[error("not {0} bytes in hexadecimal form")]
    Hex(usize),
    /// Zero, or not below the order of the curve.
    #[error("not a private key of the curve secp256k1")]
    OutOfRange,
    /// Zero, or not below the order of the other curve.
    #[error("not a private key of the curve P-256")]
    OutOfRangeP256,
    /// Nothing on the network verifies signatures of the chain.
    #[error("no node verifies signatures of {0}; use a key of another chain")]
    NoVerifier(Chain),
    /// The chain's keys are of another family than the call makes.
    #[error("keys of {0} are of another family")]
    OtherFamily(Chain),
    /// Something that goes into the address has a form that no address has; says what.
    #[error("{0}")]
    Parameter(&'static str),
}
