//! What the test runner and the conformance script say of their counts.

/// How many cases passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// A check without cases of its own: one case.
    pub(crate) fn single(success: bool) -> Self {
        Self { passed: u64::from(success), failed: u64::from(!success) }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// What was printed says: nextest's `N tests run: N passed, N failed` (the last one; failing
    /// tests may print summaries of their own), else the sum of rustdoc's
    /// `test result: ok. N passed; N failed` and our scripts' `N passed, N failed`. None when there
    /// is none.
    pub(crate) fn read(printed: &str) -> Option<Self> {
        if let Some(line) = printed.lines().rev().find(|line| is_nextest_summary(line)) {
            return Some(Self::of_line(line));
        }
        let summaries = printed.lines().filter(|line| is_summary(line));
        summaries.fold(None, |sum, line| {
            let mut sum: Self = sum.unwrap_or_default();
            sum.add(Self::of_line(line));
            Some(sum)
        })
    }

    fn of_line(line: &str) -> Self {
        let failed = ["failed", "timed out", "exec failed"].map(|word| number_before(line, word));
        Self { passed: number_before(line, "passed"), failed: failed.iter().sum() }
    }
}

fn is_nextest_summary(line: &str) -> bool {
    line.contains("tests run:") || line.contains("test run:")
}

fn is_summary(line: &str) -> bool {
    let line = line.trim();
    let script = line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" passed, ");
    script || line.starts_with("test result:")
}

/// The number that stands before `word`: `12 passed`, `3 timed out`; 0 when there is none.
fn number_before(line: &str, word: &str) -> u64 {
    let pieces = line.split([',', ';', ':', '.', '(']);
    pieces
        .filter_map(|piece| piece.trim().split_once(' '))
        .filter(|(_, rest)| rest.trim_end() == word)
        .find_map(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_read() {
        let printed = "     Summary [   1.204s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped\n";
        assert_eq!(Counts::read(printed), Some(Counts { passed: 11, failed: 1 }));
        let printed = "Summary [ 0.1s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(Counts::read(printed), Some(Counts { passed: 1, failed: 0 }));
        let printed = "Summary [ 0.1s] 2/5 tests run: 1 passed, 1 timed out, 0 skipped";
        assert_eq!(Counts::read(printed), Some(Counts { passed: 1, failed: 1 }));
    }

    #[test]
    fn what_a_failing_test_prints_is_not_counted_again() {
        let printed = "    test result: FAILED. 0 passed; 1 failed; 0 ignored\nSummary [ 2s] 5 tests run: 4 passed, 1 failed, 0 skipped\n    test result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        assert_eq!(Counts::read(printed), Some(Counts { passed: 4, failed: 1 }));
    }

    #[test]
    fn doctests_add_up() {
        let printed = "test result: ok. 2 passed; 0 failed; 1 ignored\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        assert_eq!(Counts::read(printed), Some(Counts { passed: 2, failed: 1 }));
    }

    #[test]
    fn scripts_are_read() {
        assert_eq!(Counts::read("ok a post\n7 passed, 2 failed\n"), Some(Counts { passed: 7, failed: 2 }));
        assert_eq!(Counts::read("nothing here"), None);
    }
}
