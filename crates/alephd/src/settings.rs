//! One way to read every configuration: a typed TOML file < environment < flags.
//!
//! The environment speaks in the same keys: `ALEPHD_CCN__HTTP__LISTEN=…` is `http.listen` of a core
//! node, `ALEPHD_CRN__KEEP_WARM_SECONDS=60` is `keep_warm_seconds` of a compute node. A key that
//! nobody knows is an error that says which known key was probably meant: a typing mistake must
//! never be a setting that silently does nothing.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("can't read the configuration {}: {source}; check the path and its permissions", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {} is no TOML document: {problem}", path.display())]
    Syntax { path: PathBuf, problem: String },
    #[error("{origin}: unknown key `{key}`{}", hint(suggestion.as_deref(), known))]
    UnknownKey { origin: String, key: String, suggestion: Option<String>, known: Vec<String> },
    #[error("{origin}: {}{problem}", place(key))]
    Value { origin: String, key: String, problem: String },
}

fn hint(suggestion: Option<&str>, known: &[String]) -> String {
    match suggestion {
        Some(suggestion) => format!("; did you mean `{suggestion}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known here: {}", known.join(", ")),
    }
}

fn place(key: &str) -> String {
    if key.is_empty() || key == "." { String::new() } else { format!("`{key}`: ") }
}

/// Where the values of one component come from.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// `CCN`: the environment's variables begin with `ALEPHD_CCN__`
    pub(crate) component: &'a str,
    pub(crate) file: Option<&'a Path>,
    /// the process's environment, or a test's
    pub(crate) environment: Vec<(String, String)>,
    /// dotted keys with values given on the command line
    pub(crate) flags: Vec<(&'a str, Value)>,
}

impl<'a> Sources<'a> {
    /// A file and this process's environment.
    pub(crate) fn new(component: &'a str, file: Option<&'a Path>) -> Self {
        Self { component, file, environment: std::env::vars().collect(), flags: Vec::new() }
    }

    /// Adds a flag's value; none leaves the key alone.
    pub(crate) fn flag(mut self, key: &'a str, value: Option<impl Into<Value>>) -> Self {
        self.flags.extend(value.map(|value| (key, value.into())));
        self
    }

    /// Merges everything and types it.
    ///
    /// # Errors
    /// A file that can't be read or parsed, an unknown key, a value of a wrong type.
    pub(crate) fn load<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let mut table = self.read_file()?;
        let prefix = format!("ALEPHD_{}__", self.component);
        for (name, text) in &self.environment {
            if let Some(key) = name.strip_prefix(&prefix) {
                set(&mut table, &key.to_lowercase().replace("__", "."), environment_value(text));
            }
        }
        for (key, value) in &self.flags {
            set(&mut table, key, value.clone());
        }
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| self.explain(&error))
    }

    fn read_file(&self) -> Result<Table, SettingsError> {
        let Some(path) = self.file else { return Ok(Table::new()) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })
    }

    fn explain(&self, error: &serde_path_to_error::Error<toml::de::Error>) -> SettingsError {
        let key = error.path().to_string();
        let problem = error.inner().message().to_owned();
        let origin = match self.file {
            Some(path) => format!("configuration {}", path.display()),
            None => "configuration".to_owned(),
        };
        let Some(unknown) = UnknownField::read(&problem) else {
            return SettingsError::Value { origin, key, problem };
        };
        let suggestion = closest(&unknown.name, &unknown.known);
        // the path ends with the unknown key itself, or names the table that holds it
        let full = if key == "." || key.is_empty() {
            unknown.name
        } else if key == unknown.name || key.ends_with(&format!(".{}", unknown.name)) {
            key
        } else {
            format!("{key}.{}", unknown.name)
        };
        SettingsError::UnknownKey { origin, key: full, suggestion, known: unknown.known }
    }
}

/// What serde says of an unknown field: "unknown field `x`, expected one of `a`, `b`".
struct UnknownField {
    name: String,
    known: Vec<String>,
}

