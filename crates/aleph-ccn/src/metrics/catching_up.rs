//! Where catching up with each other node stands.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The rate is that of this time.
const RATE_OVER: Duration = Duration::from_secs(10);

/// How often what is stored is noted for the rate.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Where catching up with each other node stands, by its base URL, or `/p2p/…` if it has none.
#[derive(Debug, Default)]
pub struct CatchingUp(Mutex<BTreeMap<String, PeerState>>);

/// Where catching up with one other node stands. What is counted is of the present comparison, or of the
/// last one.
#[derive(Debug, Clone, Default)]
pub struct PeerState {
    /// How it is asked: `libp2p` or `http`.
    pub via: &'static str,
    /// Whether the last comparison came to its end: what the other node had accepted then is here, but for
    /// messages that this node refuses.
    pub compared: bool,
    /// Whether it is of another kind, and can't be asked.
    pub foreign: bool,
    /// Messages that the other node has accepted.
    pub known: u64,
    /// Messages that were found lacking here; grows until the comparison is over.
    pub wanted: u64,
    /// Of those, how many came.
    pub fetched: u64,
    /// Of those, how many were verified and decided, whatever the decision.
    pub verified: u64,
    /// Of those, how many are stored.
    pub stored: u64,
    /// How many wait for a file, a content or another message.
    pub waiting: u64,
    /// How many this node refused.
    pub refused: u64,
    /// When the present comparison began.
    pub since: Option<Instant>,
    /// When the last one ended.
    pub until: Option<Instant>,
    /// When it last answered something useful.
    pub last_success: Option<Instant>,
    /// Why the last round failed.
    pub error: Option<String>,
    /// How many were decided at which time, lately.
    samples: VecDeque<(Instant, u64)>,
}

impl PeerState {
    /// Messages a second that are decided, over the last ten seconds; none if nothing is under way.
    pub fn rate(&self) -> Option<f64> {
        if self.until.is_some() {
            return None;
        }
        let now = Instant::now();
        let (since, before) = self
            .samples
            .iter()
            .find(|(at, _)| now.saturating_duration_since(*at) <= RATE_OVER)
            .copied()
            .or_else(|| self.samples.back().copied())?;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        (seconds > 0.1).then(|| (self.verified - before) as f64 / seconds)
    }

    /// Seconds until what is known to be lacking is here, at the present rate.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.wanted.saturating_sub(self.verified);
        self.rate().filter(|rate| *rate > 0.0 && left > 0).map(|rate| left as f64 / rate)
    }

    fn decided(&mut self, count: u64) {
        self.verified += count;
        self.answered();
        let now = Instant::now();
        if self.samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SAMPLE_EVERY) {
            self.samples.push_back((now, self.verified));
            while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > RATE_OVER) {
                self.samples.pop_front();
            }
        }
    }

    fn answered(&mut self) {
        (self.last_success, self.error) = (Some(Instant::now()), None);
    }
}

impl CatchingUp {
    fn with(&self, name: &str, change: impl FnOnce(&mut PeerState)) {
        let mut peers = self.0.lock();
        match peers.get_mut(name) {
            Some(state) => change(state),
            None => change(peers.entry(name.to_owned()).or_default()),
        }
    }

    /// Only these nodes are asked now.
    pub(crate) fn keep<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let names: HashSet<&str> = names.collect();
        self.0.lock().retain(|name, _| names.contains(name.as_str()));
    }

    /// A comparison begins with a node that says how much it has; whether the last one came to its end stays
    /// until this one finds something.
    pub(crate) fn begin(&self, name: &str, via: &'static str, known: u64) {
        self.with(name, |state| {
            let now = Instant::now();
            *state = PeerState {
                via,
                known,
                compared: state.compared,
                since: Some(now),
                last_success: Some(now),
                samples: [(now, 0)].into(),
                ..PeerState::default()
            };
        });
    }

    /// The other node has `wanted` more messages that are lacking here.
    pub(crate) fn wants(&self, name: &str, wanted: usize) {
        self.with(name, |state| {
            state.wanted += wanted as u64;
            state.answered();
            if wanted > 0 {
                state.compared = false;
            }
        });
    }

    /// That many of them came.
    pub(crate) fn fetched(&self, name: &str, count: usize) {
        self.with(name, |state| {
            state.fetched += count as u64;
            state.answered();
        });
    }

    /// That many of them are stored.
    pub(crate) fn got(&self, name: &str, count: u64) {
        self.with(name, |state| {
            state.stored += count;
            state.decided(count);
        });
    }

    /// One of them waits for something.
    pub(crate) fn waits(&self, name: &str) {
        self.with(name, |state| {
            state.waiting += 1;
            state.decided(1);
        });
    }

    /// One of them was refused.
    pub(crate) fn refused(&self, name: &str) {
        self.with(name, |state| {
            state.refused += 1;
            state.decided(1);
        });
    }

    /// That many of them had come another way.
    pub(crate) fn was_here(&self, name: &str, count: usize) {
        self.with(name, |state| state.decided(count as u64));
    }

    /// The comparison came to its end.
    pub(crate) fn compared(&self, name: &str) {
        self.with(name, |state| {
            state.compared = true;
            state.until = Some(Instant::now());
            state.answered();
        });
    }

    /// The node could not be read from.
    pub(crate) fn failed(&self, name: &str, error: String) {
        self.with(name, |state| {
            state.until = Some(Instant::now());
            state.error = Some(error);
        });
    }

    /// The node is of another kind.
    pub(crate) fn foreign(&self, name: &str) {
        self.with(name, |state| {
            state.until = Some(Instant::now());
            (state.foreign, state.error) = (true, None);
        });
    }

    /// All of them.
    pub fn peers(&self) -> BTreeMap<String, PeerState> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_counted_and_the_next_begins_anew() {
        let all = CatchingUp::default();
        all.begin("a", "libp2p", 100);
        all.wants("a", 10);
        all.fetched("a", 8);
        all.got("a", 4);
        all.waits("a");
        all.refused("a");
        all.was_here("a", 2);
        let state = all.peers().remove("a").unwrap();
        let PeerState { known, wanted, fetched, verified, stored, waiting, refused, .. } = state;
        assert_eq!((known, wanted, fetched, verified, stored, waiting, refused), (100, 10, 8, 8, 4, 1, 1));
        assert!(!state.compared && state.error.is_none());
        all.compared("a");
        all.begin("a", "http", 100);
        let state = all.peers().remove("a").unwrap();
        assert_eq!((state.via, state.compared, state.wanted, state.verified), ("http", true, 0, 0));
        all.failed("a", "gone".to_owned());
        assert!(all.peers()["a"].rate().is_none());
        all.keep(["b"].into_iter());
        assert!(all.peers().is_empty());
    }

    #[test]
    fn the_time_left_follows_from_the_rate() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let state =
            PeerState { wanted: 5000, verified: 1000, samples: [(ago(5), 0)].into(), ..PeerState::default() };
        let (rate, left) = (state.rate().unwrap(), state.seconds_left().unwrap());
        assert!((190.0..=200.0).contains(&rate) && (20.0..=21.5).contains(&left), "{rate} {left}");
    }
}
