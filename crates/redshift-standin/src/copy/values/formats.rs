//! The format strings of DATEFORMAT and TIMEFORMAT, and texts read by them.

use super::calendar::{self, Moment, SECOND};

/// One part of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    DayOfYear,
    Julian,
    Hour,
    Hour12,
    Minute,
    /// With a fraction of up to six digits, or without.
    Second,
    HalfDay,
    /// A zone of any form, or none.
    AnyZone,
    /// An offset from UTC, which has to be there.
    Offset,
    BeforeChrist,
    Separator(char),
}

/// What a string of COPY may hold.
const PIECES: &[(&str, Piece)] = &[
    ("YYYY", Piece::Year),
    ("YY", Piece::ShortYear),
    ("MM", Piece::Month),
    ("MON", Piece::MonthName),
    ("DD", Piece::Day),
    ("HH24", Piece::Hour),
    ("HH12", Piece::Hour12),
    ("HH", Piece::Hour),
    ("MI", Piece::Minute),
    ("SS", Piece::Second),
    ("AM", Piece::HalfDay),
    ("PM", Piece::HalfDay),
];

/// What only the forms of this crate hold besides.
const OWN_PIECES: &[(&str, Piece)] = &[
    ("DDD", Piece::DayOfYear),
    ("JJ", Piece::Julian),
    ("TZ", Piece::AnyZone),
    ("OF", Piece::Offset),
    ("BC", Piece::BeforeChrist),
    ("T", Piece::Separator('T')),
];

/// A format string, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
}

impl Format {
    /// Reads a string of DATEFORMAT or TIMEFORMAT; a zone has no place in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let format = Self::split(text, &[])?;
        let has = |piece: Piece| format.pieces.contains(&piece);
        let has_date = (has(Piece::Year) || has(Piece::ShortYear))
            && (has(Piece::Month) || has(Piece::MonthName))
            && has(Piece::Day);
        let twice = format
            .pieces
            .iter()
            .enumerate()
            .any(|(at, piece)| !matches!(piece, Piece::Separator(_)) && format.pieces[..at].contains(piece));
        let both = (has(Piece::Year) && has(Piece::ShortYear))
            || (has(Piece::Month) && has(Piece::MonthName))
            || (has(Piece::Hour) && has(Piece::Hour12));
        (has_date && !twice && !both).then_some(format)
    }

    /// One of the forms that are written in this crate.
    pub(super) fn own(text: &str) -> Self {
        Self::split(text, OWN_PIECES).expect("the forms of this crate are formats")
    }

    pub(super) fn has_time(&self) -> bool {
        self.pieces.contains(&Piece::Minute) && self.pieces.iter().any(|p| matches!(p, Piece::Hour | Piece::Hour12))
    }

    fn split(text: &str, more: &[(&str, Piece)]) -> Option<Self> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let known = more.iter().chain(PIECES).filter(|(name, _)| rest.starts_with(name));
            if let Some((name, piece)) = known.max_by_key(|(name, _)| name.len()) {
                pieces.push(*piece);
                rest = &rest[name.len()..];
            } else if " -/:.,;_".contains(first) {
                pieces.push(Piece::Separator(first));
                rest = &rest[1..];
            } else {
                return None;
            }
        }
        Some(Self { pieces })
    }

    /// Reads the beginning of a text; gives what is left of it.
    pub(super) fn read<'a>(&self, text: &'a str) -> Option<(Parts, &'a str)> {
        let mut parts = Parts::default();
        let mut rest = text;
        for piece in &self.pieces {
            rest = parts.take(*piece, rest)?;
        }
        Some((parts, rest))
    }

    /// Reads a whole text.
    pub(super) fn read_all(&self, text: &str) -> Option<Parts> {
        self.read(text).filter(|(_, rest)| rest.is_empty()).map(|(parts, _)| parts)
    }
}

/// What a text says of a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    year: Option<i64>,
    short_year: Option<i64>,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    julian: Option<i64>,
    micros: i64,
    hour12: Option<i64>,
    is_afternoon: Option<bool>,
    is_before_christ: bool,
    /// Seconds east of UTC.
    pub(super) zone: Option<i64>,
}

