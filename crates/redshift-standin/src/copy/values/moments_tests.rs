//! Facts about dates and times.

use super::super::calendar::{civil, days};
use crate::copy::Type::{Date, Time, TimeTz, Timestamp, TimestampTz};
use crate::copy::testing::{code, field, some};

const AUTO: &str = "DATEFORMAT 'auto' TIMEFORMAT 'auto'";

/// Quotes the field, as some forms hold a comma.
fn read(text: &str, ty: crate::copy::Type, options: &str) -> Result<Option<String>, (u32, String)> {
    field(format!("\"{text}\""), ty, options)
}

#[test]
fn the_calendar_gives_back_every_day() {
    assert_eq!((days(1970, 1, 1), days(2000, 3, 1)), (0, 11_017));
    for day in (-2_500_000..110_000_000).step_by(997) {
        let (year, month, of_month) = civil(day);
        assert_eq!(days(year, month, of_month), day);
    }
}

#[test]
fn a_date_is_year_month_day_unless_a_format_is_given() {
    assert_eq!(read("2024-02-29", Date, ""), some("2024-02-29"));
    for text in
        ["2023-02-29", "2024-13-01", "24-01-01", "2024-1-1", "01/02/2024", "20240102", "2024-00-10", "0000-01-01"]
    {
        assert_eq!(code(read(text, Date, "")), 1205, "{text}");
    }
}

#[test]
fn the_time_behind_a_date_is_ignored() {
    assert_eq!(read("2024-01-02 10:11:12", Date, ""), some("2024-01-02"));
    assert_eq!(read("2024-01-02 10:11:12.5", Date, AUTO), some("2024-01-02"));
    assert_eq!(code(read("2024-01-02x", Date, "")), 1205);
    assert_eq!(read("02.01.2024 23", Date, "DATEFORMAT 'DD.MM.YYYY HH'"), some("2024-01-02"));
}

#[test]
fn format_strings_have_years_months_days_and_separators() {
    assert_eq!(read("31/12/2024", Date, "DATEFORMAT 'DD/MM/YYYY'"), some("2024-12-31"));
    assert_eq!(read("31-Dec-24", Date, "DATEFORMAT AS 'DD-MON-YY'"), some("2024-12-31"));
    assert_eq!(read("december 31, 2024", Date, "DATEFORMAT 'MON DD, YYYY'"), some("2024-12-31"));
    assert_eq!(read("20241231", Date, "DATEFORMAT 'YYYYMMDD'"), some("2024-12-31"));
    assert_eq!(code(read("2024-12-31", Date, "DATEFORMAT 'DD/MM/YYYY'")), 1205);
}

#[test]
fn hh_means_hh24() {
    let options = "TIMEFORMAT 'YYYY-MM-DD HH:MI:SS'";
    assert_eq!(read("2024-01-02 23:00:00", Timestamp, options), some("2024-01-02 23:00:00"));
    assert_eq!(
        read("2024-01-02 23:00:00", Timestamp, "TIMEFORMAT 'YYYY-MM-DD HH24:MI:SS'"),
        some("2024-01-02 23:00:00")
    );
    assert_eq!(code(read("2024-01-02 24:00:00", Timestamp, options)), 1206);
}

#[test]
fn hh12_goes_with_am_and_pm() {
    let options = "TIMEFORMAT 'MM/DD/YYYY HH12:MI:SS AM'";
    assert_eq!(read("01/02/2024 12:30:00 AM", Timestamp, options), some("2024-01-02 00:30:00"));
    assert_eq!(read("01/02/2024 12:30:00 pm", Timestamp, options), some("2024-01-02 12:30:00"));
    assert_eq!(read("01/02/2024 01:30:00 PM", Timestamp, options), some("2024-01-02 13:30:00"));
    assert_eq!(code(read("01/02/2024 13:30:00 PM", Timestamp, options)), 1206);
}

#[test]
fn seconds_take_up_to_six_digits_of_a_fraction() {
    assert_eq!(read("2024-01-02 03:04:05.123456", Timestamp, ""), some("2024-01-02 03:04:05.123456"));
    assert_eq!(read("2024-01-02 03:04:05.1", Timestamp, ""), some("2024-01-02 03:04:05.100000"));
    assert_eq!(code(read("2024-01-02 03:04:05.1234567", Timestamp, "")), 1206);
    assert_eq!(code(read("2024-01-02 03:04:05.", Timestamp, "")), 1206);
}

#[test]
fn an_iso_timestamp_needs_timeformat_auto() {
    let text = "2019-02-11T05:09:12.195Z";
    assert_eq!(code(read(text, Timestamp, "")), 1206);
    assert_eq!(code(read(text, TimestampTz, "")), 1206);
    assert_eq!(read(text, Timestamp, AUTO), some("2019-02-11 05:09:12.195000"));
    assert_eq!(read(text, TimestampTz, AUTO), some("2019-02-11 05:09:12.195000+00"));
}

