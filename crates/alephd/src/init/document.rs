//! The configuration of a private network's node, as a document that explains itself.

use std::fmt::Write as _;

use toml::Value;

use super::invitation::Invitation;
use super::place::Site;

/// The text of the configuration. `is_first`: the node began the network and dials nobody.
pub(crate) fn write(site: &Site, invitation: &Invitation, is_first: bool) -> String {
    let mut out = String::new();
    let name = &invitation.network.name;
    let begun = if is_first { "begun here" } else { "joined" };
    writeln!(
        out,
        "# A core node of the private network `{name}`, {begun} by `alephd init`.\n\
         #\n\
         #   start it                   alephd ccn --data-dir {folder}\n\
         #   see every value it uses    alephd config check ccn --config {folder}/config.toml\n\
         #   have another machine join  alephd init --show --data-dir {folder}\n\
         #\n\
         # Each key is also a variable: http.listen is ALEPHD_CCN__HTTP__LISTEN. A key that is not here has its\n\
         # default. What says \"same on every node\" decides what messages do: with another value this node comes\n\
         # to another state than the rest.",
        folder = site.data_dir.display()
    )
    .ok();
    let mut table = Document { out };
    table.begin("storage");
    table.key(
        "data_dir",
        &site.data_dir.display().to_string(),
        "Database, files, the keys and the address book of this node.",
    );
    table.begin("http");
    table.key("listen", &site.listen_http.to_string(), "Where the API is served.");
    table.key(
        "public_url",
        &site.url,
        "How other nodes and clients reach it. Announced: nodes fetch files and missed messages here.",
    );
    table.begin("p2p");
    table.key("listen", &site.listen_p2p, "Where gossip is taken.");
    table.key("announce", &site.multiaddress, "How other nodes reach it. Announced.");
    let peers: Vec<String> = if is_first { Vec::new() } else { vec![invitation.peer.to_string()] };
    table.list(
        "peers",
        &peers,
        "Nodes to dial, always: /ip4/ADDRESS/tcp/PORT/p2p/IDENTITY. Others are found by their announcements;\n\
         # two or three here keep the network together when one is gone for long.",
    );
    table.key(
        "topic",
        &invitation.network.topic(),
        "Same on every node: it is what makes this a network of its own.",
    );
    table.key("alive_topic", &invitation.network.alive_topic(), "Same on every node.");
    table.flag(
        "believe_everybody",
        true,
        "Whoever knows the topic is a member: believe its announcements. The network is separate, not secret;\n\
         # let a firewall decide who reaches the ports.",
    );
    table.begin("network");
    table.flag("private", true, "Not the public network.");
    let urls: Vec<String> = if is_first { Vec::new() } else { vec![invitation.http.clone()] };
    table.list("http_peers", &urls, "APIs to fetch from before announcements were heard.");
    let owner = &invitation.owner;
    table.key(
        "corechannel_address",
        owner,
        "Same on every node: the owner's address. It publishes the node list, the aggregate `corechannel`.",
    );
    let owners = std::slice::from_ref(owner);
    table.list("balance_publishers", owners, "Same on every node: whose posts `balances-update` count.");
    table.list(
        "credit_publishers",
        owners,
        "Same on every node: whose posts `aleph_credit_distribution` count.",
    );
    table.list(
        "metrics_publishers",
        owners,
        "Same on every node: whose posts `aleph-network-metrics` count.",
    );
    table.key(
        "price_publisher",
        owner,
        "Same on every node: whose aggregates `pricing` and `settings` count.",
    );
    table.flag(
        "charge",
        invitation.charge,
        "Same on every node: whether files and machines must be paid for. If true, nobody has anything until the\n\
         # owner publishes balances or credits.",
    );
    table.out
}

/// Lines of a TOML file.
struct Document {
    out: String,
}

impl Document {
    fn begin(&mut self, table: &str) {
        writeln!(self.out, "\n[{table}]").ok();
    }

    fn key(&mut self, key: &str, value: &str, why: &str) {
        self.line(key, &Value::from(value), why);
    }

    fn flag(&mut self, key: &str, value: bool, why: &str) {
        self.line(key, &Value::from(value), why);
    }

    fn list(&mut self, key: &str, values: &[String], why: &str) {
        self.line(key, &Value::from(values.to_vec()), why);
    }

    fn line(&mut self, key: &str, value: &Value, why: &str) {
        writeln!(self.out, "# {why}\n{key} = {value}").ok();
    }
}
