//! What holds for all objects and all settings.

use longshore_csv::{Header, Options};
use proptest::prelude::*;

use crate::harness::{read, texts};

#[path = "../../../../fuzz/harness.rs"]
mod fuzz;

/// Writes rows as CSV: every field in quotes if `always`, else where it has to be.
fn write(rows: &[Vec<String>], options: &Options, line_end: &str, always: bool) -> String {
    let delimiter = char::from(options.delimiter);
    let quote = char::from(options.quote.unwrap());
    let escape = options.escape.map_or(quote, char::from);
    let field = |text: &String| {
        let is_plain = !text.contains([delimiter, quote, escape, '\r', '\n']) && !text.is_empty();
        if is_plain && !always {
            return text.clone();
        }
        let inner: String = text
            .chars()
            .flat_map(|char| {
                let before = (char == quote || char == escape).then_some(escape);
                before.into_iter().chain([char])
            })
            .collect();
        format!("{quote}{inner}{quote}")
    };
    rows.iter()
        .map(|row| {
            let fields: Vec<_> = row.iter().map(field).collect();
            fields.join(&delimiter.to_string()) + line_end
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read(
        rows in proptest::collection::vec(proptest::collection::vec("[a-c,;|\t\"'\\\\\r\n é💡]{0,40}", 3), 1..40),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|')],
        quote in prop_oneof![Just(b'"'), Just(b'\'')],
        escape in proptest::option::of(Just(b'\\')),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        always in any::<bool>(),
    ) {
        let options = Options {
            delimiter,
            quote: Some(quote),
            escape,
            header: Header::No,
            ..Options::default()
        };
        let object = write(&rows, &options, line_end, always);
        let found = read(&options, &texts(&["a", "b", "c"]), &object).unwrap();
        prop_assert_eq!(&found.rejects, &[]);
        let values: Vec<_> = found.rows.into_iter().map(|(_, row)| row).collect();
        prop_assert_eq!(values, rows);
    }

    #[test]
    fn rejects_hold_the_bytes_of_the_object(
        object in "([a-z\"\n\r,;é]{0,30}[,\n]){0,30}",
    ) {
        let options = Options { header: Header::No, ..Options::default() };
        if let Ok(found) = read(&options, &texts(&["a", "b"]), &object) {
            for reject in &found.rejects {
                let start = reject.byte as usize;
                prop_assert_eq!(&object.as_bytes()[start..start + reject.raw.len()], &reject.raw);
                let before = object[..start].replace("\r\n", "\n");
                let lines = before.matches(['\r', '\n']).count() as u64;
                prop_assert_eq!(reject.line, lines + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_bytes_break_it(
        settings in proptest::array::uniform8(any::<u8>()),
        object in proptest::collection::vec(
            prop_oneof![
                6 => any::<u8>(), 6 => Just(b','), 3 => Just(b'"'), 4 => Just(b'\n'), 2 => Just(b'\r'),
                1 => Just(b'\\'), 1 => Just(0), 1 => Just(0x1B), 6 => b'0'..=b'9', 4 => b'a'..=b'e', 1 => Just(b'-'),
            ],
            0..400,
        ),
    ) {
        let data = [&settings[..], &object].concat();
        fuzz::any_bytes(&data);
    }
}
