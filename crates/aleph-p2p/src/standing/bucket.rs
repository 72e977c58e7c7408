use std::time::{Duration, Instant};

/// How much may come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// In the long run.
    pub(crate) per_second: f64,
    /// At once.
    pub(crate) burst: f64,
}

/// How much of a rate was used lately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    used: f64,
    at: Instant,
}

impl Bucket {
    /// Nothing was used.
    pub(crate) fn full(now: Instant) -> Self {
        Self { used: 0.0, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.used = (self.used - passed * rate.per_second).max(0.0);
        self.at = self.at.max(now);
    }

    /// Uses `cost` if that much is left.
    pub(crate) fn take(&mut self, rate: Rate, cost: f64, now: Instant) -> bool {
        self.refill(rate, now);
        let fits = self.used + cost <= rate.burst;
        if fits {
            self.used += cost;
        }
        fits
    }

    /// Uses `cost` in any case; says how long it takes until the debt is paid.
    pub(crate) fn spend(&mut self, rate: Rate, cost: f64, now: Instant) -> Duration {
        self.refill(rate, now);
        self.used += cost;
        Duration::try_from_secs_f64((self.used - rate.burst) / rate.per_second).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 20.0 };

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!((0..100).filter(|_| bucket.take(RATE, 1.0, start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(RATE, 1.0, later)).count(), 5);
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| bucket.take(RATE, 1.0, rested)).count(), 20);
    }

    #[test]
    fn debts_are_paid_in_time() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.spend(RATE, 20.0, start), Duration::ZERO);
        assert_eq!(bucket.spend(RATE, 10.0, start), Duration::from_secs(1));
        assert_eq!(bucket.spend(RATE, 1.0, start + Duration::from_secs(4)), Duration::ZERO);
    }
}
