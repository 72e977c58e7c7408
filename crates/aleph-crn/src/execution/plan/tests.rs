use aleph_types::ItemHash;
use serde_json::{Value, json};

use super::*;
use crate::network::messages::Program;

fn hash(n: u8) -> ItemHash {
    ItemHash::sha256(&[n])
}

/// A program message with `changes` laid over its content.
fn program(changes: Value) -> Program {
    let mut content = json!({
        "address": "0xA", "time": 1.0, "type": "vm-function", "allow_amend": false,
        "code": {"encoding": "zip", "entrypoint": "main:app", "ref": hash(1)},
        "runtime": {"ref": hash(2), "comment": "python"},
        "on": {"http": true}, "environment": {"internet": true}, "resources": {"seconds": 3},
        "variables": {"A": "1"},
    });
    for (key, value) in changes.as_object().unwrap() {
        content[key] = value.clone();
    }
    let text = content.to_string();
    let item_hash = ItemHash::sha256(text.as_bytes());
    let document = json!({
        "chain": "ETH", "sender": "0xA", "type": "PROGRAM", "time": 1.0, "item_type": "inline",
        "item_content": text, "item_hash": item_hash,
    });
    Program::from_document(&item_hash, document).unwrap()
}

fn host() -> HostRules {
    HostRules {
        boot: BootImages { kernel: "/k".into(), initramfs: "/i".into() },
        hypervisor: HypervisorSettings { acceleration: Acceleration::Tcg, ..HypervisorSettings::default() },
        templates: None,
        volumes_dir: "/volumes".into(),
        api: Some(ApiUpstream { host: "127.0.0.1".into(), port: 4024 }),
        init_timeout: Duration::from_secs(60),
    }
}

fn planned(changes: Value) -> Result<VmPlan, Failure> {
    plan(&program(changes), |part| Some(PathBuf::from(format!("/files/{part:?}"))), &host())
}

#[test]
fn a_small_program() {
    let plan = planned(json!({})).unwrap();
    assert_eq!(plan.code.path, PathBuf::from("/files/Code"));
    assert_eq!(plan.code.encoding, CodeEncoding::Zip);
    assert_eq!(plan.kind, aleph_vm::VmKind::Asgi { entrypoint: "main:app".into() });
    assert_eq!((plan.vcpus, plan.memory_mib), (1, 128));
    assert_eq!(plan.limits.request_ms, 15_000, "three seconds, five times that under emulation");
    assert_eq!(plan.hostname.as_ref().map(String::len), Some(52));
    assert_eq!(plan.environment["A"], "1");
    assert!(plan.network.internet && plan.network.api.is_some());
}

#[test]
fn little_memory_and_little_time_are_raised() {
    let plan = planned(json!({"resources": {"memory": 16}})).unwrap();
    assert_eq!(plan.memory_mib, MIN_MEMORY_MIB);
    assert_eq!(plan.limits.request_ms, 10_000, "the floor of emulated processors");
    let kvm = HostRules {
        hypervisor: HypervisorSettings { acceleration: Acceleration::Kvm, ..HypervisorSettings::default() },
        ..host()
    };
    assert_eq!(kvm.request_time(3), Duration::from_secs(3));
}

#[test]
fn executables_and_volumes() {
    let program = program(json!({
        "code": {"encoding": "squashfs", "entrypoint": "server", "args": ["-v"], "ref": hash(1)},
        "data": {"encoding": "squashfs", "mount": "/more", "ref": hash(3)},
        "volumes": [
            {"ref": hash(4), "mount": "/opt/venv"},
            {"ephemeral": true, "size_mib": 10, "mount": "/scratch"},
            {"persistence": "host", "name": "my data/1", "size_mib": 20},
        ],
    }));
    let needed: Vec<(Part, bool, bool)> = needs(&program, &Limits::default())
        .iter()
        .map(|need| (need.what, need.use_latest, need.inline))
        .collect();
    assert_eq!(
        needed,
        vec![
            (Part::Code, false, false),
            (Part::Runtime, true, false),
            (Part::Data, false, false),
            (Part::Volume(0), true, false),
        ]
    );
    let plan = plan(&program, |part| Some(PathBuf::from(format!("/files/{part:?}"))), &host()).unwrap();
    assert_eq!(plan.kind, aleph_vm::VmKind::Executable { command: "server".into(), args: vec!["-v".into()] });
    let volumes: Vec<(&str, &VolumeSource)> =
        plan.volumes.iter().map(|volume| (volume.mount.as_str(), &volume.source)).collect();
    let kept = PathBuf::from("/volumes").join(program.hash.as_str()).join("my_data_1.ext4");
    assert_eq!(
        volumes,
        vec![
            ("/more", &VolumeSource::Immutable { path: "/files/Data".into() }),
            ("/opt/venv", &VolumeSource::Immutable { path: "/files/Volume(0)".into() }),
            ("/scratch", &VolumeSource::Ephemeral { size_mib: 10 }),
            ("/mnt/my_data_1", &VolumeSource::Persistent { path: kept, size_mib: 20 }),
        ]
    );
}

#[test]
fn what_can_not_run_says_why() {
    for (changes, words) in [
        (json!({"resources": {"vcpus": 200}}), "virtual processors"),
        (json!({"data": {"encoding": "plain", "mount": "/d", "ref": hash(3)}}), "pack it as zip"),
        (json!({"volumes": [{"persistence": "store", "size_mib": 5, "mount": "/a"}]}), "use `host`"),
        (
            json!({"volumes": [{"persistence": "host", "size_mib": 5, "mount": "/a", "parent": {"ref": hash(9)}}]}),
            "parent",
        ),
        (
            json!({"volumes": [
                {"persistence": "host", "name": "a", "size_mib": 5, "mount": "/a"},
                {"persistence": "host", "name": "a", "size_mib": 5, "mount": "/b"},
            ]}),
            "same name",
        ),
        (json!({"volumes": [{"ref": hash(4), "mount": "/proc/x"}]}), "/proc"),
        (json!({"code": {"encoding": "zip", "entrypoint": "not valid:app", "ref": hash(1)}}), "entrypoint"),
    ] {
        let failure = planned(changes.clone()).unwrap_err();
        assert!(failure.to_string().contains(words), "{changes}: {failure}");
    }
}
