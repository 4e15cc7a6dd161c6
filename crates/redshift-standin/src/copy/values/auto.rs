//! The forms of dates and times that 'auto' recognizes: those that are documented, and no others.

use std::sync::LazyLock;

use super::formats::{Format, Parts};

static DATES: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let dates = ["YYYY-MM-DD", "MM/DD/YYYY", "YYYYMMDD", "YYMMDD", "YYYY.DDD", "YYYY-MM-DD BC", "MON-DD-YY BC"];
    dates.iter().map(|date| Format::own(date)).collect()
});

static MOMENTS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let forms = [
        "YYYY-MM-DD HH:MI:SSTZ",
        "YYYY-MM-DDTHH:MI:SSTZ",
        "YYYY-MM-DD HH:MI:SS BC",
        "MM/DD/YYYY HH:MI:SSTZ",
        "YYYYMMDD HHMISS",
        "YYMMDD HHMISS",
        "YYYY.DDD HH:MI:SS",
        "DD MON HH:MI:SS YYYYTZ",
    ];
    forms.iter().map(|form| Format::own(form)).collect()
});

/// `DD.MM.YYYY`, by whose printed example the month comes first.
static DOTTED: LazyLock<[[Format; 2]; 2]> = LazyLock::new(|| {
    let both = |first: &str| [Format::own(first), Format::own(&format!("{first} HH:MI:SSTZ"))];
    [both("DD.MM.YYYY"), both("MM.DD.YYYY")]
});

/// What stands behind the letter of a Julian day.
static JULIAN: LazyLock<[Format; 2]> = LazyLock::new(|| [Format::own("JJ"), Format::own("JJ HH:MI:SS")]);

/// Reads a text by the first form that fits.
pub(super) fn read(text: &str) -> Option<Parts> {
    if let Some(number) = text.strip_prefix('J').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        return JULIAN.iter().find_map(|form| form.read_all(number));
    }
    let fits = |parts: &Parts| parts.moment().is_some();
    let forms = MOMENTS.iter().chain(DATES.iter());
    let mut plain = forms.filter_map(|form| form.read_all(text)).filter(fits);
    plain.next().or_else(|| dotted(text))
}

/// Where day and month could be taken for each other, there is no telling which is meant.
fn dotted(text: &str) -> Option<Parts> {
    let [day_first, month_first] = DOTTED.each_ref().map(|forms| {
        let parts = forms.iter().find_map(|form| form.read_all(text));
        parts.filter(|parts| parts.moment().is_some())
    });
    match (day_first, month_first) {
        (Some(one), Some(other)) => (one.moment() == other.moment()).then_some(one),
        (one, other) => one.or(other),
    }
}
