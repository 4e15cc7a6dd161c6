//! Every value arrives as it was given.

use super::*;
use crate::{ColumnType, Committed, Kind, Mode, NewColumn, NewTable, QualifiedName, TableName};

/// The least, the greatest and some values between, in the words of [`Bench::query`].
fn extremes(ty: &ColumnType) -> Vec<String> {
    let texts = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    match ty {
        ColumnType::Boolean => texts(&["true", "false"]),
        ColumnType::Int8 => texts(&["-128", "0", "127"]),
        ColumnType::Int16 => texts(&["-32768", "0", "32767"]),
        ColumnType::Int32 => texts(&["-2147483648", "0", "2147483647"]),
        ColumnType::Int64 => texts(&["-9223372036854775808", "0", "9223372036854775807"]),
        ColumnType::UInt8 => texts(&["0", "255"]),
        ColumnType::UInt16 => texts(&["0", "65535"]),
        ColumnType::UInt32 => texts(&["0", "4294967295"]),
        ColumnType::UInt64 => texts(&["0", "18446744073709551615"]),
        ColumnType::Decimal { precision, scale } => {
            let (whole, fraction) = (usize::from(precision - scale), usize::from(*scale));
            let point = if fraction > 0 { "." } else { "" };
            let greatest = format!("{}{point}{}", "9".repeat(whole), "9".repeat(fraction));
            let zero = format!("0{point}{}", "0".repeat(fraction));
            let one = if fraction > 0 { format!("0.{}1", "0".repeat(fraction - 1)) } else { "1".to_owned() };
            vec![format!("-{greatest}"), greatest, zero, format!("-{one}"), one]
        }
        ColumnType::Float32 => texts(&["-1.5", "0.0", "3.25"]),
        ColumnType::Float64 => texts(&["-1.5", "0.0", "0.1", "1234567.125"]),
        ColumnType::Char { .. } | ColumnType::Varchar { .. } | ColumnType::Text => texts(&[
            "",
            "twelve bytes",
            "thirteen byte",
            "a text of more than twelve bytes",
            "日本語のテキスト",
            "it's \"q\"",
        ]),
        ColumnType::Date => texts(&["0001-01-01", "1969-12-31", "1970-01-01", "2024-02-29", "9999-12-31"]),
        ColumnType::Time => texts(&["00:00:00", "12:34:56.789012", "23:59:59.999999"]),
        ColumnType::Timestamp => {
            texts(&["0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"])
        }
        ColumnType::TimestampTz => {
            texts(&["0001-01-01 00:00:00+00", "2024-03-31 01:30:00.5+00", "9999-12-31 23:59:59.999999+00"])
        }
        ColumnType::Uuid => texts(&[
            "00000000-0000-0000-0000-000000000000",
            "7fffffff-ffff-ffff-ffff-ffffffffffff",
            "80000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "01234567-89ab-cdef-0123-456789abcdef",
        ]),
        ColumnType::Json => texts(&["{\"a\": 1}", "[]", "null", "\"a longer text in a document\""]),
        ColumnType::Bytes => texts(&["", "00", "00ff00ff", "000102030405060708090a0b0c0d0e0f1011"]),
        ColumnType::Enum(labels) => labels.clone(),
        ColumnType::Other => Vec::new(),
    }
}

