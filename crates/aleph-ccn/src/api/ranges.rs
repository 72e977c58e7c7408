//! The header `Range` (RFC 9110 §14).

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: no range, several ranges, or something that is none.
    Whole,
    /// From `start` to `end`, both included.
    Part { start: u64, end: u64 },
    /// Nothing that the file has.
    Beyond,
}

impl Asked {
    pub(super) fn read(text: &str, size: u64) -> Self {
        let Some(range) = text.trim().strip_prefix("bytes=") else { return Self::Whole };
        let Some((first, last)) = range.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| -> Option<u64> {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (number(first), number(last)) {
            (Some(start), Some(end)) if end < start => Self::Whole,
            (Some(start), _) if start >= size && (last.is_empty() || number(last).is_some()) => Self::Beyond,
            (Some(start), Some(end)) => Self::Part { start, end: end.min(size - 1) },
            (Some(start), None) if last.is_empty() => Self::Part { start, end: size - 1 },
            (None, Some(0)) if first.is_empty() => Self::Beyond,
            (None, Some(_)) if first.is_empty() && size == 0 => Self::Beyond,
            (None, Some(suffix)) if first.is_empty() => {
                Self::Part { start: size.saturating_sub(suffix), end: size - 1 }
            }
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-4", Asked::Part { start: 0, end: 4 }),
            ("bytes=5-", Asked::Part { start: 5, end: 9 }),
            ("bytes=5-500", Asked::Part { start: 5, end: 9 }),
            ("bytes=-3", Asked::Part { start: 7, end: 9 }),
            ("bytes=-30", Asked::Part { start: 0, end: 9 }),
            ("bytes=10-", Asked::Beyond),
            ("bytes=99999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=4-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("items=0-1", Asked::Whole),
        ] {
            assert_eq!(Asked::read(text, 10), expected, "{text}");
        }
        assert_eq!(Asked::read("bytes=0-", 0), Asked::Beyond);
        assert_eq!(Asked::read("bytes=-5", 0), Asked::Beyond);
    }
}
