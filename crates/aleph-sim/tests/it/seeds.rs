use std::time::{Duration, Instant};

use aleph_sim::{Options, run};

/// New seeds are begun for so long; those that were begun are run to their end.
const TIME: Duration = Duration::from_secs(25);
/// At least so many, however slow the machine.
const LEAST: u64 = 4;

/// Every fourth network has fifty nodes, the others have fewer and more messages for each.
fn options(seed: u64) -> Options {
    if seed % 4 == 1 {
        Options::new(seed)
    } else {
        Options { nodes: 10 + (seed % 7) as usize, messages: 150, ..Options::new(seed) }
    }
}

/// `SEED=…` replays one; `ALEPH_SEEDS=…` runs that many, however long it takes.
#[test]
fn networks_come_to_one_state() {
    if let Ok(seed) = std::env::var("SEED") {
        let report = run(&options(seed.parse().unwrap())).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{report}");
        return;
    }
    let wanted: Option<u64> = std::env::var("ALEPH_SEEDS").ok().map(|text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    let begun = Instant::now();
    let done: u64 = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut count = 0;
                    for seed in (1 + thread..).step_by(threads as usize) {
                        let goes_on = match wanted {
                            Some(wanted) => seed <= wanted,
                            None => seed <= LEAST || begun.elapsed() < TIME,
                        };
                        if !goes_on {
                            break;
                        }
                        let report = run(&options(seed)).unwrap_or_else(|failure| panic!("{failure}"));
                        println!("{report}");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    println!("{done} networks in {:.0} s", begun.elapsed().as_secs_f64());
}

#[test]
fn a_seed_says_everything() {
    let options = Options { nodes: 12, messages: 60, ..Options::new(77) };
    let first = run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    let second = run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(first, second);
    let other = run(&Options { seed: 78, ..options }).unwrap_or_else(|failure| panic!("{failure}"));
    assert_ne!(first.trace, other.trace);
}
