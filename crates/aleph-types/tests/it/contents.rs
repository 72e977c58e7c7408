use aleph_types::content::Content;
use aleph_types::{FormatError, Loc};
use serde_json::Value;

use crate::vectors;

/// Where this node refuses at the schema what the reference refuses right after it with the same code, or
/// can't process at all (`spec: messages.md §§15, 29`).
const REFUSED_EARLIER: &[(&str, &str)] = &[
    ("AGGREGATE", "key object"),
    ("STORE", "item_type inline passes the schema (fails at processing)"),
    ("STORE", "type/hash mismatch passes the schema (fails at processing)"),
];

/// First parts of the places that were found wrong.
fn places(error: &FormatError) -> Vec<String> {
    match error {
        FormatError::Text(_) => vec![String::new()],
        FormatError::Issues(issues) => issues
            .iter()
            .map(|issue| match issue.loc.first() {
                Some(Loc::Key(key)) => key.clone(),
                _ => String::new(),
            })
            .collect(),
    }
}

#[test]
fn contents_are_judged_as_by_the_network() {
    let Some(folder) = vectors::folder("messages") else { return };
    let cases = vectors::read(&folder.join("content_validation.json"));
    let (mut ran, mut known, mut elsewhere) = (0, 0, 0);
    let mut disagreements = Vec::new();
    for case in cases.as_array().unwrap() {
        let (kind, note) = (case["type"].as_str().unwrap(), case["note"].as_str().unwrap());
        let judged = Content::parse_value(kind.parse().unwrap(), case["content"].clone());
        ran += 1;
        if REFUSED_EARLIER.contains(&(kind, note)) {
            assert!(judged.is_err(), "{kind}: {note}");
            known += 1;
            continue;
        }
        if judged.is_ok() != case["valid"].as_bool().unwrap() {
            disagreements.push(format!("{kind}: {note}: {judged:?}"));
            continue;
        }
        let Err(error) = judged else { continue };
        // Our rules over several fields may name the field where the reference names the object, and the
        // other way round: the first part of the place is enough, and "" fits everywhere.
        let expected: Vec<&str> = case["error_paths"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap().split('.').next().unwrap())
            .collect();
        let found = places(&error);
        if !found
            .iter()
            .any(|place| place.is_empty() || expected.contains(&"") || expected.contains(&&**place))
        {
            println!("{kind}: {note}: expected {expected:?}, found {found:?}");
            elsewhere += 1;
        }
    }
    println!("contents: {ran} ran, {known} refused earlier, {elsewhere} name another place");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

#[test]
fn a_program_is_coerced_and_names_its_files() {
    let document: Value = serde_json::json!({
        "address": "0xA", "time": "1", "allow_amend": "false", "type": "vm-function",
        "environment": {"internet": "yes"}, "resources": {"vcpus": "2", "memory": 256.0},
        "code": {"encoding": "plain", "entrypoint": "run", "ref": "a".repeat(64)},
        "runtime": {"ref": "b".repeat(64), "comment": ""},
        "data": {"encoding": "zip", "mount": "/data", "ref": "c".repeat(64), "use_latest": null},
        "on": {"http": 1},
        "volumes": [
            {"ref": "d".repeat(64)},
            {"size_mib": 10},
            {"size_mib": 5000},
            {"size_mib": 10, "persistence": null},
            {"size_mib": 9, "parent": {"ref": "e".repeat(64), "use_latest": false}},
        ],
    });
    let Content::Program(program) =
        Content::parse_value(aleph_types::MessageType::Program, document).unwrap()
    else {
        panic!("a program was read")
    };
    use aleph_types::content::{Interface, VolumeKind};
    assert_eq!((program.base.resources.vcpus, program.base.resources.memory_mib), (2, 256));
    assert!(program.environment.flags().internet && program.on.http && !program.on.is_persistent());
    assert_eq!(program.code.interface(), Interface::Binary);
    let references: Vec<(String, bool)> =
        program.references().map(|(hash, latest)| (hash.as_str()[..1].to_owned(), latest)).collect();
    let expected = [("a", false), ("b", true), ("c", false), ("d", true), ("e", false)];
    assert_eq!(references, expected.map(|(letter, latest)| (letter.to_owned(), latest)));
    let kinds: Vec<bool> = program
        .base
        .volumes
        .iter()
        .map(|volume| matches!(volume.kind, VolumeKind::Ephemeral { .. }))
        .collect();
    assert_eq!(kinds, [false, true, false, false, false]);
}

#[test]
fn details_that_no_recording_shows() {
    use aleph_types::MessageType::{Instance, VProgram};
    let hash = "a".repeat(64);
    let instance = serde_json::json!({
        "address": "0xA", "time": 1, "allow_amend": false, "resources": {},
        "environment": {"hypervisor": "qemu", "trusted_execution": {"mode": "sev"}},
        "rootfs": {"parent": {"ref": hash}, "persistence": "host", "size_mib": 1},
    });
    let with = |pointer: &str, key: &str, value: Value| {
        let mut document = instance.clone();
        document.pointer_mut(pointer).unwrap()[key] = value;
        Content::parse_value(Instance, document).is_ok()
    };
    assert!(with("/environment/trusted_execution", "measurements", Value::Null));
    assert!(!with("/environment/trusted_execution", "measurements", serde_json::json!([])));
    assert!(with("/rootfs", "forgotten_by", serde_json::json!(["x"])));
    assert!(!with("/rootfs", "forgotten_by", serde_json::json!([1])));

    let v_program = serde_json::json!({
        "address": "0xA", "time": 1, "allow_amend": false, "payment": {"type": "credit", "extra": 1},
        "environment": {}, "resources": {"extra": 1}, "runtime": {"ref": hash},
        "workload": {"ref": hash, "hash_tree": hash, "roothash": hash},
        "verification": {"backend": "sev_snp", "measurements": [
            {"platform": "sev_snp", "registers": {"launch": "ab".repeat(48)}},
        ]},
    });
    assert!(Content::parse_value(VProgram, v_program).is_ok());
}
