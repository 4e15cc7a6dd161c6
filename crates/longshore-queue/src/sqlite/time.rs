//! Instants as the tables keep them: microseconds, never beyond what a timestamp can say.

use std::time::Duration;

use jiff::Timestamp;

/// An instant, in microseconds.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant of these microseconds; the nearest one there is, if they are out of range.
pub(super) fn instant(micros: i64) -> Timestamp {
    let end = if micros < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(micros).unwrap_or(end)
}

/// A length of time, in microseconds.
pub(super) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// An instant after another, or the last there is.
pub(super) fn after(at: i64, length: i64) -> i64 {
    at.saturating_add(length).min(Timestamp::MAX.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_become_the_nearest() {
        assert_eq!(instant(i64::MAX), Timestamp::MAX);
        assert_eq!(instant(i64::MIN), Timestamp::MIN);
        assert_eq!(instant(after(0, length(Duration::MAX))).as_microsecond(), Timestamp::MAX.as_microsecond());
    }

    #[test]
    fn instants_read_back_to_the_microsecond() {
        let at: Timestamp = "2025-11-22T10:11:12.123456Z".parse().unwrap();
        assert_eq!(instant(micros(at)), at);
    }
}
