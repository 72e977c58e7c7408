//! `/about/…`: what runs here and how much there is (`spec: crn-api.md §4`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::respond::error;
use crate::address::{Ipv6Pool, VmKind, guest_of, ipv4_network_of};
use crate::execution::handle::Execution;
use crate::execution::machine::State as Phase;
use crate::execution::view::View;
use crate::host::HostFacts;
use crate::node::Node;
use crate::time::{iso, now_ms, spaced};

/// 401, always: scoring measures the latency of exactly this answer (`spec: crn-api.md §3.1`). The cookie
/// that the right token would give opens nothing here.
pub(super) async fn login() -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({"success": false}))).into_response()
}

/// No confidential computing yet.
pub(super) async fn certificates() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "Confidential computing setting not enabled on that server")
}

/// Version 1: VMs that run, with their networks.
pub(super) async fn executions_v1(State(node): State<Arc<Node>>) -> Response {
    let mut list = Map::new();
    for execution in node.executions.all() {
        let view = execution.view();
        let (true, Some(network)) = (view.is_running(), Network::of(&node, &execution, &view)) else {
            continue;
        };
        list.insert(
            execution.hash.to_string(),
            json!({
                "networking": {"ipv4": network.ipv4_network, "ipv6": network.ipv6_network},
                "vm_type": kind_of(&view).as_str(),
                "awaiting_confidential_init": false,
            }),
        );
    }
    Json(Value::Object(list)).into_response()
}

/// Version 2: every program that runs, is allocated, or ran, with the times of its life.
pub(super) async fn executions_v2(State(node): State<Arc<Node>>) -> Response {
    let mut list = Map::new();
    for execution in node.executions.all() {
        let view = execution.view();
        let networking =
            Network::of(&node, &execution, &view).map_or_else(|| json!({}), |network| network.json());
        let stages = &view.stages;
        let time = |at: Option<u64>| at.map(spaced);
        list.insert(
            execution.hash.to_string(),
            json!({
                "networking": networking,
                "status": {
                    "defined_at": time(stages.defined),
                    "preparing_at": time(stages.preparing),
                    "prepared_at": time(stages.images_fetched),
                    "starting_at": time(stages.starting),
                    "started_at": time(stages.guest_ready),
                    "stopping_at": time(stages.stopping),
                    "stopped_at": time(stages.stopped),
                },
                "running": view.is_running(),
                "awaiting_confidential_init": false,
                "vm_type": kind_of(&view).as_str(),
                // Beyond the reference: an allocated program is listed before its first request.
                "allocated": view.allocated,
                "state": view.state.as_str(),
            }),
        );
    }
    Json(Value::Object(list)).into_response()
}

fn kind_of(view: &View) -> VmKind {
    if view.persistent { VmKind::PersistentProgram } else { VmKind::Program }
}

/// What clients are told about a VM's network.
struct Network {
    ipv4_network: String,
    ipv4_ip: String,
    ipv6_network: String,
    ipv6_ip: String,
    host_port: u16,
}

impl Network {
    fn of(node: &Node, execution: &Execution, view: &View) -> Option<Self> {
        if matches!(view.state, Phase::Idle | Phase::Failed { .. }) {
            return None;
        }
        let vm = view.vm.as_ref()?;
        let ipv4 = ipv4_network_of(vm.vm_id)?;
        let ipv6 =
            Ipv6Pool::parse(&node.config.ipv6_address_pool)?.network_of(kind_of(view), &execution.hash)?;
        Some(Self {
            ipv4_network: format!("{ipv4}/24"),
            ipv4_ip: std::net::Ipv4Addr::from(u32::from(ipv4) + 2).to_string(),
            ipv6_network: format!("{ipv6}/124"),
            ipv6_ip: guest_of(ipv6).to_string(),
            host_port: vm.http.port(),
        })
    }

    /// Programs have no network card here: their one port is the supervisor's on this host
    /// (`spec: crn.md §8.1` item 4).
    fn json(&self) -> Value {
        json!({
            "ipv4_network": self.ipv4_network,
            "host_ipv4": "127.0.0.1",
            "ipv6_network": self.ipv6_network,
            "ipv6_ip": self.ipv6_ip,
            "ipv4_ip": self.ipv4_ip,
            "mapped_ports": {"8080": {"host": self.host_port, "tcp": true, "udp": false}},
        })
    }
}

/// What the host has and how much is free; `kB` are 1000 bytes.
pub(super) async fn usage(State(node): State<Arc<Node>>) -> Response {
    let facts = match facts_of(&node).await {
        Ok(facts) => facts,
        Err(response) => return response,
    };
    let [load1, load5, load15] = facts.load;
    let minute = now_ms() / 60_000 * 60_000;
    Json(json!({
        "cpu": {
            "count": facts.cores,
            "load_average": {"load1": load1, "load5": load5, "load15": load15},
            "core_frequencies": facts.frequency,
        },
        "mem": {"total_kB": facts.memory_total.div_ceil(1000), "available_kB": facts.memory_available / 1000},
        "disk": {"total_kB": facts.disk_total.div_ceil(1000), "available_kB": facts.disk_available / 1000},
        "period": {"start_timestamp": iso(minute), "duration_seconds": 60.0},
        "properties": {"cpu": {"architecture": facts.architecture, "vendor": facts.vendor, "features": []}},
        "gpu": {"devices": [], "available_devices": []},
        "active": true,
    }))
    .into_response()
}

/// What the host is.
pub(super) async fn capability(State(node): State<Arc<Node>>) -> Response {
    let facts = match facts_of(&node).await {
        Ok(facts) => facts,
        Err(response) => return response,
    };
    Json(json!({
        "cpu": {
            "architecture": facts.architecture,
            "vendor": facts.vendor,
            "features": [],
            "model": facts.model,
            "frequency": (facts.frequency.max * 1e6) as u64,
            "count": facts.cores.to_string(),
        },
        "memory": {"size": facts.memory_total.to_string(), "units": "bytes", "type": null, "clock": null, "clock_units": null},
    }))
    .into_response()
}

async fn facts_of(node: &Arc<Node>) -> Result<HostFacts, Response> {
    let disk = node.config.state_dir.clone();
    tokio::task::spawn_blocking(move || HostFacts::read(&disk)).await.map_err(|cause| {
        error(StatusCode::INTERNAL_SERVER_ERROR, format!("host facts can't be read: {cause}"))
    })
}