/// The least and the greatest value of every type, and NULL, in append and upsert.
pub async fn every_type_keeps_its_extremes(bench: &dyn Bench) {
    let warehouse = bench.warehouse();
    let mut columns = vec![NewColumn { name: "id".to_owned(), ty: ColumnType::Int32, nullable: false }];
    columns.extend(bench.types().into_iter().enumerate().map(|(index, ty)| NewColumn {
        name: format!("c{index}"),
        ty,
        nullable: true,
    }));
    let new = NewTable { name: name("everything"), columns: columns.clone() };
    bench.execute(&warehouse.create_table_sql(&new)).await;
    let values: Vec<Vec<String>> = columns[1..].iter().map(|column| extremes(&column.ty)).collect();
    let most = values.iter().map(Vec::len).max().unwrap_or_default();
    let mut everything = object("everything.csv", 1, &[]);
    let mut expected = Vec::new();
    for row in 0..=most {
        let mut cells = vec![Some(row.to_string())];
        // The last row, and whatever is past a type's values, is NULL.
        cells.extend(values.iter().map(|values| values.get(row).cloned()));
        expected.push(cells.clone());
        everything.rows.push((row as u64 + 2, cells));
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    for (generation, mode) in [(1, Mode::Append), (2, upsert(&["id"])), (3, Mode::Replace)] {
        let everything = everything.clone().generation(generation);
        load(bench, "everything", mode.clone(), &names, &[everything]).await;
        let rows = bench.query(&format!("SELECT {} FROM everything ORDER BY id", names.join(", "))).await;
        assert_eq!(rows.len(), expected.len(), "{mode:?}");
        for (row, expected) in rows.iter().zip(&expected) {
            for ((cell, expected), column) in row.iter().zip(expected).zip(&columns) {
                assert_eq!(cell, expected, "{mode:?} {:?}", column.ty);
            }
        }
    }
}

/// DECIMAL of every width and both signs.
pub async fn decimals_keep_every_digit(bench: &dyn Bench) {
    for (precision, scale) in [(1, 0), (1, 1), (4, 4), (5, 2), (9, 9), (10, 1), (18, 18), (19, 3), (38, 0), (38, 38)] {
        if !bench.holds_decimal(precision, scale) {
            continue;
        }
        let table = format!("d{precision}_{scale}");
        bench.execute(&format!("CREATE TABLE {table} (v DECIMAL({precision}, {scale}))")).await;
        let values = extremes(&ColumnType::Decimal { precision, scale });
        // A pure fraction is shown with or without a zero before its point.
        let plain = |text: &str| text.replacen("0.", ".", usize::from(text.trim_start_matches('-').starts_with("0.")));
        let rows: Vec<&str> = values.iter().map(String::as_str).collect();
        load(bench, &table, Mode::Append, &["v"], &[object("d", 1, &rows)]).await;
        let mut found: Vec<String> = rows_of(bench, &format!("SELECT v FROM {table}")).await;
        let mut expected: Vec<String> = rows.iter().map(|row| plain(row)).collect();
        found = found.iter().map(|value| plain(value)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "DECIMAL({precision}, {scale})");
    }
}

/// Text is bytes in UTF-8, whatever they mean elsewhere.
pub async fn texts_keep_every_character(bench: &dyn Bench) {
    let (type_sql, bytes) = bench.longest_text();
    bench.execute(&format!("CREATE TABLE t (id INTEGER, v {type_sql})")).await;
    let long = "ß".repeat(bytes / 2);
    let texts = [
        "",
        " ",
        "\\N",
        "\\",
        "'",
        "\"",
        "a\tb\nc\rd",
        "NULL",
        "\u{feff}x",
        "\u{10ffff}",
        "é",
        "e\u{301}",
        long.as_str(),
    ];
    let mut object = object("t", 1, &[]);
    for (index, text) in texts.iter().enumerate() {
        object.rows.push((index as u64 + 1, vec![Some(index.to_string()), Some((*text).to_owned())]));
    }
    load(bench, "t", Mode::Append, &["id", "v"], &[object]).await;
    let rows = bench.query("SELECT v FROM t ORDER BY id").await;
    let found: Vec<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(found, texts);
}

/// Schemas, tables and columns may have any name.
pub async fn odd_names_are_quoted(bench: &dyn Bench) {
    bench.execute("CREATE SCHEMA \"Odd \"\"Schema\"").await;
    let table = "\"Odd \"\"Schema\".\"select ; -- 'x'\"";
    bench
        .execute(&format!("CREATE TABLE {table} (\"a \"\"b\" INTEGER, \"from\" VARCHAR, \"Ünïcode, x\" INTEGER)"))
        .await;
    let columns = ["a \"b", "from", "Ünïcode, x"];
    for (generation, mode) in [
        (1, Mode::Append),
        (2, upsert(&["a \"b", "from"])),
        (3, upsert_by(&["a \"b"], "Ünïcode, x")),
        (4, Mode::Replace),
    ] {
        let objects = [object("o", 1, &["1|x|2", "1|x|3"]).generation(generation)];
        load(bench, table, mode, &columns, &objects).await;
    }
    // Partly, so that the row is changed in place.
    let objects = [object("p", 2, &["1|y"])];
    load(bench, table, upsert(&["a \"b"]), &["a \"b", "from"], &objects).await;
    assert!(bench.row_count(table).await >= 1);
    let described = bench.warehouse().describe(&name(table)).await.expect("a table");
    let names: Vec<_> = described.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, columns);
}

