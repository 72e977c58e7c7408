//! Five core nodes with delay, loss, cuts and kills between them: short forms of `bench weather`.

use std::path::Path;
use std::time::Duration;

use aleph_test_weather::{Conditions, Load, Options, Town, possible};

use crate::harness::install_tls;

/// A town, unless this machine can't make weather.
async fn town(seed: u64) -> Option<Town> {
    install_tls();
    if let Err(missing) = possible() {
        eprintln!("SKIPPED, nothing was tested: weather can't be made on this machine: {missing}");
        return None;
    }
    let conditions = Conditions { seed, ..Conditions::default() };
    let program = Path::new(env!("CARGO_BIN_EXE_alephd"));
    Some(Town::start(program, Options { conditions, ..Options::default() }).await.expect("a town"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_every_node_once() {
    let Some(mut town) = town(1).await else { return };
    let calm = town.calm(Load { per_second: 100, seconds: 10 }).await.expect("every message everywhere");
    println!("100 messages/s: {calm}");
    assert!(calm.messages >= 500, "{calm}");
    // far above what is promised of a release build on a quiet machine
    assert!(calm.p99 < Duration::from_secs(30), "{calm}");
    let (_, lost, _) = town.sky().packets();
    assert!(lost > 0, "the weather lost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_network_comes_to_one_state() {
    let Some(mut town) = town(2).await else { return };
    let recovery = town.cut(&[0, 0, 1, 1, 1], Load { per_second: 50, seconds: 40 }).await.expect("one state");
    println!("2+3 for 40 s: {recovery}");
    // Half of it is enough, whatever was under way on them.
    assert_eq!(recovery.unnoticed, 0, "{recovery}");
    let (.., cut) = town.sky().packets();
    assert!(cut > 0, "nothing was cut");
    // the mended network works as before
    let calm = town.calm(Load { per_second: 50, seconds: 3 }).await.expect("every message everywhere");
    println!("afterwards: {calm}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_nodes_come_to_one_state() {
    let Some(mut town) = town(3).await else { return };
    let recovery = town.kills(Load { per_second: 50, seconds: 30 }).await.expect("one state");
    println!("kills for 30 s: {recovery}");
    assert!(recovery.kills >= 4, "{recovery}");
}