impl Parts {
    fn take<'a>(&mut self, piece: Piece, text: &'a str) -> Option<&'a str> {
        let two = |largest: i64| number(text, 2).filter(|(value, _)| *value <= largest);
        match piece {
            Piece::Separator(c) => return text.strip_prefix(c),
            Piece::MonthName => {
                let (month, rest) = month_name(text)?;
                self.month = month;
                return Some(rest);
            }
            Piece::HalfDay => {
                let head = text.get(..2)?.to_ascii_uppercase();
                self.is_afternoon = Some(if head == "PM" { true } else { (head == "AM").then_some(false)? });
                return Some(&text[2..]);
            }
            Piece::BeforeChrist => {
                self.is_before_christ = true;
                return text.strip_prefix("BC");
            }
            Piece::Julian => {
                let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (value, rest) = number(text, digits.min(9))?;
                self.julian = Some(value);
                return Some(rest);
            }
            Piece::AnyZone => return self.any_zone(text),
            Piece::Offset => return self.offset(text),
            Piece::Second => return self.second(text),
            _ => {}
        }
        let (value, rest) = match piece {
            Piece::Year => number(text, 4)?,
            Piece::DayOfYear => number(text, 3)?,
            Piece::Hour => two(23)?,
            Piece::Hour12 => two(12).filter(|(value, _)| *value > 0)?,
            Piece::Minute => two(59)?,
            _ => two(99)?,
        };
        match piece {
            Piece::Year => self.year = Some(value),
            Piece::ShortYear => self.short_year = Some(value),
            Piece::Month => self.month = value as u32,
            Piece::Day => self.day = value as u32,
            Piece::DayOfYear => self.day_of_year = Some(value as u32),
            Piece::Hour => self.micros += value * 3600 * SECOND,
            Piece::Hour12 => self.hour12 = Some(value),
            _ => self.micros += value * 60 * SECOND,
        }
        Some(rest)
    }

    fn second<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (seconds, rest) = number(text, 2).filter(|(value, _)| *value <= 59)?;
        self.micros += seconds * SECOND;
        let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
        let digits = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 6 {
            return None;
        }
        let (value, rest) = number(fraction, digits)?;
        self.micros += value * 10_i64.pow(6 - digits as u32);
        Some(rest)
    }

    fn any_zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if text.is_empty() {
            return Some(text);
        }
        let bare = text.strip_prefix(' ').unwrap_or(text);
        if bare.starts_with(['+', '-']) {
            return self.offset(bare);
        }
        let hours = match bare {
            "Z" | "UTC" | "GMT" => 0,
            "EDT" => -4,
            "EST" | "CDT" => -5,
            "CST" | "MDT" => -6,
            "MST" | "PDT" => -7,
            "PST" => -8,
            _ => return None,
        };
        self.zone = Some(hours * 3600);
        Some("")
    }

    /// `+02`, `+0530`, `-08:00`
    fn offset<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let (hours, rest) = number(text.strip_prefix(['+', '-'])?, 2).filter(|(value, _)| *value <= 15)?;
        let (minutes, rest) =
            if rest.is_empty() { (0, rest) } else { number(rest.strip_prefix(':').unwrap_or(rest), 2)? };
        self.zone = Some(sign * (hours * 3600 + minutes * 60));
        (minutes <= 59).then_some(rest)
    }

    /// The moment, if there is such a one; the zone is not looked at.
    pub(super) fn moment(&self) -> Option<Moment> {
        let days = match (self.julian, self.day_of_year) {
            (Some(julian), _) => julian - 2_440_588,
            (None, Some(nth)) => {
                let year = self.year()?;
                let last = 365 + u32::from(calendar::is_leap(year));
                calendar::days(year, 1, 1) + i64::from((1..=last).contains(&nth).then_some(nth)?) - 1
            }
            (None, None) => {
                let year = self.year()?;
                if !(1..=12).contains(&self.month)
                    || !(1..=calendar::days_in_month(year, self.month)).contains(&self.day)
                {
                    return None;
                }
                calendar::days(year, self.month, self.day)
            }
        };
        Some(Moment { days, micros: self.time()? }).filter(|moment| moment.is_kept())
    }

    /// Microseconds since midnight.
    pub(super) fn time(&self) -> Option<i64> {
        let hour = match (self.hour12, self.is_afternoon) {
            (Some(hour), Some(true)) => hour % 12 + 12,
            (Some(hour), Some(false)) => hour % 12,
            (Some(hour), None) => hour,
            (None, Some(afternoon)) => {
                let hour = self.micros / (3600 * SECOND);
                let shift = match (afternoon, hour) {
                    (_, 0) => return None,
                    (true, 1..=11) => 12,
                    (false, 12) => -12,
                    (_, 1..=12) => 0,
                    _ => return None,
                };
                return Some(self.micros + shift * 3600 * SECOND);
            }
            (None, None) => 0,
        };
        Some(self.micros + hour * 3600 * SECOND)
    }

    fn year(&self) -> Option<i64> {
        match (self.year, self.short_year, self.is_before_christ) {
            (Some(0), ..) | (None, None, _) => None,
            (Some(year), _, false) => Some(year),
            (Some(year), _, true) | (None, Some(year), true) => Some(1 - year),
            (None, Some(year), false) => Some(if year < 70 { 2000 + year } else { 1900 + year }),
        }
    }
}

/// A number of so many digits.
fn number(text: &str, digits: usize) -> Option<(i64, &str)> {
    let head = text.get(..digits).filter(|head| !head.is_empty() && head.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((head.parse().ok()?, &text[digits..]))
}

/// The month by its name, short or in full.
fn month_name(text: &str) -> Option<(u32, &str)> {
    #[rustfmt::skip]
    const NAMES: [&str; 12] = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ];
    let letters = text.len() - text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (name, rest) = text.split_at(letters);
    let is_it = |full: &str| full.eq_ignore_ascii_case(name) || full[..3].eq_ignore_ascii_case(name);
    let month = NAMES.iter().position(|name| is_it(name))?;
    Some((month as u32 + 1, rest))
}