/// `Orders` and `orders` are one table, unquoted, to the ledger as well.
pub async fn names_compare_as_the_warehouse_compares_them(bench: &dyn Bench) {
    bench.execute("CREATE TABLE orders (id INTEGER)").await;
    load(bench, "Orders", Mode::Append, &["id"], &[object("a", 1, &["1"])]).await;
    let answer = try_load(bench, "ORDERS", Mode::Append, &["id"], &[object("a", 1, &["1"])]).await;
    assert!(matches!(answer, Ok(Committed::AlreadyIn(_))));
    let table = bench.warehouse().describe(&name("oRders")).await.expect("a table");
    assert_eq!(table.name.name, "orders");
    let again: TableName = table.name.to_string().parse().expect("a qualified name parses");
    assert_eq!(bench.warehouse().describe(&again).await.expect("the same table").name, table.name);
    assert_eq!(table.name.to_string().parse::<QualifiedName>().as_ref(), Ok(&table.name));
}

/// A type that Longshore does not know is read by the warehouse; what it cannot read is refused by
/// line, never changed.
pub async fn the_text_route_reads_what_it_can_and_refuses_the_rest(bench: &dyn Bench) {
    for (index, route) in bench.text_routes().into_iter().enumerate() {
        let table = format!("route{index}");
        bench.execute(&format!("CREATE TABLE {table} (id INTEGER, v {})", route.type_sql)).await;
        let described = bench.warehouse().describe(&name(&table)).await.expect("a table");
        assert_eq!(described.columns[1].ty, ColumnType::Other, "{}", route.type_sql);
        for (generation, mode) in [(1, Mode::Append), (2, upsert(&["id"])), (3, Mode::Replace)] {
            let mut good = object("good", 1, &[]).generation(generation);
            for (row, (text, _)) in route.good.iter().enumerate() {
                good.rows.push((row as u64 + 2, vec![Some(row.to_string()), Some((*text).to_owned())]));
            }
            good.rows.push((99, vec![Some("99".to_owned()), None]));
            load(bench, &table, mode.clone(), &["id", "v"], &[good.clone()]).await;
            let rows = bench.query(&format!("SELECT v FROM {table} ORDER BY id")).await;
            let found: Vec<Option<&str>> = rows.iter().map(|row| row[0].as_deref()).collect();
            let mut expected: Vec<Option<&str>> = route.good.iter().map(|(_, shown)| Some(*shown)).collect();
            expected.push(None);
            assert_eq!(found, expected, "{} {mode:?}", route.type_sql);
            for (n, bad) in route.bad.iter().enumerate() {
                let mut object = object("bad", 10 + n as i64, &[]).generation(generation);
                object.rows = good.rows.clone();
                object.rows.push((123, vec![Some("123".to_owned()), Some((*bad).to_owned())]));
                let answer = try_load(bench, &table, mode.clone(), &["id", "v"], &[object]).await;
                let place = refused_at(answer);
                assert_eq!(place, (Some(0), Some(123), Some("v".to_owned())), "{} {bad:?}", route.type_sql);
            }
            assert_eq!(bench.row_count(&table).await, expected.len() as u64);
        }
    }
}

/// A text that begins with a byte order mark keeps it, even where it is the first of all that travels.
pub async fn a_text_that_begins_with_a_byte_order_mark_keeps_it(bench: &dyn Bench) {
    for (table, mode) in [("marks1", Mode::Append), ("marks2", upsert(&["v"])), ("marks3", Mode::Replace)] {
        bench.execute(&format!("CREATE TABLE {table} (v VARCHAR(20) NOT NULL, n INTEGER)")).await;
        let mut marked = object("marked", 1, &[]);
        let texts = ["\u{feff}a", "\u{feff}b"];
        let cells = |text: &str| vec![Some(text.to_owned()), Some("1".to_owned())];
        marked.rows.extend(texts.iter().zip(2..).map(|(text, line)| (line, cells(text))));
        load(bench, table, mode, &["v", "n"], &[marked]).await;
        assert_eq!(rows_of(bench, &format!("SELECT v FROM {table} ORDER BY v")).await, texts, "{table}");
    }
}

