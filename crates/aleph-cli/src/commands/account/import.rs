use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use aleph_sdk::Account;
use aleph_types::Chain;
use clap::Args;

use super::create::report;
use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Longest text of a key that is read.
const LONGEST_KEY: u64 = 4096;

/// Keep an existing secret key under a name
///
/// The key is read from stdin, so that it shows neither in the list of processes nor in the shell's
/// history; or from a file, with hexadecimal digits or the 32 bytes that the Python client writes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph account import me < key.txt
  aleph account import old --from-file ~/.aleph-im/private-keys/ethereum.key")]
pub(crate) struct Arguments {
    /// Name of the account on this machine
    name: String,
    /// File with the key
    #[arg(long, value_name = "PATH")]
    from_file: Option<PathBuf>,
    /// Chain under which messages are signed
    #[arg(long, value_name = "CODE", default_value = "ETH")]
    chain: Chain,
    /// Sign with it unless another is named
    #[arg(long)]
    default: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let bytes = match &arguments.from_file {
        Some(path) => fs::read(path).map_err(|error| CliError::file("read", path, &error))?,
        None => {
            if io::stdin().is_terminal() {
                let _ = write!(io::stderr(), "secret key (it will be seen as you type): ");
                let mut line = String::new();
                io::stdin().read_line(&mut line)?;
                line.into_bytes()
            } else {
                let mut bytes = Vec::new();
                io::stdin().lock().take(LONGEST_KEY).read_to_end(&mut bytes)?;
                bytes
            }
        }
    };
    let account = match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(raw) => Account::from_secret(arguments.chain, &raw)?,
        Err(_) => {
            let text = String::from_utf8(bytes)
                .map_err(|_| CliError::usage("the key is neither 32 bytes nor hexadecimal digits"))?;
            Account::from_hex(arguments.chain, &text)?
        }
    };
    let is_default = context.home.add(&arguments.name, &account, arguments.default)?;
    report(&arguments.name, &account, is_default, context)
}
