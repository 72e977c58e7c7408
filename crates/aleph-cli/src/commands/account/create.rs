use aleph_sdk::Account;
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::CliResult;

/// Make a new account with a random key
///
/// The key is kept in a file that only you can read. Keep a copy: nobody can restore it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph account create me
  aleph account create work --default")]
pub(crate) struct Arguments {
    /// Name of the account on this machine
    name: String,
    /// Sign with it unless another is named; the first account is the default anyway
    #[arg(long)]
    default: bool,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let account = Account::generate()?;
    let is_default = context.home.add(&arguments.name, &account, arguments.default)?;
    report(&arguments.name, &account, is_default, context)
}

/// What `create` and `import` show.
pub(super) fn report(name: &str, account: &Account, is_default: bool, context: &Context) -> CliResult {
    let key_file = context.home.key_path(name);
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "name": name,
            "address": account.address(),
            "chain": account.chain(),
            "default": is_default,
            "key_file": key_file,
        }));
    }
    out.pairs(&[
        ("account", out.bold(name)),
        ("address", account.address().to_string()),
        ("chain", account.chain().to_string()),
        ("key", key_file.display().to_string()),
    ])?;
    if is_default {
        out.note("it signs by default; copy the key file to a safe place");
    } else {
        out.note(format!("sign with it by --account {name}, or always: `aleph account use {name}`"));
    }
    Ok(())
}
