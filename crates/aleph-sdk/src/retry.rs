use std::time::Duration;

/// How often and how patiently a request is repeated when the network, not the request, is at fault.
///
/// Repeated are: no connection, a connection that broke, and the statuses 429, 502, 503 and 504. Every
/// request of this library may be repeated: messages are identified by their hash, so that a second copy of
/// one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts in all, the first included; 1 means no retry.
    pub attempts: u32,
    /// Pause before the second attempt; doubles each time, with a random part of up to one half.
    pub first_pause: Duration,
    /// The longest pause, also when a node asks for more by `Retry-After`.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts within about two seconds of pauses: bridges a node's restart, doesn't hide an outage.
    fn default() -> Self {
        Self { attempts: 4, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// Each request is sent once.
    pub const NEVER: RetryPolicy =
        RetryPolicy { attempts: 1, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };

    /// The pause after failed attempt number `attempt` (the first is 1), or `None` to give up.
    ///
    /// `asked` is what the node asked for by `Retry-After`; `random` lies in 0..=255.
    pub(crate) fn pause_after(&self, attempt: u32, asked: Option<Duration>, random: u8) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        if let Some(asked) = asked {
            return Some(asked.min(self.longest_pause));
        }
        let doubled = self.first_pause.saturating_mul(1u32 << (attempt - 1).min(16));
        let full = doubled.min(self.longest_pause);
        Some(full / 2 + full.mul_f64(f64::from(random) / 510.0))
    }
}

/// A byte for jitter; a broken random source only costs the jitter.
pub(crate) fn random_byte() -> u8 {
    let mut byte = [128u8];
    match getrandom::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 128,
    }
}

/// `Retry-After` in seconds; the date form is not used by nodes.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded() {
        let policy = RetryPolicy {
            attempts: 6,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(500),
        };
        assert_eq!(policy.pause_after(1, None, 255), Some(Duration::from_millis(100)));
        assert_eq!(policy.pause_after(1, None, 0), Some(Duration::from_millis(50)));
        assert_eq!(policy.pause_after(2, None, 255), Some(Duration::from_millis(200)));
        assert_eq!(policy.pause_after(5, None, 255), Some(Duration::from_millis(500)));
        assert_eq!(policy.pause_after(6, None, 0), None);
        assert_eq!(policy.pause_after(1, Some(Duration::from_secs(9)), 0), Some(Duration::from_millis(500)));
        assert_eq!(RetryPolicy::NEVER.pause_after(1, None, 0), None);
    }
}
