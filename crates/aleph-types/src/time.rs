use std::fmt;

/// An instant: microseconds since the Unix epoch, as the network stores times (`spec: messages.md §5`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// A number of seconds outside the range of [`Timestamp`], or not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time is not a number of seconds within the years 1 to 9999")]
pub struct TimestampError;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: the range of the reference's times.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_MICROS: i64 = 253_402_300_799_999_999;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// From seconds, rounded half to even to the microsecond, as the reference does.
    pub fn from_secs_f64(seconds: f64) -> Result<Self, TimestampError> {
        if !seconds.is_finite() {
            return Err(TimestampError);
        }
        // The reference splits the whole part off first, which keeps the fraction exact.
        let whole = seconds.trunc();
        if !(-1e12..=1e12).contains(&whole) {
            return Err(TimestampError);
        }
        let fraction = ((seconds - whole) * 1e6).round_ties_even();
        let micros = whole as i64 * 1_000_000 + fraction as i64;
        if (FIRST_MICROS..=LAST_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(TimestampError) }
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, as APIs show them.
    pub fn as_secs_f64(self) -> f64 {
        // Both operands are exact, so the quotient is the double nearest to the decimal form.
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        if self.0.unsigned_abs() <= EXACT {
            return self.0 as f64 / 1e6;
        }
        // Beyond the year 2255.
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, micros) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        format!("{sign}{whole}.{micros:06}").parse().unwrap_or(self.0 as f64 / 1e6)
    }

    /// This instant moved by `micros`.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    fn write_iso(self, f: &mut fmt::Formatter<'_>, zone: &str) -> fmt::Result {
        let seconds = self.0.div_euclid(1_000_000);
        let micros = self.0.rem_euclid(1_000_000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str(zone)
    }

    /// ISO 8601 ending in `Z`, with six fraction digits only when they are not zero.
    pub fn iso_z(self) -> impl fmt::Display {
        struct Iso(Timestamp);
        impl fmt::Display for Iso {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_iso(f, "Z")
            }
        }
        Iso(self)
    }

    /// ISO 8601 ending in `+00:00`, with six fraction digits only when they are not zero.
    pub fn iso_offset(self) -> impl fmt::Display {
        struct Iso(Timestamp);
        impl fmt::Display for Iso {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write_iso(f, "+00:00")
            }
        }
        Iso(self)
    }
}

/// Days since 1970-01-01 to (year, month, day) of the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Howard Hinnant's days-from-civil algorithm, inverted; eras are 400 years of 146097 days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl serde::Serialize for Timestamp {
    /// As seconds.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_microseconds_half_to_even() {
        assert_eq!(Timestamp::from_secs_f64(1714564800.25).unwrap().as_micros(), 1_714_564_800_250_000);
        assert_eq!(Timestamp::from_secs_f64(-1.5).unwrap().as_micros(), -1_500_000);
        assert_eq!(Timestamp::from_secs_f64(0.000_000_5).unwrap().as_micros(), 0);
        assert!(Timestamp::from_secs_f64(f64::NAN).is_err());
        assert!(Timestamp::from_secs_f64(1e18).is_err());
    }

    #[test]
    fn iso_forms() {
        let time = Timestamp::from_micros(1_714_564_800_250_000);
        assert_eq!(time.iso_offset().to_string(), "2024-05-01T12:00:00.250000+00:00");
        assert_eq!(Timestamp::from_secs(1_714_564_800).iso_z().to_string(), "2024-05-01T12:00:00Z");
        assert_eq!(Timestamp::from_secs(-1).iso_z().to_string(), "1969-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_secs(951_782_400).iso_z().to_string(), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn seconds_round_trip() {
        for micros in
            [0, 1, 1_714_564_800_000_001, 1_777_777_777_123_456, -1_500_000, -62_135_596_800_000_000]
        {
            let time = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::from_secs_f64(time.as_secs_f64()).unwrap(), time);
        }
    }
}
