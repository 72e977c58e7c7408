//! Whom not to ask for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One that answered wrong is asked again after this time at first, and twice as long each time.
const WRONG_FOR: Duration = Duration::from_secs(30);
const WRONG_LONGEST: Duration = Duration::from_secs(3600);

/// Nodes whose wrongs are remembered.
const WRONGS: usize = 1024;

/// Who is not asked for now.
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    until: HashMap<String, (Instant, Duration)>,
}

impl LeftAlone {
    pub(super) fn is(&self, name: &str) -> bool {
        self.until.get(name).is_some_and(|(until, _)| *until > Instant::now())
    }

    /// After a wrong answer. Returns for how long.
    pub(super) fn longer(&mut self, name: &str) -> Duration {
        let last = self.until.get(name).map(|(_, time)| *time);
        let time = last.map_or(WRONG_FOR, |last| (last * 2).min(WRONG_LONGEST));
        self.set(name, time);
        time
    }

    pub(super) fn set(&mut self, name: &str, time: Duration) {
        if self.until.len() >= WRONGS && !self.until.contains_key(name) {
            let soonest = self.until.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(soonest) = soonest.map(|(name, _)| name.clone()) {
                self.until.remove(&soonest);
            }
        }
        self.until.insert(name.to_owned(), (Instant::now() + time, time));
    }

    pub(super) fn forgive(&mut self, name: &str) {
        self.until.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_wrong_is_left_alone_longer_each_time_and_forgiven() {
        let mut left_alone = LeftAlone::default();
        assert!(!left_alone.is("a"));
        assert_eq!(left_alone.longer("a"), WRONG_FOR);
        assert!(left_alone.is("a") && !left_alone.is("b"));
        assert_eq!(left_alone.longer("a"), WRONG_FOR * 2);
        for _ in 0..20 {
            left_alone.longer("a");
        }
        assert_eq!(left_alone.longer("a"), WRONG_LONGEST);
        left_alone.forgive("a");
        assert_eq!(left_alone.longer("a"), WRONG_FOR);
        for number in 0..2 * WRONGS {
            left_alone.longer(&number.to_string());
        }
        assert_eq!(left_alone.until.len(), WRONGS);
    }
}
