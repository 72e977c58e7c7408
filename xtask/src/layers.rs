//! Which crate may depend on which (`docs/adr`, DESIGN: pure core, thin shell).
//!
//! * A *core* crate decides and computes. Nothing of a shell or an app may be in its tree, and no
//!   runtime (tokio); its own sources touch neither files, nor the network, nor a clock.
//! * A *shell* crate does IO. It never depends on an app.
//! * An *app* assembles shells around the core. Apps never depend on each other: they speak HTTP.
//! * A *binary* may use anything. Nothing depends on a binary.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// What a crate of this workspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    Core,
    Shell,
    App,
    Binary,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Shell => "shell",
            Self::App => "app",
            Self::Binary => "binary",
        }
    }
}

/// Every crate of the workspace has its place; a new one must choose.
const PLACES: &[(&str, Layer)] = &[
    ("aleph-types", Layer::Core),
    ("aleph-crypto", Layer::Core),
    ("aleph-cid", Layer::Core),
    ("aleph-rules", Layer::Core),
    ("aleph-ledger", Layer::Core),
    ("aleph-placement", Layer::Core),
    ("aleph-hostile", Layer::Core),
    ("aleph-store", Layer::Shell),
    ("aleph-blobs", Layer::Shell),
    ("aleph-p2p", Layer::Shell),
    ("aleph-chains", Layer::Shell),
    ("aleph-http", Layer::Shell),
    ("aleph-vm", Layer::Shell),
    ("aleph-sdk", Layer::Shell),
    ("aleph-test-postgres", Layer::Shell),
    ("aleph-test-s3", Layer::Shell),
    ("aleph-test-weather", Layer::Shell),
    ("aleph-sim", Layer::Binary),
    ("aleph-ccn", Layer::App),
    ("aleph-crn", Layer::App),
    ("aleph-indexer", Layer::App),
    ("aleph-did", Layer::App),
    ("aleph-guest", Layer::Shell),
    ("aleph-cli", Layer::Binary),
    ("aleph-demo", Layer::Binary),
    ("alephd", Layer::Binary),
    ("bench", Layer::Binary),
    ("xtask", Layer::Binary),
];

/// Packages that bring a runtime or the network with them: never in a core crate's tree.
const NOT_IN_CORE: &[&str] = &["tokio", "mio", "async-std", "smol", "hyper", "reqwest", "rusqlite", "libp2p"];

/// What the sources of a core crate never say.
const NOT_IN_CORE_SOURCES: &[&str] =
    &["std::fs", "std::net", "SystemTime::now", "Instant::now", "std::env::var", "thread::sleep"];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    layer: Option<Layer>,
    uses: Vec<String>,
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.rows.iter().all(|row| row.faults.is_empty())
    }

    /// A row for each crate: layer, name, the crates of ours that it uses, and below it its faults.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let layer = row.layer.map_or("?", Layer::name);
            let uses = row.uses.join(" ");
            writeln!(out, " {layer:<7} {:<17} {uses}", row.name).ok();
            for fault in &row.faults {
                writeln!(out, "         ✗ {fault}").ok();
            }
        }
        let faults: usize = self.rows.iter().map(|row| row.faults.len()).sum();
        writeln!(out, "\n{} crates, {faults} faults", self.rows.len()).ok();
        out
    }
}

/// Reads `cargo metadata` and the core crates' sources.
pub(crate) fn check() -> Result<Report> {
    let text = process::cargo(["metadata", "--format-version", "1"]).read()?;
    let graph = Graph::parse(&serde_json::from_str(&text).context("cargo metadata is not JSON")?)?;
    let mut report = graph.judge();
    for row in &mut report.rows {
        if row.layer == Some(Layer::Core)
            && let Some(folder) = graph.folder(&row.name)
        {
            row.faults.extend(read_sources(&folder.join("src"))?);
        }
    }
    Ok(report)
}

/// Packages and the normal dependencies between them.
#[derive(Debug, Default)]
struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
    /// the workspace's own packages, by name
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    id: String,
    folder: PathBuf,
}

