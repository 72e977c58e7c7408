use std::path::PathBuf;

/// Why weather can't be made, or what did not hold in it.
#[derive(Debug, thiserror::Error)]
pub enum WeatherError {
    /// A command that makes namespaces or nodes failed.
    #[error("`{command}` failed: {told}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        told: String,
    },
    /// The system refused something.
    #[error("{what}")]
    System {
        /// What was wanted.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A node ended or does not answer.
    #[error("node {node} {what}; its log is {}, and ends with:\n{log_end}", log.display())]
    Node {
        /// Its number.
        node: usize,
        /// What is wrong with it.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        log_end: String,
    },
    /// A request failed.
    #[error("node {node} can't be asked for {path}")]
    Request {
        /// Its number.
        node: usize,
        /// What was asked for.
        path: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// What must hold does not.
    #[error("{0}")]
    Broken(String),
}

impl WeatherError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}
