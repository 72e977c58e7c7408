//! `payg_split.json`: the community's share.

use aleph_ledger::{Amount, StreamShares};

use crate::vectors;

#[test]
fn recorded_splits() {
    let Some(file) = vectors::read("payg_split.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let text = |key: &str| Amount::parse(case[key].as_str().unwrap()).unwrap();
        let shares = StreamShares::of(text("required_flow")).unwrap();
        assert_eq!(shares.node, text("required_crn"), "{case}");
        assert_eq!(shares.community, text("required_community"), "{case}");
    }
    println!("payg_split.json: {} cases agree", cases.len());
    assert!(!cases.is_empty());
}