impl Graph {
    fn parse(metadata: &Value) -> Result<Self> {
        let mut graph = Self::default();
        let own: BTreeSet<&str> = array(metadata, "/workspace_members")?.filter_map(Value::as_str).collect();
        for package in array(metadata, "/packages")? {
            let id = text(package, "id")?;
            let name = text(package, "name")?;
            graph.names.insert(id.to_owned(), name.to_owned());
            if own.contains(id) {
                let manifest = Path::new(text(package, "manifest_path")?);
                let folder = manifest.parent().context("a manifest lies in a folder")?;
                let member = Member { id: id.to_owned(), folder: folder.to_path_buf() };
                graph.members.insert(name.to_owned(), member);
            }
        }
        for node in array(metadata, "/resolve/nodes")? {
            let mut used = Vec::new();
            for dependency in array(node, "/deps")? {
                let is_normal = array(dependency, "/dep_kinds")?.any(|kind| kind["kind"].is_null());
                if is_normal {
                    used.push(text(dependency, "pkg")?.to_owned());
                }
            }
            graph.edges.insert(text(node, "id")?.to_owned(), used);
        }
        Ok(graph)
    }

    fn folder(&self, member: &str) -> Option<&Path> {
        self.members.get(member).map(|member| member.folder.as_path())
    }

    fn judge(&self) -> Report {
        let mut rows: Vec<Row> = self.members.keys().map(|name| self.judge_member(name)).collect();
        rows.sort_by(|a, b| (a.layer, &a.name).cmp(&(b.layer, &b.name)));
        Report { rows }
    }

    fn judge_member(&self, name: &str) -> Row {
        let layer = layer_of(name);
        let mut faults = Vec::new();
        if layer.is_none() {
            faults.push("this crate has no layer: give it one in xtask/src/layers.rs".to_owned());
        }
        let paths = self.paths_from(name);
        for (reached, path) in &paths {
            if let Some(reason) = layer.and_then(|own| refusal(own, reached)) {
                faults.push(format!("{reason}: {}", path.join(" → ")));
            }
        }
        let uses = paths
            .iter()
            .filter(|(reached, path)| path.len() == 2 && self.members.contains_key(**reached))
            .map(|(reached, _)| reached.trim_start_matches("aleph-").to_owned())
            .collect();
        Row { name: name.to_owned(), layer, uses, faults }
    }

    /// Every package that `name` reaches through normal dependencies, with a shortest way to it.
    fn paths_from(&self, name: &str) -> BTreeMap<&str, Vec<&str>> {
        let Some((name, member)) = self.members.get_key_value(name) else { return BTreeMap::new() };
        let mut seen = BTreeSet::from([member.id.as_str()]);
        let mut queue = VecDeque::from([(member.id.as_str(), vec![name.as_str()])]);
        let mut paths = BTreeMap::new();
        while let Some((id, path)) = queue.pop_front() {
            for next in self.edges.get(id).into_iter().flatten() {
                let Some(next_name) = self.names.get(next) else { continue };
                if !seen.insert(next) {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(next_name);
                paths.entry(next_name.as_str()).or_insert_with(|| longer.clone());
                queue.push_back((next, longer));
            }
        }
        paths
    }
}

fn layer_of(name: &str) -> Option<Layer> {
    PLACES.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Why a crate of layer `own` may not reach the package `reached`; none if it may.
fn refusal(own: Layer, reached: &str) -> Option<&'static str> {
    let reached_layer = layer_of(reached);
    match (own, reached_layer) {
        (Layer::Core, Some(Layer::Shell | Layer::App | Layer::Binary)) => {
            Some("a core crate depends on core crates only")
        }
        (Layer::Core, None) if NOT_IN_CORE.contains(&reached) => Some("a core crate does no IO"),
        (Layer::Shell, Some(Layer::App)) => Some("a shell crate knows no app"),
        (Layer::App, Some(Layer::App)) => Some("apps speak HTTP to each other"),
        (_, Some(Layer::Binary)) => Some("nothing depends on a binary"),
        _ => None,
    }
}

fn read_sources(folder: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                let file = path.strip_prefix(crate::places::root()).unwrap_or(&path).display().to_string();
                faults.extend(impure_lines(&source).into_iter().map(|(line, what)| {
                    format!("a core crate takes facts, it does not fetch them: `{what}` at {file}:{line}")
                }));
            }
        }
    }
    faults.sort();
    Ok(faults)
}

/// Lines (from 1) of a core source that reach for the outside; tests at the file's end and
/// comments are free.
fn impure_lines(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for what in NOT_IN_CORE_SOURCES.iter().copied() {
            if code.contains(what) || is_grouped_import(code, what) {
                found.push((index + 1, what));
            }
        }
    }
    found
}

/// `use std::{fs, net}` says `std::fs` too.
fn is_grouped_import(code: &str, what: &str) -> bool {
    let Some(module) = what.strip_prefix("std::") else { return false };
    let Some(group) = code.trim_start().strip_prefix("use std::{") else { return false };
    group
        .split([',', '}', '{'])
        .map(str::trim)
        .any(|item| item == module || item.starts_with(&format!("{module}::")))
}

