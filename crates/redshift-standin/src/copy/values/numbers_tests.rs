//! Facts about numbers.

use crate::copy::testing::{code, field, field_with, some};
use crate::copy::{Switches, Type};

const D82: Type = Type::Decimal { precision: 8, scale: 2 };

#[test]
fn integers_are_digits_only() {
    let wrong = |text: &str| field(text, Type::Integer, "").unwrap_err();
    assert_eq!(wrong("1.0"), (1207, "Invalid digit, Value '.', Pos 1, Type: Integer".to_owned()));
    assert_eq!(wrong("1e3"), (1207, "Invalid digit, Value 'e', Pos 1, Type: Integer".to_owned()));
    assert_eq!(wrong("\"1,000\""), (1207, "Invalid digit, Value ',', Pos 1, Type: Integer".to_owned()));
    for text in ["-", "+1", "x", "1-", "--1"] {
        assert_eq!(wrong(text).0, 1207, "{text}");
    }
    assert_eq!(field("-17", Type::Integer, ""), some("-17"));
    assert_eq!(field("007", Type::SmallInt, ""), some("7"));
}

#[test]
fn integers_overflow_at_the_size_of_their_type() {
    for (ty, largest, over) in [
        (Type::SmallInt, "32767", "32768"),
        (Type::Integer, "2147483647", "2147483648"),
        (Type::BigInt, "9223372036854775807", "9223372036854775808"),
    ] {
        assert_eq!(field(largest, ty, ""), some(largest));
        assert_eq!(code(field(over, ty, "")), 1222);
        assert_eq!(code(field(format!("{over}{over}{over}"), ty, "")), 1222);
        assert_eq!(field(format!("-{over}"), ty, ""), some(&format!("-{over}")));
    }
}

#[test]
fn spaces_around_numbers_follow_the_switch() {
    let wrong = field(" 1", Type::Integer, "").unwrap_err();
    assert_eq!(wrong, (1207, "Invalid digit, Value ' ', Pos 0, Type: Integer".to_owned()));
    let on = Switches { spaces_around_numbers: true, ..Switches::default() };
    assert_eq!(field_with(" 1 ", Type::Integer, "", &on), some("1"));
    assert_eq!(code(field(" 1", D82, "")), 1209);
    assert_eq!(field_with(" 1", D82, "", &on), some("1.00"));
    assert_eq!(code(field("1 ", Type::Real, "")), 1208);
    assert_eq!(field_with("1 ", Type::Real, "", &on), some("1"));
}

#[test]
fn decimals_are_truncated() {
    assert_eq!(field("20.259", D82, ""), some("20.25"));
    assert_eq!(field("-20.259", D82, ""), some("-20.25"));
    assert_eq!(field("-0.001", D82, ""), some("0.00"));
    assert_eq!(field("7", D82, ""), some("7.00"));
    assert_eq!(field(".5", D82, ""), some("0.50"));
}

#[test]
fn roundec_rounds_decimals() {
    assert_eq!(field("20.259", D82, "ROUNDEC"), some("20.26"));
    assert_eq!(field("-20.255", D82, "ROUNDEC"), some("-20.26"));
    assert_eq!(field("0.995", D82, "ROUNDEC"), some("1.00"));
    assert_eq!(code(field("999999.995", D82, "ROUNDEC")), 1204);
    assert_eq!(field("999999.995", D82, ""), some("999999.99"));
}

#[test]
fn a_decimal_beyond_its_precision_overflows() {
    assert_eq!(field("1000000", D82, ""), Err((1204, "Overflow for NUMERIC(8,2)".to_owned())));
    let wide = Type::Decimal { precision: 38, scale: 0 };
    assert_eq!(field("9".repeat(38), wide, ""), some(&"9".repeat(38)));
    assert_eq!(code(field("9".repeat(39), wide, "")), 1204);
    assert_eq!(code(field("9".repeat(400), wide, "")), 1204);
    assert_eq!(field(format!("{}1", "0".repeat(90)), wide, ""), some("1"));
}

#[test]
fn a_decimal_of_nineteen_digits_is_kept_in_64_bits() {
    let ty = Type::Decimal { precision: 19, scale: 0 };
    assert_eq!(field("9223372036854775807", ty, ""), some("9223372036854775807"));
    assert_eq!(code(field("9223372036854775808", ty, "")), 1204);
    assert_eq!(code(field("-9223372036854775808", ty, "")), 1204);
    let wider = Type::Decimal { precision: 20, scale: 0 };
    assert_eq!(field("9223372036854775808", wider, ""), some("9223372036854775808"));
}

#[test]
fn what_is_no_decimal_is_refused() {
    for text in ["1e3", "1.2.3", "x", ".", "-", "NaN", "$1"] {
        assert_eq!(code(field(text, D82, "")), 1209, "{text}");
    }
}

#[test]
fn floats_have_exponents_and_limits() {
    assert_eq!(field("1.5e10", Type::Real, ""), some("1.5e10"));
    assert_eq!(field("-2E-3", Type::Double, ""), some("-2E-3"));
    assert_eq!(field("0.0e5", Type::Real, ""), some("0.0e5"));
    assert_eq!(code(field("1e39", Type::Real, "")), 1204);
    assert_eq!(code(field("1e-60", Type::Real, "")), 1204);
    assert_eq!(code(field("1e309", Type::Double, "")), 1204);
    for text in ["1.2.3", "abc", "NaN", "inf", "0x10", "1,5"] {
        let quoted = format!("\"{text}\"");
        assert_eq!(code(field(quoted, Type::Double, "")), 1208, "{text}");
    }
}
