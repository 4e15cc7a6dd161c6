//! What the options mean, and which of them are refused.

use crate::copy::testing::{ROLE, copy, options, refused, tokens, try_copy};
use crate::copy::{CompUpdate, Compression, Encoding, Options, Switches, parse};

#[track_caller]
fn syntax(text: &str) {
    assert_eq!(refused(text).sqlstate, "42601", "{text}");
}

#[track_caller]
fn not_modelled(text: &str, what: &str) {
    let refusal = refused(text);
    assert_eq!((refusal.sqlstate, refusal.message), ("LS000", format!("stand-in: not modelled: {what}")), "{text}");
}

#[test]
fn options_come_in_any_order_and_any_case() {
    let one = options("CSV QUOTE '%' DELIMITER ';' GZIP MANIFEST");
    assert_eq!(one, options("manifest Gzip delimiter as ';' quote as '%' format as csv"));
    let rights_last = format!("COPY t FROM 's3://b/k' CSV MANIFEST {ROLE}");
    assert_eq!(parse(&tokens(&rights_last), &Switches::default()), try_copy("MANIFEST CSV"));
}

#[test]
fn format_and_as_are_noise_before_csv() {
    for text in ["CSV", "FORMAT CSV", "FORMAT AS CSV", "AS CSV"] {
        assert!(options(text).csv, "{text}");
    }
    syntax("FORMAT");
    syntax("FORMAT GZIP");
}

#[test]
fn without_options_files_are_delimited_by_a_bar() {
    assert_eq!(options(""), Options::default());
    assert_eq!(options("").delimiter, "|");
    assert_eq!(options("").null_as, "\\N");
}

#[test]
fn csv_makes_the_delimiter_a_comma_unless_one_is_given() {
    assert_eq!(options("CSV").delimiter, ",");
    assert_eq!(options("CSV DELIMITER '|'").delimiter, "|");
    assert_eq!(options("CSV").quote, b'"');
}

#[test]
fn an_unknown_option_is_a_syntax_error_that_names_it() {
    assert_eq!(refused("CSV HEADER").message, "syntax error at or near \"HEADER\"");
    syntax("CSV,GZIP");
    syntax("(FORMAT CSV)");
    syntax("WHERE a = 1");
}

#[test]
fn csv_does_not_go_with_fixedwidth_removequotes_or_escape() {
    syntax("CSV FIXEDWIDTH 'a:1'");
    syntax("CSV REMOVEQUOTES");
    syntax("ESCAPE CSV");
    syntax("DELIMITER ',' FIXEDWIDTH 'a:1'");
    syntax("CSV JSON 'auto'");
    syntax("JSON 'auto' NULL AS 'x'");
}

#[test]
fn quote_needs_csv_and_one_ascii_character() {
    syntax("QUOTE '%'");
    syntax("CSV QUOTE '%%'");
    syntax("CSV QUOTE ''");
    syntax("CSV QUOTE 'é'");
    syntax("CSV QUOTE ','");
}

#[test]
fn an_option_given_twice_is_refused() {
    for text in ["CSV CSV", "GZIP GZIP", "NULL 'a' NULL 'b'", "MAXERROR 1 MAXERROR 2", "FORMAT CSV FORMAT CSV"] {
        syntax(text);
    }
}

#[test]
fn one_compression_is_for_all_files() {
    assert_eq!(options("GZIP").compression, Some(Compression::Gzip));
    assert_eq!(options("BZIP2").compression, Some(Compression::Bzip2));
    assert_eq!(options("ZSTD").compression, Some(Compression::Zstd));
    syntax("GZIP ZSTD");
    not_modelled("LZOP", "LZOP");
}

#[test]
fn a_delimiter_may_be_octal() {
    assert_eq!(options(r"DELIMITER '\174'").delimiter, "|");
    assert_eq!(options(r"DELIMITER AS '\011'").delimiter, "\t");
    syntax(r"DELIMITER '\999'");
    syntax(r"DELIMITER '\377'");
    syntax("DELIMITER ''");
    syntax("DELIMITER '\n'");
    syntax("DELIMITER 'é'");
}

#[test]
fn several_characters_delimit_only_where_the_switch_says_so() {
    syntax("DELIMITER '|~|'");
    let on = Switches { several_character_delimiters: true, ..Switches::default() };
    let sql = format!("COPY t FROM 's3://b/k' {ROLE} DELIMITER '|~|'");
    assert_eq!(parse(&tokens(&sql), &on).unwrap().options.delimiter, "|~|");
}

#[test]
fn null_as_is_never_an_end_of_line() {
    syntax("NULL AS '\n'");
    syntax(r"NULL AS '\n'");
    assert_eq!(options("NULL 'x'").null_as, "x");
}

#[test]
fn null_as_nothing_acts_like_emptyasnull() {
    assert!(options("NULL AS ''").empty_as_null);
    assert!(!options("NULL AS 'x'").empty_as_null);
}