fn array<'a>(value: &'a Value, pointer: &str) -> Result<impl Iterator<Item = &'a Value>> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    Ok(list.with_context(|| format!("cargo metadata has no list at {pointer}"))?.iter())
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no text at {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package and its dependencies, each with its kind (none for a normal one).
    type Edge<'a> = (&'a str, &'a [(&'a str, Option<&'a str>)]);

    /// A made-up workspace.
    fn graph(members: &[&str], edges: &[Edge<'_>]) -> Graph {
        let mut names: BTreeSet<&str> = members.iter().copied().collect();
        for (from, to) in edges {
            names.insert(from);
            names.extend(to.iter().map(|(name, _)| *name));
        }
        let packages: Vec<Value> = names
            .iter()
            .map(|name| serde_json::json!({"id": format!("{name}#1"), "name": name, "manifest_path": format!("/w/{name}/Cargo.toml")}))
            .collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| {
                let used = edges.iter().filter(|(from, _)| from == name).flat_map(|(_, to)| to.iter());
                let deps: Vec<Value> = used
                    .map(|(to, kind)| serde_json::json!({"pkg": format!("{to}#1"), "dep_kinds": [{"kind": kind}]}))
                    .collect();
                serde_json::json!({"id": format!("{name}#1"), "deps": deps})
            })
            .collect();
        let own: Vec<String> = members.iter().map(|name| format!("{name}#1")).collect();
        let metadata =
            serde_json::json!({"workspace_members": own, "packages": packages, "resolve": {"nodes": nodes}});
        Graph::parse(&metadata).expect("the metadata is well formed")
    }

    fn faults(graph: &Graph) -> Vec<String> {
        graph.judge().rows.into_iter().flat_map(|row| row.faults).collect()
    }

    #[test]
    fn a_clean_workspace_has_no_faults() {
        let graph = graph(
            &["aleph-types", "aleph-rules", "aleph-store", "aleph-ccn", "alephd"],
            &[
                ("aleph-rules", &[("aleph-types", None), ("serde", None)]),
                ("aleph-store", &[("aleph-types", None), ("tokio", None)]),
                ("aleph-ccn", &[("aleph-store", None), ("aleph-rules", None)]),
                ("alephd", &[("aleph-ccn", None)]),
            ],
        );
        assert_eq!(faults(&graph), Vec::<String>::new());
        assert!(graph.judge().table().contains("5 crates, 0 faults"));
    }

    #[test]
    fn a_runtime_deep_in_a_core_crate_is_named_with_its_path() {
        let graph = graph(
            &["aleph-rules", "aleph-types"],
            &[
                ("aleph-rules", &[("aleph-types", None)]),
                ("aleph-types", &[("deep", None)]),
                ("deep", &[("tokio", None)]),
            ],
        );
        let faults = faults(&graph);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults.iter().any(|f| f.contains("aleph-rules → aleph-types → deep → tokio")), "{faults:?}");
    }

    #[test]
    fn dev_dependencies_are_free() {
        let graph = graph(
            &["aleph-rules", "aleph-store"],
            &[("aleph-rules", &[("tokio", Some("dev")), ("aleph-store", Some("dev"))])],
        );
        assert_eq!(faults(&graph), Vec::<String>::new());
    }

    #[test]
    fn apps_do_not_know_each_other() {
        let graph = graph(&["aleph-ccn", "aleph-crn"], &[("aleph-ccn", &[("aleph-crn", None)])]);
        assert_eq!(faults(&graph), ["apps speak HTTP to each other: aleph-ccn → aleph-crn"]);
    }

    #[test]
    fn a_core_crate_on_a_shell_crate_is_refused() {
        let graph = graph(&["aleph-types", "aleph-blobs"], &[("aleph-types", &[("aleph-blobs", None)])]);
        assert_eq!(faults(&graph), ["a core crate depends on core crates only: aleph-types → aleph-blobs"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_a_fault() {
        let graph = graph(&["aleph-new"], &[]);
        assert_eq!(faults(&graph).len(), 1);
    }

    #[test]
    fn sources_that_fetch_are_found() {
        let source = "use std::collections::BTreeMap;\nuse std::{fs, io};\n// std::net is fine here\nlet now = SystemTime::now();\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(impure_lines(source), [(2, "std::fs"), (4, "SystemTime::now")]);
    }
}