/// Keys of every type are compared as the target compares them.
pub async fn a_key_on_the_text_route_or_of_any_type_merges(bench: &dyn Bench) {
    let warehouse = bench.warehouse();
    for (index, ty) in bench.types().into_iter().enumerate() {
        if matches!(ty, ColumnType::Json) {
            // Not every engine compares documents.
            continue;
        }
        let table = format!("keyed{index}");
        let columns = vec![
            NewColumn { name: "k".to_owned(), ty: ty.clone(), nullable: true },
            NewColumn { name: "v".to_owned(), ty: ColumnType::Int32, nullable: true },
        ];
        bench.execute(&warehouse.create_table_sql(&NewTable { name: name(&table), columns })).await;
        let keys = extremes(&ty);
        for generation in [1, 2] {
            let mut object = object("k", 1, &[]).generation(generation);
            for (row, key) in keys.iter().chain(&keys).enumerate() {
                object.rows.push((row as u64 + 2, vec![Some(key.clone()), Some(generation.to_string())]));
            }
            let receipt = load(bench, &table, upsert(&["k"]), &["k", "v"], &[object]).await;
            let entry = &receipt.entries[0];
            assert_eq!(entry.rows_duplicate, keys.len() as u64, "{ty:?}");
            assert_eq!(entry.rows_loaded, keys.len() as u64, "{ty:?}");
        }
        assert_eq!(bench.row_count(&table).await, keys.len() as u64, "{ty:?}");
    }
}

/// `init` proposes a table; once it is made, describing it gives it back.
pub async fn a_proposed_table_is_described_as_proposed(bench: &dyn Bench) {
    let warehouse = bench.warehouse();
    let columns: Vec<NewColumn> = bench
        .types()
        .into_iter()
        .enumerate()
        .map(|(index, ty)| NewColumn { name: format!("Column {index}"), ty, nullable: index != 1 })
        .collect();
    let new = NewTable { name: name("proposed"), columns };
    let sql = warehouse.create_table_sql(&new);
    bench.execute(&sql).await;
    let kept = |name: &str| if bench.keeps_case() { name.to_owned() } else { name.to_ascii_lowercase() };
    assert!(sql.contains("proposed") && sql.contains(&kept("\"Column 1\"")), "{sql}");
    let table = warehouse.describe(&name("proposed")).await.expect("a table");
    assert_eq!(table.columns.len(), new.columns.len());
    for (column, new) in table.columns.iter().zip(&new.columns) {
        assert_eq!((&column.name, column.nullable), (&kept(&new.name), new.nullable));
        // Where the engine keeps no length, any text will do.
        let is_text =
            |ty: &ColumnType| matches!(ty, ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Char { .. });
        assert!(column.ty == new.ty || (is_text(&column.ty) && is_text(&new.ty)), "{column:?} {new:?}");
    }
    assert!(table.unique_keys.is_empty() && table.referenced_by.is_empty());
}

/// Rows are read for the table as it is described; what it became meanwhile may not take them for something else.
pub async fn a_column_that_got_another_type_since_the_rows_were_read_takes_none_of_them(bench: &dyn Bench) {
    let zoned = "TIMESTAMP WITH TIME ZONE";
    for (was, is) in [("TIMESTAMP", zoned), (zoned, "TIMESTAMP"), ("INTEGER", "BIGINT"), ("DATE", "VARCHAR(20)")] {
        let cell = match was {
            "INTEGER" => "7",
            "TIMESTAMP" => "2024-02-29 12:34:56",
            "DATE" => "2024-02-29",
            _ => "2024-02-29 12:34:56+00",
        };
        let objects = [object("changed", 1, &[&format!("1|{cell}")])];
        bench.execute(&format!("CREATE TABLE t (id INTEGER, v {was})")).await;
        let warehouse = bench.warehouse();
        let spec = plan(warehouse.as_ref(), "t", Mode::Append, &["id", "v"], &objects).await;
        let read_for = warehouse.describe(&name("t")).await.expect("a table");
        bench.execute("DROP TABLE t").await;
        bench.execute(&format!("CREATE TABLE t (id INTEGER, v {is})")).await;
        let mut load = open(warehouse.as_ref(), spec.clone()).await;
        let answer = write_all(&mut load, &read_for, &spec, &objects, 1).await;
        let error = answer.expect_err("this has to be refused");
        assert_eq!(error.kind(), &Kind::Conflict, "{was} to {is}");
        assert!(error.to_string().contains("`v` got another type"), "{error}");
        load.rollback().await.expect("nothing is left");
        assert_eq!(bench.row_count("t").await, 0, "{was} to {is}");
        bench.execute("DROP TABLE t").await;
    }
}