#[test]
fn a_timestamp_with_zone_ends_in_an_offset_by_default() {
    assert_eq!(read("2024-01-02 03:04:05+02", TimestampTz, ""), some("2024-01-02 01:04:05+00"));
    assert_eq!(read("2024-01-02 03:04:05-0530", TimestampTz, ""), some("2024-01-02 08:34:05+00"));
    assert_eq!(code(read("2024-01-02 03:04:05", TimestampTz, "")), 1206);
}

#[test]
fn timestamp_ignores_a_zone_and_timestamptz_converts_to_utc() {
    for (text, plain, utc) in [
        ("2024-01-01 00:30:00+05:30", "2024-01-01 00:30:00", "2023-12-31 19:00:00+00"),
        ("12/17/1997 07:37:16.00 PST", "1997-12-17 07:37:16", "1997-12-17 15:37:16+00"),
    ] {
        assert_eq!(read(text, Timestamp, AUTO), some(plain));
        assert_eq!(read(text, TimestampTz, AUTO), some(utc));
    }
}

#[test]
fn auto_recognizes_the_documented_forms() {
    for (text, value) in [
        ("J2451187", "1999-01-08 00:00:00"),
        ("Jan-08-95 BC", "0095-01-08 00:00:00 BC"),
        ("0044-03-15 BC", "0044-03-15 00:00:00 BC"),
        ("19960108 040809", "1996-01-08 04:08:09"),
        ("960108 040809", "1996-01-08 04:08:09"),
        ("1996.008", "1996-01-08 00:00:00"),
        ("1996-01-08 04:05:06.789", "1996-01-08 04:05:06.789000"),
        ("17 Dec 07:37:16 1997 PST", "1997-12-17 07:37:16"),
        ("12/17/1997 07:37:16.00 PST", "1997-12-17 07:37:16"),
        ("1997-12-17 07:37:16-08", "1997-12-17 07:37:16"),
        ("12.17.1997 07:37:16.00 PST", "1997-12-17 07:37:16"),
        ("17.12.1997 07:37:16.00 PST", "1997-12-17 07:37:16"),
    ] {
        assert_eq!(read(text, Timestamp, AUTO), some(value), "{text}");
        let date = value.split(' ').next().unwrap();
        let era = if value.ends_with("BC") { " BC" } else { "" };
        assert_eq!(read(text, Date, AUTO), some(&format!("{date}{era}")), "{text}");
    }
}

#[test]
fn a_dotted_date_that_may_be_read_both_ways_is_refused() {
    assert_eq!(code(read("05.06.2024", Date, AUTO)), 1205);
    assert_eq!(read("05.05.2024", Date, AUTO), some("2024-05-05"));
}

#[test]
fn auto_recognizes_neither_epochs_nor_anything_else() {
    for text in
        ["1700000000", "now", "infinity", "today", "2024-01-02 03:04:05 Mars", "1996.366x", "1997.366", "2451187"]
    {
        assert_eq!(code(read(text, Timestamp, AUTO)), 1206, "{text}");
    }
}

#[test]
fn a_date_becomes_a_timestamp_at_midnight() {
    assert_eq!(read("2024-01-02", Timestamp, AUTO), some("2024-01-02 00:00:00"));
    assert_eq!(read("2024-01-02", TimestampTz, AUTO), some("2024-01-02 00:00:00+00"));
    assert_eq!(code(read("2024-01-02", Timestamp, "")), 1206);
}

#[test]
fn epochs_count_seconds_or_milliseconds() {
    assert_eq!(read("1700000000", Timestamp, "TIMEFORMAT 'epochsecs'"), some("2023-11-14 22:13:20"));
    let millis = "TIMEFORMAT 'epochmillisecs'";
    assert_eq!(read("1700000000123", Timestamp, millis), some("2023-11-14 22:13:20.123000"));
    assert_eq!(read("1700000000123", TimestampTz, millis), some("2023-11-14 22:13:20.123000+00"));
    assert_eq!(code(read("1.5", Timestamp, millis)), 1206);
    assert_eq!(code(read("999999999999999999", Timestamp, millis)), 1206);
}

#[test]
fn acceptanydate_makes_null_of_what_is_no_date() {
    let options = "DATEFORMAT 'YYYY-MM-DD' ACCEPTANYDATE";
    assert_eq!(read("00/00/00", Date, options), Ok(None));
    assert_eq!(read("x", Timestamp, options), Ok(None));
    assert_eq!(read("2024-01-02", Date, options), some("2024-01-02"));
    assert_eq!(code(read("x", Time, options)), 1206);
}

#[test]
fn years_reach_from_4713_bc() {
    assert_eq!(read("4713-06-01 BC", Date, AUTO), some("4713-06-01 BC"));
    assert_eq!(code(read("4714-06-01 BC", Date, AUTO)), 1205);
    assert_eq!(code(read("J999999999", Date, AUTO)), 1205);
}

#[test]
fn times_of_day_are_kept_and_those_with_a_zone_go_to_utc() {
    assert_eq!(read("23:59:59.5", Time, ""), some("23:59:59.500000"));
    assert_eq!(read("01:00:00+02", TimeTz, ""), some("23:00:00+00"));
    assert_eq!(code(read("24:00:00", Time, "")), 1206);
    assert_eq!(code(read("23:59", Time, "")), 1206);
}
