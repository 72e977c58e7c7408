//! What every command needs: the node, the account, the output.

use std::io::{self, BufRead, IsTerminal, Write};

use aleph_sdk::{Account, Client};
use aleph_types::{Address, Chain};

use crate::cli::Global;
use crate::devnet::Devnet;
use crate::error::{CliError, CliResult};
use crate::home::{Config, Home, no_account};
use crate::output::Output;

/// The settings and helpers of this run.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    pub(crate) out: Output,
    pub(crate) home: Home,
    pub(crate) config: Config,
    pub(crate) devnet: Option<Devnet>,
}

impl Context {
    pub(crate) fn new(global: Global) -> CliResult<Self> {
        let home = Home::find()?;
        let config = home.config()?;
        Ok(Self { out: Output::new(global.json), global, config, home, devnet: Devnet::find() })
    }

    /// The address of the core node, and where it came from.
    pub(crate) fn node(&self) -> CliResult<(String, &'static str)> {
        if let Some(node) = &self.global.node {
            return Ok((node.clone(), "--node"));
        }
        if let Some(node) = &self.config.node {
            return Ok((node.clone(), "config"));
        }
        if let Some(devnet) = &self.devnet {
            return Ok((devnet.node().to_owned(), "devnet"));
        }
        Err(CliError::usage("no core node is chosen")
            .hint("for a network of your own: run `alephd devnet` in this folder, or a folder above it")
            .hint("for the public network: `aleph config set node https://api2.aleph.im`"))
    }

    /// A client of the core node.
    pub(crate) fn client(&self) -> CliResult<Client> {
        let (node, source) = self.node()?;
        if source == "devnet" && self.out.lively {
            self.out.note(format!("using the devnet's {node}"));
        }
        Ok(Client::new(&node)?)
    }

    /// The devnet, when the chosen node belongs to it.
    pub(crate) fn devnet_in_use(&self) -> Option<&Devnet> {
        let (node, _) = self.node().ok()?;
        self.devnet.as_ref().filter(|devnet| devnet.has_node(&node))
    }

    /// The account that signs.
    pub(crate) fn account(&self) -> CliResult<Account> {
        match &self.global.private_key {
            // A named account is the more explicit wish.
            Some(key) if self.global.account.is_none() => Ok(Account::from_hex(Chain::Eth, key)?),
            _ => self.named_account(self.global.account.as_deref()),
        }
    }

    /// The account called `name`, or the default one.
    pub(crate) fn named_account(&self, name: Option<&str>) -> CliResult<Account> {
        let accounts = self.home.accounts()?;
        let funded = self.funded_account();
        let Some(name) = name.or(accounts.default.as_deref()).or(funded) else {
            return Err(CliError::usage("no account is chosen")
                .hint("make one: `aleph account create me`; or import a key: `aleph account import me`"));
        };
        if funded == Some(name) && self.out.lively {
            self.out.note(format!("signing as the devnet's {name}"));
        }
        if let Some(entry) = accounts.find(name) {
            return self.home.unlock(entry);
        }
        match self.devnet.as_ref().map(|devnet| devnet.account(name)).transpose()?.flatten() {
            Some(account) => Ok(account),
            None => Err(no_account(name, &accounts)),
        }
    }

    /// On a devnet somebody can always sign: its first funded account, while no other is chosen.
    fn funded_account(&self) -> Option<&str> {
        Some(self.devnet_in_use()?.accounts().first()?.name.as_str())
    }

    /// The address whose data is shown: what was given, be it an address or an account's name, else the
    /// chosen account's.
    pub(crate) fn address(&self, given: Option<&str>) -> CliResult<Address> {
        let accounts = self.home.accounts()?;
        let known = |name: &str| -> Option<Address> {
            let own = accounts.find(name).map(|entry| entry.address.clone());
            own.or_else(|| {
                let funded = self.devnet.as_ref()?.accounts().iter().find(|funded| funded.name == name)?;
                Some(Address::from(funded.address.as_str()))
            })
        };
        if let Some(text) = given {
            return Ok(known(text).unwrap_or_else(|| Address::from(text)));
        }
        if let Some(key) = self.global.private_key.as_ref().filter(|_| self.global.account.is_none()) {
            return Ok(Account::from_hex(Chain::Eth, key)?.address().clone());
        }
        let chosen = self.global.account.as_deref().or(accounts.default.as_deref());
        match chosen.or(self.funded_account()) {
            Some(name) => known(name).ok_or_else(|| no_account(name, &accounts)),
            None => Err(CliError::usage("no address is given and no account is chosen")
                .hint("name one with --address, or make an account: `aleph account create me`")),
        }
    }

    /// Asks before something is destroyed.
    pub(crate) fn confirm(&self, question: &str) -> CliResult {
        if self.global.yes {
            return Ok(());
        }
        if self.global.json || !io::stdin().is_terminal() {
            return Err(
                CliError::usage("this needs a confirmation").hint("add --yes to go on without a question")
            );
        }
        let _ = write!(io::stderr(), "{question} [y/N] ");
        let _ = io::stderr().flush();
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(CliError::failure("nothing was done"))
    }
}
