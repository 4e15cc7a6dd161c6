//! When a pipeline's bucket is looked at.
//!
//! A schedule is pure: it says which time comes after another and keeps no clock of its own. The
//! caller steps from one due time to the next, never from "now", so that delays do not add up.
//!
//! # When the clock changes
//!
//! `croner` reads the pattern and finds matching wall times; what they mean in a time zone is
//! decided here, because `croner` drops `0,30 2 * * *` on the night that lacks that hour.
//!
//! - A pattern for every hour (`*/30 * * * *`) goes by real time: it neither pauses nor bunches.
//! - Set forward: what the night lacks runs once, at the first moment after. `30 2 * * *` in
//!   Berlin runs at 03:00 summer time, an hour and a half after 01:30.
//! - Set back: a wall time that comes twice counts the first time. A pattern for every minute or
//!   every few (`*/10 1-5 * * *`) counts both, rather than pause for an hour.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The shortest interval; without one, the next time of `every 0s` would not come later.
const SHORTEST: Duration = Duration::from_millis(1);

/// The smallest step of a [`Timestamp`].
const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

/// The first of 28 years that hold every date on every weekday, leap days too. A pattern names no
/// year, so that what does not come in these never comes.
const FIRST_DAY: Date = Date::constant(2000, 1, 1);
/// The day after them.
const LAST_DAY: Date = Date::constant(2028, 1, 1);

/// When, and how far off the mark on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The rule.
    pub when: When,
    /// How far times are spread, so that many processes do not list at once.
    pub jitter: Duration,
}

/// A rule that gives times.
#[derive(Clone, PartialEq, Eq)]
pub enum When {
    /// Again after this long.
    Every(Duration),
    /// When the wall clock matches a pattern.
    Cron {
        /// The pattern, read.
        pattern: Box<Cron>,
        /// Where the clock hangs.
        timezone: TimeZone,
        /// The pattern as it was written, single spaces between the fields.
        text: String,
    },
}

