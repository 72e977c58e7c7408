//! `alephd init` and `alephd join`: a private network from nothing, in two commands.
//!
//! Both leave a folder that is a node: its keys, and a configuration that explains itself. The first
//! node's command prints a join string, the second one's takes it. Nothing else is shared: what the
//! network knows travels as messages.

mod document;
mod invitation;
mod place;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use aleph_p2p::{KeyType, NodeKey};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::keys;
use crate::settings::Sources;
use invitation::{Invitation, NetworkName};
use place::{CONFIG_FILE, Place, Site};

pub(crate) use place::config_in;

/// File of the owner's key in the folder of the first node.
const OWNER_KEY: &str = "owner.key";

const INIT_EXAMPLES: &str = "\
Examples:
  alephd init --private                                  a network of its own; prints a join string
  alephd init --private --name lab --address 203.0.113.7
  alephd init --show                                     prints the join string of this folder's network
  alephd init --join alephnet1… --run                    takes part in it and starts at once

Then `alephd ccn` runs the node.";

const JOIN_EXAMPLES: &str = "\
Examples:
  alephd join alephnet1…                 makes this folder a node of the network
  alephd join alephnet1… --run           and starts it
  alephd join alephnet1… --data-dir /var/lib/alephd --address node2.example.org";

/// Begin a private network, or make this machine a node of one
#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
#[group(id = "what", required = true, multiple = false, args = ["private", "join", "show"])]
pub(crate) struct InitArgs {
    /// Begin a network: makes keys, a configuration and a join string for others
    #[arg(long)]
    private: bool,
    /// Take part in the network of a join string, as `alephd join` does
    #[arg(long, value_name = "STRING")]
    join: Option<String>,
    /// Print the join string of the network that the node in the folder belongs to
    #[arg(long, conflicts_with = "run")]
    show: bool,
    /// Name of the new network, for people: a-z, 0-9 and -
    #[arg(long, default_value = "private", conflicts_with_all = ["join", "show"])]
    name: String,
    /// In the new network files and machines must be paid for; the owner publishes who has what
    #[arg(long, conflicts_with_all = ["join", "show"])]
    charge: bool,
    #[command(flatten)]
    then: Then,
}

/// Take part in a private network
#[derive(Debug, Args)]
#[command(after_help = JOIN_EXAMPLES)]
pub(crate) struct JoinArgs {
    /// The join string that `alephd init` printed on a machine of the network
    string: String,
    #[command(flatten)]
    then: Then,
}

#[derive(Debug, Args)]
struct Then {
    #[command(flatten)]
    place: Place,
    /// Run the node when it is set up
    #[arg(long)]
    run: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Sets a node up; with the configuration to run, if that was asked for.
///
/// # Errors
/// When the string is none, the folder is a node already or can't be written; the error says what to do.
pub(crate) fn init(args: InitArgs) -> Result<Option<PathBuf>> {
    if args.show {
        return show(&args.then).map(|()| None);
    }
    match args.join {
        Some(string) => join(JoinArgs { string, then: args.then }),
        None => begin(&args.name, args.charge, &args.then),
    }
}

/// As [`init`], for a network that exists.
///
/// # Errors
/// As there.
pub(crate) fn join(args: JoinArgs) -> Result<Option<PathBuf>> {
    let invitation: Invitation = args.string.parse()?;
    let site = args.then.place.prepare()?;
    let key = node_key(&site)?;
    if invitation.peer.peer_id() == Some(key.peer_id()) {
        bail!(
            "this join string names this node itself: it is for other machines. `alephd ccn --data-dir {}` runs it",
            site.data_dir.display()
        );
    }
    if site.url == invitation.http {
        bail!(
            "the inviting node is at {} already; give this one another --http-port and --p2p-port",
            invitation.http
        );
    }
    let config = save(&site, &invitation, false)?;
    let trouble = place::reach(&invitation.http).err();
    if args.then.json {
        let told = json!({
            "network": invitation.network.name, "config": config, "data_dir": site.data_dir,
            "peer_id": key.peer_id().to_string(), "url": site.url, "owner": invitation.owner,
            "charge": invitation.charge, "invited_by": invitation.http, "reachable": trouble.is_none(),
        });
        println!("{told}");
    } else {
        println!("this machine is a node of the network `{}`", invitation.network.name);
        lines(&site, &config, &key);
        if let Some(trouble) = trouble {
            println!(
                "\nnote: {} does not answer now ({trouble}). The node goes on trying; see that its machine runs \
                 `alephd ccn` and lets its ports through",
                invitation.http
            );
        }
        next(&site, args.then.run);
    }
    Ok(args.then.run.then_some(config))
}

fn begin(name: &str, charge: bool, then: &Then) -> Result<Option<PathBuf>> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).context("this machine gives no random bytes")?;
    let network = NetworkName::new(name, id)?;
    let site = then.place.prepare()?;
    let key = node_key(&site)?;
    let owner_key = site.data_dir.join(OWNER_KEY);
    let owner = keys::load_or_generate(&owner_key)?;
    let invitation = Invitation {
        network,
        owner: owner.address().to_string(),
        charge,
        peer: format!("{}/p2p/{}", site.multiaddress, key.peer_id()).parse()?,
        http: site.url.clone(),
    };
    let config = save(&site, &invitation, true)?;
    if then.json {
        let told = json!({
            "network": invitation.network.name, "join": invitation.to_string(), "config": config,
            "data_dir": site.data_dir, "peer_id": key.peer_id().to_string(), "url": site.url,
            "owner": invitation.owner, "owner_key": owner_key, "charge": charge,
        });
        println!("{told}");
    } else {
        println!("the private network `{}` begins here", invitation.network.name);
        lines(&site, &config, &key);
        println!("owner          {} (its key: {}; keep a copy)", invitation.owner, owner_key.display());
        println!("\nother machines join with\n\n  alephd join {invitation}");
        next(&site, then.run);
    }
    Ok(then.run.then_some(config))
}