impl UnknownField {
    fn read(problem: &str) -> Option<Self> {
        let mut quoted =
            problem.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2).map(str::to_owned);
        Some(Self { name: quoted.next()?, known: quoted.collect() })
    }
}

/// The known key that was probably meant: at most a third of the letters differ.
fn closest(name: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}

/// A variable's text: a list, a table, a number or a truth value where it plainly is one, else text.
fn environment_value(text: &str) -> Value {
    let trimmed = text.trim();
    let is_number =
        !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit() || b"+-._".contains(&b));
    let is_structured = trimmed.starts_with(['[', '{', '"']) || trimmed == "true" || trimmed == "false";
    if is_number || is_structured {
        // "1.2.3.4" looks like a number and is none
        if let Ok(mut table) = format!("value = {trimmed}").parse::<Table>()
            && let Some(value) = table.remove("value")
        {
            return value;
        }
    }
    Value::String(text.to_owned())
}

/// Sets a dotted key, making the tables on its way.
fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::SocketAddr;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Node {
        listen: SocketAddr,
        #[serde(default)]
        peers: Vec<String>,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        body_bytes: u64,
        name: String,
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn load(
        text: &str,
        environment: &[(&str, &str)],
        flags: Vec<(&str, Value)>,
    ) -> Result<Node, SettingsError> {
        let file = file(text);
        let environment =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Sources { component: "CCN", file: Some(file.path()), environment, flags }.load()
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file() {
        let text = "listen = \"127.0.0.1:1\"\n[limits]\nbody_bytes = 1\nname = \"file\"";
        let environment = [
            ("ALEPHD_CCN__LISTEN", "127.0.0.1:2"),
            ("ALEPHD_CCN__LIMITS__BODY_BYTES", "2"),
            ("ALEPHD_CCN__PEERS", "[\"a\", \"b\"]"),
            ("ALEPHD_CRN__LISTEN", "other"),
            ("ALEPHD_LOG", "debug"),
        ];
        let node = load(text, &environment, vec![("listen", Value::from("127.0.0.1:3"))]).expect("it loads");
        assert_eq!(node.listen.port(), 3);
        assert_eq!(node.peers, ["a", "b"]);
        assert_eq!(node.limits, Limits { body_bytes: 2, name: "file".into() });
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        let error = load("listen = \"127.0.0.1:1\"\nlisten_adress = 1", &[], vec![]).expect_err("unknown");
        assert!(error.to_string().contains("unknown key `listen_adress`"), "{error}");
        let text = "listen = \"127.0.0.1:1\"\n[limits]\nbody_byte = 1";
        let error = load(text, &[], vec![]).expect_err("unknown");
        let said = error.to_string();
        assert!(said.contains("`limits.body_byte`") && said.contains("did you mean `body_bytes`?"), "{said}");
        let error =
            load("listen = \"127.0.0.1:1\"", &[("ALEPHD_CCN__PEER", "[]")], vec![]).expect_err("unknown");
        assert!(error.to_string().contains("did you mean `peers`?"), "{error}");
    }

    #[test]
    fn a_key_like_nothing_known_lists_what_is_known() {
        let error = load("listen = \"127.0.0.1:1\"\nzzz = 1", &[], vec![]).expect_err("unknown");
        assert!(error.to_string().contains("known here: listen, peers, limits"), "{error}");
    }

    #[test]
    fn a_wrong_type_names_its_key() {
        let error = load("listen = 3", &[], vec![]).expect_err("no address");
        assert!(error.to_string().contains("`listen`"), "{error}");
        let error = load("listen = ", &[], vec![]).expect_err("no TOML");
        assert!(matches!(error, SettingsError::Syntax { .. }), "{error}");
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        assert_eq!(environment_value("127.0.0.1"), Value::from("127.0.0.1"));
        assert_eq!(environment_value("0xa1B3"), Value::from("0xa1B3"));
        assert_eq!(environment_value("42"), Value::from(42));
        assert_eq!(environment_value("true"), Value::from(true));
    }
}