#[test]
fn maxerror_has_a_limit_of_a_hundred_thousand() {
    assert_eq!(options("MAXERROR AS 100000").max_error, 100_000);
    assert_eq!(refused("MAXERROR 100001").sqlstate, "22023");
    syntax("MAXERROR -1");
    syntax("MAXERROR '1'");
    assert_eq!(options("").max_error, 0);
}

#[test]
fn maxerror_and_ignoreallerrors_exclude_each_other() {
    syntax("MAXERROR 5 IGNOREALLERRORS");
    assert!(options("IGNOREALLERRORS").ignore_all_errors);
}

#[test]
fn comprows_lies_between_a_thousand_and_two_thousand_million() {
    assert_eq!(options("COMPROWS 1000").comp_rows, Some(1000));
    assert_eq!(options("COMPROWS 2147483647").comp_rows, Some(2_147_483_647));
    assert_eq!(refused("COMPROWS 999").sqlstate, "22023");
    assert_eq!(refused("COMPROWS 2147483648").sqlstate, "22023");
}

#[test]
fn readratio_and_ssh_are_not_for_s3() {
    syntax("READRATIO 50");
    not_modelled("SSH", "SSH");
}

#[test]
fn compupdate_and_statupdate_take_words_and_mean_on_without_one() {
    let comp = |text: &str| options(text).comp_update;
    assert_eq!(comp("COMPUPDATE PRESET"), Some(CompUpdate::Preset));
    assert_eq!(comp("COMPUPDATE ON"), comp("COMPUPDATE TRUE"));
    assert_eq!(comp("COMPUPDATE"), Some(CompUpdate::On));
    assert_eq!(comp("COMPUPDATE OFF STATUPDATE OFF"), Some(CompUpdate::Off));
    assert_eq!(comp("COMPUPDATE FALSE"), Some(CompUpdate::Off));
    assert_eq!(comp(""), None);
    let stat = |text: &str| options(text).stat_update;
    assert_eq!((stat("STATUPDATE TRUE"), stat("STATUPDATE FALSE"), stat("")), (Some(true), Some(false), None));
}

#[test]
fn an_encoding_is_an_unquoted_word() {
    assert_eq!(options("").encoding, Encoding::Utf8);
    assert_eq!(options("ENCODING AS utf16le").encoding, Encoding::Utf16Le);
    assert_eq!(options("ENCODING ISO88591").encoding, Encoding::Iso88591);
    syntax("ENCODING 'UTF16'");
    syntax("ENCODING LATIN1");
}

#[test]
fn acceptinvchars_stands_alone_or_with_a_character() {
    assert_eq!(options("ACCEPTINVCHARS GZIP").accept_invalid_chars, Some(b'?'));
    assert_eq!(options("ACCEPTINVCHARS '^'").accept_invalid_chars, Some(b'^'));
    assert_eq!(options("ACCEPTINVCHARS AS '^'").accept_invalid_chars, Some(b'^'));
    syntax("ACCEPTINVCHARS AS");
}

#[test]
fn formats_of_times_are_case_sensitive_and_have_no_zone() {
    assert_eq!(refused("DATEFORMAT 'AUTO'").sqlstate, "22023");
    assert_eq!(refused("TIMEFORMAT 'Epochsecs'").sqlstate, "22023");
    assert_eq!(refused("TIMEFORMAT 'YYYY-MM-DD HH:MI:SSOF'").sqlstate, "22023");
    assert_eq!(refused("TIMEFORMAT 'YYYY-MM-DD HH:MI:SS TZ'").sqlstate, "22023");
    for text in ["auto", "epochsecs", "epochmillisecs"] {
        copy(&format!("TIMEFORMAT AS '{text}'"));
    }
    copy("DATEFORMAT 'auto'");
}

#[test]
fn what_only_the_server_needs_is_kept() {
    let all = options("NOLOAD EXPLICIT_IDS REGION AS 'us-east-2' MANIFEST IGNOREHEADER 2");
    assert!(all.no_load && all.explicit_ids && all.manifest);
    assert_eq!((all.region.as_deref(), all.ignore_header), (Some("us-east-2"), 2));
}

#[test]
fn other_formats_are_not_modelled() {
    not_modelled("JSON 'auto'", "JSON");
    not_modelled("FORMAT AS JSON 's3://b/paths'", "JSON");
    not_modelled("AVRO 'auto'", "AVRO");
    not_modelled("FORMAT PARQUET", "PARQUET");
    not_modelled("ORC", "ORC");
    not_modelled("SHAPEFILE SIMPLIFY AUTO 3", "SHAPEFILE");
    not_modelled("FIXEDWIDTH 'a:1,b:2'", "FIXEDWIDTH");
    not_modelled("CSV ENCRYPTED", "ENCRYPTED");
    not_modelled("USING TEMPLATE s.x", "USING TEMPLATE");
    not_modelled("CSV JOB CREATE j AUTO ON", "COPY JOB");
    not_modelled("ACCEPTANYDATE", "ACCEPTANYDATE without DATEFORMAT");
}
