//! Threads that compute beside the writer, and give way to it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::PipelineError;

/// How much nicer the threads are that work beside the writer: of a busy core they get a third of what it gets.
#[cfg(target_os = "linux")]
const GIVES_WAY: i32 = 5;

/// Has the calling thread give way to the writer, which everything waits for: there is only one.
pub(super) fn give_way() {
    // Elsewhere this is the whole process's to have. Where the system refuses, all are equal.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(GIVES_WAY);
}

/// The threads that check signatures, and read what comes in bulk: as many as there are cores, however much there
/// is to do.
#[derive(Debug, Clone)]
pub(crate) struct Computing {
    pool: Arc<rayon::ThreadPool>,
}

impl Computing {
    /// Starts the threads; 0 takes one a core.
    pub(super) fn start(threads: usize) -> Result<Self, PipelineError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("verify-{index}"))
            .start_handler(|_| give_way())
            // Who waits for what panicked learns it; the words were printed where it happened.
            .panic_handler(|_| ())
            .build()
            .map_err(|error| PipelineError::unavailable(format!("no verify threads: {error}")))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// For work that is divided among the threads by who waits for all of it.
    pub(super) fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Computes something on one of the threads.
    ///
    /// # Errors
    /// [`PipelineError::Stopped`] where it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PipelineError> {
        let (done, result) = oneshot::channel();
        // Who does not wait any more needs no result.
        self.pool.spawn(move || drop(done.send(work())));
        result.await.map_err(|_| PipelineError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_is_told_and_the_next_is_computed() {
        let computing = Computing::start(1).expect("starts");
        let panicked = computing.run(|| -> u8 { panic!("as a bug would") }).await;
        assert!(matches!(panicked, Err(PipelineError::Stopped)));
        assert_eq!(computing.run(|| 6 * 7).await.expect("computed"), 42);
    }
}
