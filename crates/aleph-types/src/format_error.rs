use std::fmt;

use serde_json::{Value, json};

/// One step of the way to a wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loc {
    /// An object's key.
    Key(String),
    /// A list's index.
    Index(usize),
}

impl From<&str> for Loc {
    fn from(key: &str) -> Self {
        Loc::Key(key.to_owned())
    }
}

impl From<usize> for Loc {
    fn from(index: usize) -> Self {
        Loc::Index(index)
    }
}

/// One thing wrong with a document: what, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// Short stable name in the reference's vocabulary: `missing`, `string_type`, `extra_forbidden`…
    pub kind: &'static str,
    /// The way from the document's root.
    pub loc: Vec<Loc>,
    /// One sentence for people.
    pub msg: String,
}

impl Issue {
    /// The form served to clients; `loc` shows a Python tuple, as the reference does.
    pub fn to_json(&self) -> Value {
        let mut loc = String::from("(");
        for (position, part) in self.loc.iter().enumerate() {
            if position > 0 {
                loc.push_str(", ");
            }
            match part {
                Loc::Key(key) => {
                    loc.push('\'');
                    loc.push_str(key);
                    loc.push('\'');
                }
                Loc::Index(index) => loc.push_str(&index.to_string()),
            }
        }
        if self.loc.len() == 1 {
            loc.push(',');
        }
        loc.push(')');
        json!({ "type": self.kind, "loc": loc, "msg": self.msg })
    }
}

/// Why a message does not have the form that the network requires (error code 0).
#[derive(Debug, Clone, PartialEq)]
pub enum FormatError {
    /// A rule that concerns the message as a whole.
    Text(String),
    /// Fields that are missing, superfluous or of the wrong shape.
    Issues(Vec<Issue>),
}

impl FormatError {
    /// A whole-message rule that was broken.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// One wrong field.
    pub fn field(kind: &'static str, loc: impl IntoIterator<Item = Loc>, msg: impl Into<String>) -> Self {
        Self::Issues(vec![Issue { kind, loc: loc.into_iter().collect(), msg: msg.into() }])
    }

    /// The same issues, found below `key`; a text stays as it is.
    #[must_use]
    pub fn below(self, key: &str) -> Self {
        match self {
            Self::Text(text) => Self::Text(text),
            Self::Issues(mut issues) => {
                for issue in &mut issues {
                    issue.loc.insert(0, Loc::from(key));
                }
                Self::Issues(issues)
            }
        }
    }

    /// The entries of `details.errors`.
    pub fn to_json_errors(&self) -> Vec<Value> {
        match self {
            Self::Text(text) => vec![Value::String(text.clone())],
            Self::Issues(issues) => issues.iter().map(Issue::to_json).collect(),
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Issues(issues) => {
                for (position, issue) in issues.iter().enumerate() {
                    if position > 0 {
                        f.write_str("; ")?;
                    }
                    for (depth, part) in issue.loc.iter().enumerate() {
                        match part {
                            Loc::Key(key) if depth == 0 => f.write_str(key)?,
                            Loc::Key(key) => write!(f, ".{key}")?,
                            Loc::Index(index) => write!(f, "[{index}]")?,
                        }
                    }
                    write!(f, ": {}", issue.msg)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for FormatError {}