fn lines(site: &Site, config: &Path, key: &NodeKey) {
    println!("configuration  {}", config.display());
    println!("API            {}", site.url);
    println!("gossip         {}/p2p/{}", site.multiaddress, key.peer_id());
    if let Some(remark) = site.host.remark() {
        println!("               note: {remark}");
    }
}

fn next(site: &Site, runs: bool) {
    if !runs {
        println!("\nnext: alephd ccn --data-dir {}", site.data_dir.display());
    }
}

/// Prints how others join the network of a node, with this node as their first peer.
fn show(then: &Then) -> Result<()> {
    let folder = &then.place.data_dir;
    let path = config_in(folder).with_context(|| {
        format!(
            "{} holds no {CONFIG_FILE}: name the node's folder with --data-dir, or begin a network with \
             `alephd init --private`",
            folder.display()
        )
    })?;
    let config: aleph_ccn::Config = Sources::new("CCN", Some(&path)).load()?;
    let invitation =
        invitation_of(&config).with_context(|| format!("{} gives no join string", path.display()))?;
    if then.json {
        println!("{}", json!({ "network": invitation.network.name, "join": invitation.to_string() }));
    } else {
        println!("{invitation}");
    }
    Ok(())
}

/// What a node's configuration invites to.
fn invitation_of(config: &aleph_ccn::Config) -> Result<Invitation> {
    let network = NetworkName::of_topic(&config.p2p.topic)
        .filter(|network| network.alive_topic() == config.p2p.alive_topic && config.network.private)
        .context("its network was not begun by `alephd init --private`")?;
    let owner = config.network.corechannel_address.clone();
    let publishers = [
        &config.network.balance_publishers,
        &config.network.credit_publishers,
        &config.network.metrics_publishers,
    ];
    if publishers.iter().any(|list| ***list != [owner.clone()]) || config.network.price_publisher != owner {
        bail!("it names other publishers than the owner; copy the table [network] by hand");
    }
    let announced = config.p2p.announce.as_ref().context("p2p.announce is not set: others can't dial it")?;
    let url = config.http.public_url.as_ref().context("http.public_url is not set: others can't reach it")?;
    let key = NodeKey::load(&config.storage.data_dir.join(&config.p2p.key_file))?;
    let invitation = Invitation {
        network,
        owner,
        charge: config.network.charge,
        peer: format!("{announced}/p2p/{}", key.peer_id()).parse()?,
        http: url.trim_end_matches('/').to_owned(),
    };
    // what was edited by hand may not fit
    let read: Invitation = invitation.to_string().parse()?;
    anyhow::ensure!(read == invitation, "its values can't be told in a join string");
    Ok(invitation)
}

fn node_key(site: &Site) -> Result<NodeKey> {
    let path = site.data_dir.join(aleph_ccn::Config::default().p2p.key_file);
    Ok(NodeKey::load_or_generate(&path, KeyType::Ed25519)?)
}

/// Writes the configuration, last of all files: a folder with one is a node.
fn save(site: &Site, invitation: &Invitation, is_first: bool) -> Result<PathBuf> {
    let text = document::write(site, invitation, is_first);
    let path = site.data_dir.join(CONFIG_FILE);
    let failed = || format!("can't write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(&site.data_dir).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    // what can't be loaded is never left behind
    Sources { component: "CCN", file: Some(file.path()), environment: Vec::new(), flags: Vec::new() }
        .load::<aleph_ccn::Config>()?;
    file.persist_noclobber(&path).with_context(failed)?;
    Ok(path)
}
