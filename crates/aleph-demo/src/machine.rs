//! A program's machine, as its compute node tells of it.

use aleph_types::ItemHash;
use anyhow::{Context, Result};
use serde::Deserialize;

use crate::way::get;

/// The part `vm` of `GET /api/v1/executions/{hash}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Machine {
    /// where the machine's own supervisor answers
    pub(crate) direct_url: String,
    /// `cold`, `cold_then_template` or `template`
    pub(crate) mode: Option<String>,
    /// why it did not start from a template
    pub(crate) template_note: Option<String>,
    pub(crate) hypervisor_pid: Option<u32>,
}

impl Machine {
    /// Asks the compute node at `node`.
    ///
    /// # Errors
    /// When it does not answer, or the program has no machine there.
    pub(crate) async fn ask(node: &str, program: &ItemHash) -> Result<Self> {
        #[derive(Deserialize)]
        struct Execution {
            vm: Option<Machine>,
        }
        let text = get(&format!("{}/api/v1/executions/{program}", node.trim_end_matches('/'))).await?;
        let execution: Execution =
            serde_json::from_str(&text).context("a strange answer about the execution")?;
        execution.vm.with_context(|| format!("{node} has no machine of {program}"))
    }
}
