//! Days and times in the proleptic Gregorian calendar.

/// Microseconds of a second.
pub(super) const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400 * SECOND;

/// A day, from 1970-01-01, and a time of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) days: i64,
    pub(super) micros: i64,
}

impl Moment {
    /// Moves by microseconds.
    pub(super) fn plus(self, micros: i64) -> Self {
        let moved = self.micros + micros;
        Self { days: self.days + moved.div_euclid(DAY), micros: moved.rem_euclid(DAY) }
    }

    /// Whether Redshift can keep it: 4713 BC to 294276 AD.
    pub(super) fn is_kept(self) -> bool {
        (-4712..=294_276).contains(&civil(self.days).0)
    }

    /// `2026-11-23`, and what stands behind a time for the years before the first.
    pub(super) fn date(self) -> (String, &'static str) {
        let (year, month, day) = civil(self.days);
        let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
        (format!("{shown:04}-{month:02}-{day:02}"), era)
    }

    /// `08:30:00`, with a fraction if there is one.
    pub(super) fn time(self) -> String {
        let (seconds, fraction) = (self.micros / SECOND, self.micros % SECOND);
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if fraction == 0 { time } else { format!("{time}.{fraction:06}") }
    }
}

/// How many days a month has; year 0 is 1 BC.
pub(super) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days from 1970-01-01 to a date.
pub(super) fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day.
pub(super) fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}