impl Schedule {
    /// A schedule with a fixed interval.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { when: When::Every(interval), jitter: Duration::ZERO }
    }

    /// A schedule by a cron pattern: minute, hour, day, month, weekday, with seconds before them
    /// if there are six fields, or a name such as `@hourly`.
    ///
    /// # Errors
    /// What is wrong with the pattern or the time zone, in words for the person who wrote it. A
    /// pattern that never matches is wrong too.
    pub fn cron(pattern: &str, timezone: &str) -> Result<Self, String> {
        let text = pattern.split_whitespace().collect::<Vec<_>>().join(" ");
        let pattern = Box::new(read(&text)?);
        // `Etc/Unknown` is a zone without a name.
        let zone = TimeZone::get(timezone).ok().filter(|zone| zone.iana_name().is_some());
        let timezone = zone.ok_or_else(|| {
            format!("`{timezone}` is no time zone that is known here, expected a name such as `Europe/Berlin` or `UTC`")
        })?;
        if !ever_comes(&pattern) {
            return Err(format!("`{text}` never comes: no date fits it"));
        }
        Ok(Self { when: When::Cron { pattern, timezone, text }, jitter: Duration::ZERO })
    }

    /// The next time after `after` (strictly), without jitter. `None`: there is none before the
    /// calendar ends.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Every(interval) => after.checked_add((*interval).max(SHORTEST)).ok(),
            When::Cron { pattern, timezone, .. } => next_match(pattern, timezone, after),
        }
    }

    /// The next time, moved back by a random part of the jitter but not as far as the one that
    /// follows. An interval goes on from the time before, which was moved too: it is moved half of
    /// the jitter to either side, lest the jitter add up.
    ///
    /// [`Timestamp::MAX`] stands for never.
    #[must_use]
    pub fn next_with_jitter(&self, after: Timestamp) -> Timestamp {
        let Some(mut next) = self.next_after(after) else { return Timestamp::MAX };
        if let When::Every(interval) = self.when {
            let half = self.jitter.min(interval) / 2;
            next = next.checked_sub(half).unwrap_or(next);
        }
        let following = self.next_after(next).unwrap_or(Timestamp::MAX);
        let room = Duration::try_from(following.duration_since(next)).unwrap_or_default();
        let most = u64::try_from(self.jitter.min(room).as_nanos()).unwrap_or(u64::MAX);
        let moved = if most == 0 { 0 } else { fastrand::u64(0..most) };
        next.checked_add(Duration::from_nanos(moved)).unwrap_or(next)
    }

    /// The rule as text: the same text is the same schedule.
    #[must_use]
    pub fn rule(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Every(interval) => write!(f, "every {}", span(*interval))?,
            When::Cron { timezone, text, .. } => match timezone.iana_name() {
                Some(name) => write!(f, "cron \"{text}\" in {name}")?,
                None => write!(f, "cron \"{text}\" in {timezone:?}")?,
            },
        }
        if !self.jitter.is_zero() {
            write!(f, " with up to {} of jitter", span(self.jitter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl fmt::Debug for When {
    // A pattern that is read prints as pages of bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = Schedule { when: self.clone(), jitter: Duration::ZERO };
        write!(f, "When({schedule})")
    }
}

/// A span of time as the configuration writes it.
fn span(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

/// The fields of a pattern from the last one on, with what they take.
const FIELDS: [(&str, &str); 6] = [
    ("weekday", "`0` (Sunday) to `7` or `MON` to `SUN`"),
    ("month", "`1` to `12` or `JAN` to `DEC`"),
    ("day of the month", "`1` to `31` or `L`"),
    ("hour", "`0` to `23`"),
    ("minute", "`0` to `59`"),
    ("second", "`0` to `59`"),
];

/// Names that stand for whole patterns.
const NAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// Reads a pattern whose fields have single spaces between them.
fn read(text: &str) -> Result<Cron, String> {
    if text.starts_with('@') && !NAMES.iter().any(|name| name.eq_ignore_ascii_case(text)) {
        return Err(format!("`{text}` is none of `{}`", NAMES.join("`, `")));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if !text.starts_with('@') && !(5..=6).contains(&fields.len()) {
        return Err(format!(
            "expected minute, hour, day, month and weekday such as `*/30 * * * *`, found {} field{}",
            fields.len(),
            if fields.len() == 1 { "" } else { "s" },
        ));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(text).map_err(|_| {
        let wrong = FIELDS.iter().zip(fields.iter().rev()).enumerate().rev().find(|(place, (_, field))| {
            let mut alone = ["*"; 6];
            alone[5 - place] = field;
            parser.parse(&alone.join(" ")).is_err()
        });
        match wrong {
            Some((_, ((name, values), field))) => {
                format!("`{field}` is no {name}: it takes {values}, `*`, lists `a,b`, ranges `a-b` and steps `*/n`")
            }
            None => format!("`{text}` is no cron pattern, expected one such as `*/30 * * * *`"),
        }
    })
}

/// Whether any time matches. (`croner` would search on to the year 5000.)
fn ever_comes(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    let has_time = [&pattern.hours, &pattern.minutes, &pattern.seconds].iter().all(|field| !field.values().is_empty());
    let fits = |date: Date| {
        let (month, day) = (date.month().unsigned_abs().into(), date.day().unsigned_abs().into());
        let weekday =
            croner::Weekday::from_days_from_sunday(date.weekday().to_sunday_zero_offset().unsigned_abs().into());
        let day = pattern.day_match(date.year().into(), month, day, weekday);
        pattern.month_match(month).unwrap_or(false) && day.unwrap_or(false)
    };
    has_time && FIRST_DAY.series(1.day()).take_while(|date| *date < LAST_DAY).any(fits)
}

/// The next wall time that matches, in a calendar without time zones.
fn next_wall_time(cron: &Cron, from: DateTime, inclusive: bool) -> Option<DateTime> {
    cron.find_next_occurrence(&from, inclusive).ok()
}

/// Whether a pattern goes by real time, for all hours alike.
fn is_for_every_hour(cron: &Cron) -> bool {
    cron.pattern.hours.values().len() == 24
}

/// Whether wall times that come twice count both times.
fn counts_both(cron: &Cron) -> bool {
    is_for_every_hour(cron) || cron.pattern.minutes.from_wildcard
}

/// The next instant at which the wall clock matches.
///
/// Between two changes of the clock, wall time and real time run alike, so the search goes from
/// change to change.
fn next_match(cron: &Cron, timezone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut offset = timezone.to_offset(after);
    let mut wall = offset.to_datetime(after);
    let mut inclusive = false;
    if !counts_both(cron)
        && let Some(seen) = seen_before(timezone, after).filter(|seen| *seen > wall)
    {
        (wall, inclusive) = (seen, true);
    }
    let mut changes = timezone.following(after);
    loop {
        let next = next_wall_time(cron, wall, inclusive)?;
        let at = offset.to_timestamp(next).ok()?;
        let Some(change) = changes.next().filter(|change| change.timestamp() <= at) else {
            return Some(at);
        };
        let (old_end, new_start) =
            (offset.to_datetime(change.timestamp()), change.offset().to_datetime(change.timestamp()));
        if next < new_start && !is_for_every_hour(cron) {
            return Some(change.timestamp());
        }
        offset = change.offset();
        wall = if counts_both(cron) { new_start } else { old_end.max(new_start) };
        inclusive = true;
    }
}

/// Up to which wall time the clock had come before it was last set back.
fn seen_before(timezone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    let next = at.checked_add(NANOSECOND).ok()?;
    let change = timezone.preceding(next).next()?.timestamp();
    let before = timezone.to_offset(change.checked_sub(NANOSECOND).ok()?);
    Some(before.to_datetime(change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// All times in a span, its end left out.
    fn times(pattern: &str, timezone: &str, from: &str, to: &str) -> Vec<String> {
        let schedule = Schedule::cron(pattern, timezone).unwrap();
        let steps = std::iter::successors(schedule.next_after(at(from)), |last| schedule.next_after(*last));
        let zone = TimeZone::get(timezone).unwrap();
        let wall = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%d %H:%M%:::z").to_string();
        steps.take_while(|time| *time < at(to)).map(wall).collect()
    }

    fn refusal(pattern: &str, timezone: &str) -> String {
        Schedule::cron(pattern, timezone).unwrap_err()
    }

    // Berlin: 2025-03-30 01:00Z 02:00 -> 03:00, 2025-10-26 01:00Z 03:00 -> 02:00.
    // New York: 2025-03-09 07:00Z 02:00 -> 03:00, 2025-11-02 06:00Z 02:00 -> 01:00.

    #[test]
    fn an_interval_steps_from_the_due_time() {
        let schedule = Schedule::every(Duration::from_secs(30));
        assert_eq!(schedule.next_after(at("2025-01-01T00:00:07Z")), Some(at("2025-01-01T00:00:37Z")));
        assert_eq!(schedule.next_after(Timestamp::MAX), None);
        let none = Schedule::every(Duration::ZERO);
        assert!(none.next_after(at("2025-01-01T00:00:00Z")).unwrap() > at("2025-01-01T00:00:00Z"));
        assert_eq!(Schedule::every(Duration::MAX).next_after(at("2025-01-01T00:00:00Z")), None);
    }

    #[test]
    fn the_next_time_is_strictly_later() {
        let schedule = Schedule::cron("0 * * * *", "UTC").unwrap();
        assert_eq!(schedule.next_after(at("2025-01-01T10:00:00Z")), Some(at("2025-01-01T11:00:00Z")));
        assert_eq!(schedule.next_after(at("2025-01-01T09:59:59.999Z")), Some(at("2025-01-01T10:00:00Z")));
        assert_eq!(schedule.next_after(at("2025-01-01T10:00:00.001Z")), Some(at("2025-01-01T11:00:00Z")));
        assert_eq!(schedule.next_after(Timestamp::MAX), None);
    }

    #[test]
    fn a_time_that_the_night_lacks_runs_once_right_after() {
        for (zone, from, to, day, summer) in [
            ("Europe/Berlin", "2025-03-29T12:00:00Z", "2025-03-31T12:00:00Z", 30, "+02"),
            ("America/New_York", "2025-03-08T12:00:00Z", "2025-03-10T12:00:00Z", 9, "-04"),
        ] {
            let expected = [format!("{day:02} 03:00{summer}"), format!("{:02} 02:30{summer}", day + 1)];
            assert_eq!(times("30 2 * * *", zone, from, to), expected, "{zone}");
            let both = [&expected[..1], &[format!("{:02} 02:00{summer}", day + 1)], &expected[1..]].concat();
            assert_eq!(times("0,30 2 * * *", zone, from, to), both, "{zone}");
            assert_eq!(times("*/30 2 * * *", zone, from, to), both, "{zone}");
        }
    }

    #[test]
    fn the_end_of_the_gap_does_not_run_twice() {
        let span = ("2025-03-29T22:00:00Z", "2025-03-30T03:00:00Z");
        let hours = times("0 0-4 * * *", "Europe/Berlin", span.0, span.1);
        assert_eq!(hours, ["30 00:00+01", "30 01:00+01", "30 03:00+02", "30 04:00+02"]);
    }

    #[test]
    fn a_time_that_the_night_has_twice_runs_the_first_time() {
        let berlin = ("Europe/Berlin", "2025-10-25T12:00:00Z", "2025-10-27T12:00:00Z");
        assert_eq!(times("30 2 * * *", berlin.0, berlin.1, berlin.2), ["26 02:30+02", "27 02:30+01"]);
        assert_eq!(
            times("0,30 2 * * *", berlin.0, berlin.1, berlin.2),
            ["26 02:00+02", "26 02:30+02", "27 02:00+01", "27 02:30+01"]
        );
        let new_york = ("America/New_York", "2025-11-01T12:00:00Z", "2025-11-03T12:00:00Z");
        assert_eq!(times("30 1 * * *", new_york.0, new_york.1, new_york.2), ["02 01:30-04", "03 01:30-05"]);
        // The hour that comes twice ends here, and what is due at its end is due once.
        assert_eq!(times("0 3 * * *", berlin.0, berlin.1, berlin.2), ["26 03:00+01", "27 03:00+01"]);
    }

    #[test]
    fn a_start_in_the_repeated_hour_goes_on_after_it() {
        let schedule = Schedule::cron("30 2 * * *", "Europe/Berlin").unwrap();
        // 02:10 for the second time: today's 02:30 has been.
        assert_eq!(schedule.next_after(at("2025-10-26T01:10:00Z")), Some(at("2025-10-27T01:30:00Z")));
        assert_eq!(schedule.next_after(at("2025-10-26T01:00:00Z")), Some(at("2025-10-27T01:30:00Z")));
        assert_eq!(schedule.next_after(at("2025-10-26T00:10:00Z")), Some(at("2025-10-26T00:30:00Z")));
    }

    #[test]
    fn a_pattern_for_every_hour_goes_by_real_time() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"] {
            for (pattern, step) in [("*/30 * * * *", 1800), ("15 * * * *", 3600), ("@hourly", 3600)] {
                if zone == "Australia/Lord_Howe" && step == 3600 {
                    continue; // its clock changes by half an hour
                }
                let schedule = Schedule::cron(pattern, zone).unwrap();
                let mut last = schedule.next_after(at("2025-01-01T00:00:00Z")).unwrap();
                while last < at("2026-01-01T00:00:00Z") {
                    let next = schedule.next_after(last).unwrap();
                    assert_eq!(next.duration_since(last).as_secs(), step, "{pattern} in {zone} after {last}");
                    last = next;
                }
            }
        }
    }

    #[test]
    fn every_few_minutes_of_some_hours_do_not_pause() {
        let ticks = times("*/30 1-3 * * *", "Europe/Berlin", "2025-10-25T22:00:00Z", "2025-10-26T02:30:00Z");
        let expected = "01:00+02 01:30+02 02:00+02 02:30+02 02:00+01 02:30+01 03:00+01";
        assert_eq!(ticks, expected.split(' ').map(|time| format!("26 {time}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_day_that_a_country_skipped_runs_right_after() {
        // Samoa had no 30 December 2011.
        let ticks = times("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z");
        assert_eq!(ticks, ["29 12:00-10", "31 00:00+14", "31 12:00+14"]);
    }

    #[test]
    fn fields_and_names_are_understood() {
        let next = |pattern: &str| {
            let schedule = Schedule::cron(pattern, "UTC").unwrap();
            schedule.next_after(at("2025-01-01T10:10:10Z")).unwrap().to_string()
        };
        assert_eq!(next("*/30 * * * *"), "2025-01-01T10:30:00Z");
        assert_eq!(next("  0   6 * *  MON-FRI "), "2025-01-02T06:00:00Z");
        assert_eq!(next("*/15 * * * * *"), "2025-01-01T10:10:15Z");
        assert_eq!(next("0 0 L * *"), "2025-01-31T00:00:00Z");
        assert_eq!(next("0 0 29 2 *"), "2028-02-29T00:00:00Z");
        assert_eq!(next("@hourly"), "2025-01-01T11:00:00Z");
        assert_eq!(next("@Daily"), "2025-01-02T00:00:00Z");
        assert_eq!(next("@weekly"), "2025-01-05T00:00:00Z");
        assert_eq!(next("@monthly"), "2025-02-01T00:00:00Z");
        assert_eq!(next("@yearly"), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_fault_says_which_field_and_what_it_takes() {
        let takes = "`*`, lists `a,b`, ranges `a-b` and steps `*/n`";
        assert_eq!(refusal("61 * * * *", "UTC"), format!("`61` is no minute: it takes `0` to `59`, {takes}"));
        assert_eq!(refusal("* 24 * * *", "UTC"), format!("`24` is no hour: it takes `0` to `23`, {takes}"));
        assert_eq!(
            refusal("* * * FOO *", "UTC"),
            format!("`FOO` is no month: it takes `1` to `12` or `JAN` to `DEC`, {takes}")
        );
        assert_eq!(refusal("x * * * * *", "UTC"), format!("`x` is no second: it takes `0` to `59`, {takes}"));
        assert_eq!(
            refusal("* * *", "UTC"),
            "expected minute, hour, day, month and weekday such as `*/30 * * * *`, found 3 fields"
        );
        assert!(refusal("", "UTC").ends_with("found 0 fields"));
        assert!(refusal("* * * * * * 2030", "UTC").ends_with("found 7 fields"));
        assert_eq!(
            refusal("@reboot", "UTC"),
            "`@reboot` is none of `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@hourly`"
        );
        assert!(refusal("@daily", "Etc/Unknown").starts_with("`Etc/Unknown` is no time zone"));
        assert_eq!(
            refusal("@daily", "Europe/Berln"),
            "`Europe/Berln` is no time zone that is known here, expected a name such as `Europe/Berlin` or `UTC`"
        );
    }

    #[test]
    fn a_pattern_that_never_comes_is_refused() {
        assert_eq!(refusal("0 0 30 2 *", "UTC"), "`0 0 30 2 *` never comes: no date fits it");
        assert_eq!(refusal(", * * * *", "UTC"), "`, * * * *` never comes: no date fits it");
        // Rare is not never: a leap day on a Monday.
        assert!(Schedule::cron("0 0 29 2 +MON", "UTC").is_ok());
    }

    #[test]
    fn whatever_stands_there_is_read_or_refused() {
        let pieces = ["*", "/", "-", ",", "#", "L", "W", "?", "+", " ", "0", "7", "59", "99999", "@", "MON", "é", "\0"];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let pattern: String = (0..random.usize(0..12)).map(|_| pieces[random.usize(0..pieces.len())]).collect();
            let fields = [pattern.as_str(), "* * * * *", &format!("* * {pattern} * {pattern}")].map(str::to_owned);
            for pattern in fields {
                if let Ok(schedule) = Schedule::cron(&pattern, "Europe/Berlin") {
                    let from = at("2025-03-30T00:59:59Z");
                    assert!(schedule.next_after(from).is_some_and(|next| next > from), "{pattern:?}");
                }
            }
        }
    }

    #[test]
    fn jitter_spreads_an_interval_to_both_sides() {
        let mut schedule = Schedule::every(Duration::from_secs(30));
        let after = at("2025-01-01T10:00:00Z");
        for (jitter, least, most) in [(10, 25, 35), (30, 15, 45), (3600, 15, 45)] {
            schedule.jitter = Duration::from_secs(jitter);
            let gaps: Vec<_> =
                (0..200).map(|_| schedule.next_with_jitter(after).duration_since(after).as_secs_f64()).collect();
            assert!(gaps.iter().all(|gap| (f64::from(least)..=f64::from(most)).contains(gap)), "{gaps:?}");
            assert!(gaps.iter().any(|gap| *gap < 30.0) && gaps.iter().any(|gap| *gap > 30.0), "{gaps:?}");
        }
    }

    #[test]
    fn jitter_stays_between_a_time_and_the_one_after() {
        let mut schedule = Schedule::cron("*/30 * * * *", "UTC").unwrap();
        let after = at("2025-01-01T10:00:00Z");
        assert_eq!(schedule.next_with_jitter(after), at("2025-01-01T10:30:00Z"));
        for (jitter, most) in [(5, 5), (7200, 1800)] {
            schedule.jitter = Duration::from_secs(jitter);
            let late = |_| schedule.next_with_jitter(after).duration_since(at("2025-01-01T10:30:00Z"));
            let all: Vec<SignedDuration> = (0..200).map(late).collect();
            assert!(all.iter().all(|late| !late.is_negative() && *late < SignedDuration::from_secs(most)), "{all:?}");
            assert!(all.iter().any(|late| *late != all[0]), "they differ");
        }
        schedule.jitter = Duration::MAX;
        assert!(schedule.next_with_jitter(after) < at("2025-01-01T11:00:00Z"));
        assert_eq!(schedule.next_with_jitter(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn the_rule_reads_as_it_was_written() {
        let mut schedule = Schedule::every(Duration::from_secs(30));
        assert_eq!(schedule.rule(), "every 30s");
        schedule.jitter = Duration::from_millis(1500);
        assert_eq!(schedule.rule(), "every 30s with up to 1s 500ms of jitter");
        assert_eq!(Schedule::every(Duration::from_secs(5400)).rule(), "every 1h 30m");
        let cron = Schedule::cron(" */30 *  * * *", "europe/berlin").unwrap();
        assert_eq!(cron.rule(), "cron \"*/30 * * * *\" in Europe/Berlin");
        assert_eq!(format!("{cron:?}"), "Schedule(cron \"*/30 * * * *\" in Europe/Berlin)");
        assert_eq!(Schedule::cron("@daily", "UTC").unwrap().rule(), "cron \"@daily\" in UTC");
    }

    #[test]
    fn time_zones_come_with_the_program() {
        assert!(jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }
}
