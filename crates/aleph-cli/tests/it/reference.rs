use std::path::Path;

/// `docs/cli.md` is what the binary says about itself. `BLESS=1` writes it anew.
#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let home = tempfile::tempdir().unwrap();
    let written = super::run(home.path(), &["reference"]).expect(0).stdout;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == written,
        "docs/cli.md is not what the command line does; `BLESS=1 cargo test -p aleph-cli reference` writes it anew"
    );
}
