//! The prices while the network has published none (`spec: payments.md §2`).

use serde_json::{Map, Value, json};

fn general_tiers() -> Value {
    let sizes = [1, 2, 4, 6, 8, 12];
    let tiers = sizes
        .iter()
        .enumerate()
        .map(|(place, size)| json!({"id": format!("tier-{}", place + 1), "compute_units": size}));
    tiers.collect()
}

fn gpu_tiers(cards: &[(&str, u32, u32)]) -> Value {
    let tiers = cards.iter().enumerate().map(|(place, (model, vram, size))| {
        json!({"id": format!("tier-{}", place + 1), "compute_units": size, "model": model, "vram": vram})
    });
    tiers.collect()
}

fn unit(memory_mib: u32, disk_mib: u32) -> Value {
    json!({"vcpus": 1, "disk_mib": disk_mib, "memory_mib": memory_mib})
}

/// The built-in price aggregate, in the network's form.
pub fn default_prices() -> Map<String, Value> {
    const MIB: &str = "0.000000977";
    const MIB_CREDIT: &str = "0.17967489030626108";
    let file = json!({"holding": "0.333333333", "credit": MIB_CREDIT});
    let program_disk = json!({"payg": MIB, "holding": "0.05", "credit": "0.977"});
    let machine_disk = json!({"payg": MIB, "holding": "0.05", "credit": MIB_CREDIT});
    let gpu_disk = json!({"payg": MIB, "credit": MIB_CREDIT});
    let machine = |disk: &Value, payg: &str, holding: &str, credit: &str, unit: Value, tiers: Value| {
        json!({
            "price": {
                "storage": disk,
                "compute_unit": {"payg": payg, "holding": holding, "credit": credit},
            },
            "tiers": tiers,
            "compute_unit": unit,
        })
    };
    let standard = gpu_tiers(&[
        ("RTX 4000 ADA", 20_480, 3),
        ("RTX 3090", 24_576, 4),
        ("RTX 4090", 24_576, 6),
        ("L40S", 49_152, 12),
    ]);
    let premium = gpu_tiers(&[("A100", 81_920, 16), ("H100", 81_920, 24)]);
    let entries = [
        ("storage", json!({"price": {"storage": file}})),
        ("web3_hosting", json!({"price": {"fixed": 50, "storage": file}})),
        ("program", machine(&program_disk, "0.011", "200", "11000", unit(2048, 2048), general_tiers())),
        (
            "program_persistent",
            machine(&program_disk, "0.055", "1000", "55000", unit(2048, 20_480), general_tiers()),
        ),
        ("instance", machine(&machine_disk, "0.055", "1000", "14250", unit(2048, 20_480), general_tiers())),
        (
            "instance_confidential",
            machine(&machine_disk, "0.11", "2000", "28500", unit(2048, 20_480), general_tiers()),
        ),
        ("instance_gpu_standard", machine(&gpu_disk, "0.28", "280", "43125", unit(6144, 61_440), standard)),
        ("instance_gpu_premium", machine(&gpu_disk, "0.56", "560", "86250", unit(6144, 61_440), premium)),
    ];
    entries.into_iter().map(|(key, entry)| (key.to_owned(), entry)).collect()
}
