//! The reference in `docs/cli.md`, written from the same definitions that parse the command line.

use std::fmt::Write;

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliResult;

const INTRODUCTION: &str = "\
# `aleph`: reference

Written by `aleph reference` from the definitions that parse the command line; a test compares the two.
`BLESS=1 cargo test -p aleph-cli reference` writes it anew.

Results go to stdout: text for people, or JSON with `--json`, which is stable. Notes, questions and progress
go to stderr, progress only when somebody watches it. Errors read `error: …`, `caused by: …`, `hint: …`; with
`--json` they are an object `{\"error\": {\"kind\", \"message\", \"causes\", \"hints\", …}}` on stderr.
`ALEPH_LOG=debug` shows what happens underneath.

| Exit code | Meaning |
|---|---|
| 0 | done |
| 1 | the network refused it, or something broke; `program call`: the program answered with an HTTP error |
| 2 | the command was used wrongly |
| 3 | a node could not be reached or did not answer in time |
| 4 | what was asked for does not exist |
| 130 | ended by Ctrl-C |

Keys and settings are in `$ALEPH_HOME`, else `$XDG_CONFIG_HOME/aleph`, else `~/.config/aleph`: `config.toml`,
`accounts.toml`, `keys/NAME.key` (readable by their owner only). A devnet is found by
`.alephd/devnet/devnet.json` in this folder or one above it, or by `ALEPH_DEVNET`.

| Environment | Meaning |
|---|---|
| `ALEPH_NODE` | as `--node` |
| `ALEPH_ACCOUNT` | as `--account` |
| `ALEPH_PRIVATE_KEY` | secret key that signs, in hexadecimal, when no account is named |
| `ALEPH_HOME` | folder of keys and settings |
| `ALEPH_DEVNET` | state folder of a devnet, or its `devnet.json` |
| `ALEPH_LOG` | what the library logs to stderr, as in `debug` |
| `NO_COLOR` | no colours |
";

/// Print this reference as Markdown
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments, context: &Context) -> CliResult {
    context.out.bytes(markdown().as_bytes())
}

fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut root = Cli::command().term_width(100);
    root.build();
    section(&mut text, &root, 2);
    text
}

/// A command's help, then those of its subcommands.
fn section(text: &mut String, command: &clap::Command, level: usize) {
    // A writer into a String can't fail.
    let path = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    // Options of every command are told once, with the first.
    let once = level > 2;
    let shown = command.clone().mut_args(|argument| {
        let common = argument.is_global_set() || matches!(argument.get_id().as_str(), "help" | "version");
        if once && common { argument.hide(true) } else { argument }
    });
    let help = shown.term_width(100).render_long_help().to_string();
    let _ = write!(text, "\n{} `{path}`\n\n```text\n", "#".repeat(level));
    for line in help.trim_end().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        section(text, sub, (level + 1).min(4));
    }
}
