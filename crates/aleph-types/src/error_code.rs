use serde_json::{Value, json};

use crate::FormatError;

/// Why a message was refused: the network's stable codes (`spec: messages.md §10`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum ErrorCode {
    InternalError = -1,
    InvalidFormat = 0,
    InvalidSignature = 1,
    PermissionDenied = 2,
    ContentUnavailable = 3,
    FileUnavailable = 4,
    BalanceInsufficient = 5,
    CreditInsufficient = 6,
    PostAmendNoTarget = 100,
    PostAmendTargetNotFound = 101,
    PostAmendAmend = 102,
    StoreRefNotFound = 200,
    StoreUpdateUpdate = 201,
    InvalidPaymentMethod = 202,
    VmRefNotFound = 300,
    VmVolumeNotFound = 301,
    VmAmendNotAllowed = 302,
    VmUpdateUpdate = 303,
    VmVolumeTooSmall = 304,
    VmRuntimeInvalid = 305,
    ForgetNoTarget = 500,
    ForgetTargetNotFound = 501,
    ForgetForget = 502,
    ForgetNotAllowed = 503,
    ForgottenDuplicate = 504,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 25] = [
        ErrorCode::InternalError,
        ErrorCode::InvalidFormat,
        ErrorCode::InvalidSignature,
        ErrorCode::PermissionDenied,
        ErrorCode::ContentUnavailable,
        ErrorCode::FileUnavailable,
        ErrorCode::BalanceInsufficient,
        ErrorCode::CreditInsufficient,
        ErrorCode::PostAmendNoTarget,
        ErrorCode::PostAmendTargetNotFound,
        ErrorCode::PostAmendAmend,
        ErrorCode::StoreRefNotFound,
        ErrorCode::StoreUpdateUpdate,
        ErrorCode::InvalidPaymentMethod,
        ErrorCode::VmRefNotFound,
        ErrorCode::VmVolumeNotFound,
        ErrorCode::VmAmendNotAllowed,
        ErrorCode::VmUpdateUpdate,
        ErrorCode::VmVolumeTooSmall,
        ErrorCode::VmRuntimeInvalid,
        ErrorCode::ForgetNoTarget,
        ErrorCode::ForgetTargetNotFound,
        ErrorCode::ForgetForget,
        ErrorCode::ForgetNotAllowed,
        ErrorCode::ForgottenDuplicate,
    ];

    /// The number on the wire.
    pub fn as_i16(self) -> i16 {
        self as i16
    }

    /// The code of that number.
    pub fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_i16() == number)
    }

    /// One sentence for people: what happened and what to do next.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::InternalError => "this node failed on the message; see its log and send it again",
            Self::InvalidFormat => "the message does not have the required form; the details name the fields",
            Self::InvalidSignature => {
                "the signature does not match sender and hash; sign it with the sender's key"
            }
            Self::PermissionDenied => {
                "the sender may not act for that address; its owner can allow it in the 'security' aggregate"
            }
            Self::ContentUnavailable => {
                "no node had the message's content; upload it and send the message again"
            }
            Self::FileUnavailable => "no node had the file; upload it and send the message again",
            Self::BalanceInsufficient => "the owner's token balance does not cover the cost",
            Self::CreditInsufficient => "the owner's credits do not cover one day",
            Self::PostAmendNoTarget => "an amend must name the post it changes in 'ref'",
            Self::PostAmendTargetNotFound => "the amended post is unknown or was forgotten",
            Self::PostAmendAmend => "an amend can't be amended; name the original post in 'ref'",
            Self::StoreRefNotFound => "the file's earlier version is unknown; store it first",
            Self::StoreUpdateUpdate => "'ref' must name the first version of the file, not an update of it",
            Self::InvalidPaymentMethod => "this resource can't be paid that way; use credits",
            Self::VmRefNotFound => "the replaced program is unknown",
            Self::VmVolumeNotFound => {
                "code, runtime, data or a volume is not stored on the network; store it first"
            }
            Self::VmAmendNotAllowed => "the program was published with 'allow_amend' false",
            Self::VmUpdateUpdate => "'replaces' must name the first version of the program",
            Self::VmVolumeTooSmall => "the volume is smaller than the file it starts from",
            Self::VmRuntimeInvalid => "the runtime manifest can't be used",
            Self::ForgetNoTarget => "a FORGET must name messages or aggregates",
            Self::ForgetTargetNotFound => "a message to forget is unknown here, or already forgotten",
            Self::ForgetForget => "a FORGET can't be forgotten",
            Self::ForgetNotAllowed => "a program still uses the file; forget the program first",
            Self::ForgottenDuplicate => "the message was forgotten; it can't come back",
        }
    }
}

/// A refusal: the code and the details that clients see (`spec: messages.md §10`).
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// The stable code.
    pub code: ErrorCode,
    /// JSON served as is; `None` is served as null.
    pub details: Option<Value>,
}

impl Rejection {
    /// A refusal without details.
    pub fn bare(code: ErrorCode) -> Self {
        Self { code, details: None }
    }

    /// A refusal with `{"errors": [...]}`.
    pub fn with_errors(code: ErrorCode, errors: impl IntoIterator<Item = Value>) -> Self {
        let errors: Vec<Value> = errors.into_iter().collect();
        Self { code, details: Some(json!({ "errors": errors })) }
    }

    /// A refusal with one line of text.
    pub fn text(code: ErrorCode, text: impl Into<String>) -> Self {
        Self::with_errors(code, [Value::String(text.into())])
    }
}

impl From<FormatError> for Rejection {
    fn from(error: FormatError) -> Self {
        Self::with_errors(ErrorCode::InvalidFormat, error.to_json_errors())
    }
}
