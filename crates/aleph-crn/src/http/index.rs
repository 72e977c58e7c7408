//! The page that a person sees at the node's own address.

use axum::response::Html;

use crate::defaults::REFERENCE_VERSION;
use crate::node::Node;

/// A small page: what this is, what runs, where the data is.
pub(super) fn page(node: &Node) -> Html<String> {
    let domain = escaped(&node.config.domain_name);
    let running = node.executions.all().iter().filter(|execution| execution.view().is_running()).count();
    let hash = node.config.node_hash.as_ref().map_or_else(|| "not set".to_owned(), ToString::to_string);
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{domain} · Aleph Cloud compute node</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}\
         code{{overflow-wrap:anywhere}}</style>\
         <h1>Aleph Cloud compute node</h1>\
         <p><code>{domain}</code> runs programs of the Aleph Cloud network. {running} running now.</p>\
         <ul><li>Node hash: <code>{hash}</code>\
         <li>Multiaddress: <code>/dns4/{domain}/tcp/443/https</code>\
         <li>Version: alephd {version}, speaking the interface of aleph-vm {REFERENCE_VERSION}\
         <li><a href=/about/usage/system>usage</a> · <a href=/v2/about/executions/list>executions</a> · \
         <a href=/status/config>configuration</a></ul></html>",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
