//! Sources one after another, and beside each other when one brings nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;

/// When a source brought something last. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something came.
    pub(super) fn tick(&self) {
        *self.0.lock() = Instant::now();
    }

    /// How long nothing came.
    pub(super) fn idle(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

/// A source in its turn.
pub(super) struct Stage<'a, T> {
    pub(super) name: &'static str,
    /// None when it does not have it; it has told why.
    pub(super) run: BoxFuture<'a, Option<T>>,
    pub(super) progress: Progress,
}

/// What the first source brings that has it, and which one that is.
///
/// The next source starts when those before have failed, or when none of them brought anything for
/// `patience`. They run beside each other then: whoever is slow may be the only one that has it.
pub(super) async fn race<T>(stages: Vec<Stage<'_, T>>, patience: Duration) -> Option<(&'static str, T)> {
    let mut waiting = stages.into_iter();
    let mut running = FuturesUnordered::new();
    let mut watched: Vec<Progress> = Vec::new();
    loop {
        if running.is_empty() || watched.iter().all(|progress| progress.idle() >= patience) {
            match waiting.next() {
                Some(stage) => {
                    stage.progress.tick();
                    watched.push(stage.progress);
                    let (name, run) = (stage.name, stage.run);
                    running.push(async move { (name, run.await) });
                }
                None if running.is_empty() => return None,
                None => {}
            }
        }
        let idle = watched.iter().map(Progress::idle).min().unwrap_or_default();
        let pause =
            if waiting.len() == 0 { Duration::from_secs(3600) } else { patience.saturating_sub(idle) };
        tokio::select! {
            Some((name, result)) = running.next() => {
                if let Some(result) = result {
                    return Some((name, result));
                }
            }
            () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn stage(
        name: &'static str,
        run: impl Future<Output = Option<u8>> + Send + 'static,
    ) -> Stage<'static, u8> {
        Stage { name, run: run.boxed(), progress: Progress::new() }
    }

    #[tokio::test]
    async fn the_next_one_starts_when_the_first_has_it_not_or_brings_nothing() {
        let never = || stage("never", std::future::pending());
        assert_eq!(
            race(vec![stage("no", async { None }), stage("yes", async { Some(1) })], PATIENCE).await,
            Some(("yes", 1))
        );
        assert_eq!(race(vec![never(), stage("yes", async { Some(1) })], PATIENCE).await, Some(("yes", 1)));
        assert_eq!(race(vec![stage("no", async { None })], PATIENCE).await, None);
        assert_eq!(race::<u8>(Vec::new(), PATIENCE).await, None);
        let slow = async {
            tokio::time::sleep(PATIENCE * 3).await;
            Some(2)
        };
        let slow_wins = race(vec![stage("slow", slow), stage("no", async { None }), never()], PATIENCE).await;
        assert_eq!(slow_wins, Some(("slow", 2)), "it went on beside the others");
    }

    #[tokio::test]
    async fn nobody_else_is_asked_while_something_comes() {
        let progress = Progress::new();
        let ticking = {
            let progress = progress.clone();
            async move {
                for _ in 0..8 {
                    tokio::time::sleep(PATIENCE / 4).await;
                    progress.tick();
                }
                Some(1)
            }
        };
        let first = Stage { name: "first", run: ticking.boxed(), progress };
        let other = stage("other", async { Some(2) });
        // A machine that stalls for long may start the other one: then this is said too often, not wrong.
        assert!(race(vec![first, other], Duration::from_secs(30)).await == Some(("first", 1)));
    }
}
