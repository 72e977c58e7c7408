//! What the command line says when something fails: the fault, its causes, the next step, an exit code.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use aleph_sdk::{Error, ErrorKind};
use aleph_types::ErrorCode;
use serde_json::{Value, json};

/// The result of every command.
pub(crate) type CliResult<T = ()> = Result<T, CliError>;

/// What the exit code tells (documented in `docs/cli.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The network refused it, or something broke.
    Failure = 1,
    /// The command was used wrongly.
    Usage = 2,
    /// A node could not be reached or did not answer in time.
    Unavailable = 3,
    /// What was asked for does not exist.
    NotFound = 4,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    /// Stable word for machines.
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    /// More fields of the JSON form.
    facts: Vec<(&'static str, Value)>,
    /// The reader of our output went away: nothing to say, nobody to say it to.
    pub(crate) broken_pipe: bool,
}

impl CliError {
    fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            facts: Vec::new(),
            broken_pipe: false,
        }
    }

    /// The command was used wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Something that the caller can't name more precisely.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, "failure", message)
    }

    /// What was asked for does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, "not_found", message)
    }

    /// A local file could not be used.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::failure(format!("can't {action} {}", path.display())).cause(error.to_string())
    }

    /// Adds a cause.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a next step.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Writes the error for people or machines. A stderr that is gone is nobody's fault.
    pub(crate) fn print(&self, as_json: bool, to: &mut dyn io::Write, colour: bool) {
        if self.broken_pipe {
            return;
        }
        let text = if as_json { format!("{}\n", self.to_json()) } else { self.render(colour) };
        let _ = to.write_all(text.as_bytes());
    }

    fn to_json(&self) -> Value {
        let mut error = json!({
            "kind": self.kind,
            "message": self.message,
            "causes": self.causes,
            "hints": self.hints,
        });
        for (name, value) in &self.facts {
            error[*name] = value.clone();
        }
        json!({ "error": error })
    }

    fn render(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let mut text = format!("{} {}\n", paint("1;31", "error:"), self.message);
        for cause in &self.causes {
            text.push_str(&format!("{} {cause}\n", paint("1", "caused by:")));
        }
        for hint in &self.hints {
            text.push_str(&format!("{} {hint}\n", paint("1;36", "hint:")));
        }
        text
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for CliError {}

impl From<io::Error> for CliError {
    /// Writing the output failed.
    fn from(error: io::Error) -> Self {
        let mut this = Self::failure("can't write the output").cause(error.to_string());
        this.broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        this
    }
}

/// The causes of an error, without those whose text the error before them already tells.
fn causes_of(error: &dyn StdError) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if causes.last().is_none_or(|before| !before.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidInput => Exit::Usage,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failure,
        };
        let mut this = Self::new(exit, error.kind().as_str(), error.to_string());
        this.causes = causes_of(&error);
        match &error {
            Error::Rejected(rejected) => {
                this.causes = rejected.detail_lines();
                this.facts.push(("item_hash", json!(rejected.item_hash)));
                this.facts.push(("code", json!(rejected.code)));
                this.facts.push(("details", json!(rejected.details)));
                this.hints.extend(rejected.error_code().and_then(hint_of_code).map(str::to_owned));
            }
            Error::Status { status, .. } => {
                this.facts.push(("status", json!(status)));
                this.hints.extend(hint_of_status(*status).map(str::to_owned));
            }
            Error::Unreachable { .. } => {
                // The layers between only say that something below them failed.
                this.causes.drain(..this.causes.len().saturating_sub(1));
                this.hints
                    .push("is the node running? `aleph node status` asks it; --node names another".into());
            }
            Error::Corrupt { .. } => {
                this.hints.push("ask another node with --node; nothing was written".into());
            }
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                this.hints.push("check the path".into());
            }
            _ => {}
        }
        this
    }
}

fn hint_of_code(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::PermissionDenied => {
            "sign with the owner's account (--account), or let the owner add you to its aggregate 'security'"
        }
        ErrorCode::BalanceInsufficient | ErrorCode::CreditInsufficient => {
            "`aleph account show` tells the balance; --payment chooses how to pay"
        }
        ErrorCode::InvalidPaymentMethod => "try --payment credit",
        ErrorCode::VmVolumeNotFound => {
            "check the runtime and volumes: `aleph message get HASH` must show a processed STORE message"
        }
        ErrorCode::ForgetTargetNotFound => "`aleph message get HASH` tells what became of it",
        ErrorCode::ForgetNotAllowed => "delete the program first: `aleph program delete HASH`",
        ErrorCode::PostAmendTargetNotFound | ErrorCode::PostAmendAmend => {
            "`aleph post list --hash HASH` shows the original post to amend"
        }
        ErrorCode::StoreRefNotFound | ErrorCode::StoreUpdateUpdate => {
            "--ref takes the STORE message of the file's first version, or a name of your choice"
        }
        _ => return None,
    })
}

fn hint_of_status(status: u16) -> Option<&'static str> {
    Some(match status {
        401 | 403 => "sign with the account that owns it (--account NAME)",
        402 => "`aleph account show` tells the balance; --payment chooses how to pay",
        413 => "the node takes files up to 100 MiB; split the file, or leave out what is not needed",
        429 | 503 => "the node is busy; try again in a moment, or name another with --node",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aleph_sdk::RejectedMessage;
    use aleph_types::ItemHash;

    use super::*;

    fn rendered(error: CliError, as_json: bool) -> String {
        let mut text = Vec::new();
        error.print(as_json, &mut text, false);
        String::from_utf8(text).unwrap()
    }

    fn rejected() -> CliError {
        Error::Rejected(Box::new(RejectedMessage {
            item_hash: ItemHash::sha256(b"x"),
            code: Some(6),
            details: Some(json!({"errors": [{"required_credits": "864", "account_credits": "3"}]})),
        }))
        .into()
    }

    #[test]
    fn rejections_are_explained() {
        let hash = ItemHash::sha256(b"x");
        assert_eq!(
            rendered(rejected(), false),
            format!(
                "error: message {hash} was rejected with code 6: the owner's credits do not cover one day\n\
                 caused by: required_credits 864, account_credits 3\n\
                 hint: `aleph account show` tells the balance; --payment chooses how to pay\n"
            )
        );
        assert_eq!(rejected().exit, Exit::Failure);
    }

    #[test]
    fn machines_get_the_same_facts() {
        let value: Value = serde_json::from_str(&rendered(rejected(), true)).unwrap();
        assert_eq!(value["error"]["kind"], "rejected");
        assert_eq!(value["error"]["code"], 6);
        assert_eq!(value["error"]["details"]["errors"][0]["account_credits"], "3");
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        let status = |status| CliError::from(Error::Status { url: "u".into(), status, body: String::new() });
        assert_eq!(status(404).exit, Exit::NotFound);
        assert_eq!(status(503).exit, Exit::Unavailable);
        assert_eq!(status(422).exit, Exit::Failure);
        assert_eq!(CliError::from(Error::Input { what: "x".into() }).exit, Exit::Usage);
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.broken_pipe);
        assert_eq!(rendered(error, false), "");
    }
}
