use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/project"), &|name| (name == "SHOP").then(|| "acme".to_owned()))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const SMALL: &str = r#"
[bucket]
url = "./bucket"

[[pipeline]]
name = "orders"
match = "orders-*.csv"
table = "orders"
mode = "append"
"#;

#[test]
fn defaults_make_a_small_file_enough() {
    let config = parse(SMALL).unwrap();
    let Engine::DuckDb { path, memory_limit, threads: None } = config.warehouse.engine else {
        panic!("expected DuckDB")
    };
    assert_eq!((path.as_path(), memory_limit), (Path::new("/project/warehouse.duckdb"), MEMORY_LIMIT));
    assert_eq!(config.journal, Path::new("/project/.longshore/journal.db"));
    assert_eq!(config.bucket.prefixes.pending, "pending/");
    assert_eq!(config.pipelines[0].repeat, OnRepeat::Skip);
    assert!(config.pipelines[0].matcher.takes("orders-1.csv"));
    assert!(!config.pipelines[0].matcher.takes("a/orders-1.csv"));
}

#[test]
fn every_fault_is_reported_at_once_with_its_line_and_a_cure() {
    let text = r#"
[bucket]
url = "./bucket"
procesed = "done/"
settle = 3

[[pipeline]]
name = "orders"
match = "*.csv"
table = "a b"
mode = "upsert"
csv = { delimeter = ";" }
"#;
    insta::assert_snapshot!(parse(text).unwrap_err(), @r###"
    line 4: `bucket.procesed`: unknown setting; did you mean `processed`?
    line 5: `bucket.settle`: expected a span of time such as `"2s"` or `"30m"`, found a number
    line 7: `pipeline.orders.key`: is missing: `upsert` needs the columns by which a row is found; `key = ["id"]`
    line 10: `pipeline.orders.table`: `a b` is not a table name: a name ends at its closing quote, a space or a dot; write `table`, `schema.table` or `schema."Table"`
    line 12: `pipeline.orders.csv.delimeter`: unknown setting; did you mean `delimiter`?
    "###);
}

#[test]
fn the_environment_is_read() {
    let config = parse(&SMALL.replace("./bucket", "s3://${SHOP}-landing")).unwrap();
    let Place::S3(s3) = config.bucket.place else { panic!("expected S3") };
    assert_eq!(s3.bucket, "acme-landing");
    let error = parse(&SMALL.replace("./bucket", "${NOBODY}")).unwrap_err();
    assert!(error.contains("`NOBODY` is not set"), "{error}");
}

#[test]
fn prefixes_that_would_load_what_was_written_are_refused() {
    for (bad, part) in [
        ("pending = \"\"", "must not be empty"),
        ("processed = \"pending/done\"", "lies under `pending`"),
        ("pending = \"a/b/\"\nfailed = \"a/\"", "holds `pending`"),
        ("failed = \"x/\"\nrejected = \"x/y/\"", "overlaps `failed`"),
    ] {
        let error = parse(&SMALL.replace("url =", &format!("{bad}\nurl ="))).unwrap_err();
        assert!(error.contains(part), "{bad}: {error}");
    }
}

#[test]
fn the_rules_hash_ignores_order_and_white_space() {
    let a = parse(SMALL).unwrap();
    let b = parse(&SMALL.replace("table = \"orders\"\nmode = \"append\"", "mode =   \"append\"\ntable = \"orders\""))
        .unwrap();
    let c = parse(&SMALL.replace("\"append\"", "\"replace\"")).unwrap();
    assert_eq!(a.pipelines[0].rules_hash, b.pipelines[0].rules_hash);
    assert_ne!(a.pipelines[0].rules_hash, c.pipelines[0].rules_hash);
}

/// What is said of [`SMALL`] with further settings of its pipeline.
fn fault(settings: &str) -> String {
    match parse(&format!("{SMALL}{settings}\n")) {
        Ok(_) => "fine".to_owned(),
        Err(faults) => faults,
    }
}

#[test]
fn settings_without_a_meaning_are_refused() {
    for (settings, part) in [
        ("late = \"load\"", "only with `mode = \"upsert\"`"),
        ("allow_empty = true", "only with `mode = \"replace\"`"),
        ("key = [\"id\"]", "only with `mode = \"upsert\"`"),
        ("order_by = \"ts\"", "only with `mode = \"upsert\"`"),
        ("regex = '.*'", "stands beside `match`"),
        ("max_rejects = \"101%\"", "expected a number of rows"),
        ("max_rejects = -1", "max_rejects"),
        ("group = { objects = 0 }", "from 1 to 10,000"),
        ("group = { bytes = \"65 MiB\" }", "at most 64 MiB"),
        ("fill = { a = { capture = \"x\" } }", "no group of this pipeline's `regex`"),
        ("fill = { a = { metadata = \"_longshore_lin\" } }", "_longshore_line"),
        ("csv = { quote = \"ab\" }", "one ASCII character"),
        ("csv = { encoding = \"utf-9\" }", "no encoding"),
        ("csv = { timezone = \"Europe/Berln\" }", "no time zone"),
        ("csv = { delimiter = \"\\\"\" }", "quote"),
        ("column = { total = { decimals = 1 } }", "unknown setting"),
    ] {
        let said = fault(settings);
        assert!(said.contains(part), "{settings}: {said}");
        assert!(said.starts_with("line "), "{settings}: {said}");
    }
}

#[test]
fn settings_with_a_meaning_are_taken() {
    for settings in [
        "max_rejects = 5",
        "max_rejects = \"0.5%\"",
        "repeat = \"fail\"",
        "columns = [\"a\", \"b\"]",
        "columns = { \"A b\" = \"a\", rest = false }",
        "csv = { header = \"auto\", null = [\"NULL\", \"-\"], quote = false }",
        "column.total = { decimal_comma = true, thousands = \".\" }",
        "fill = { a = \"x\", b = { metadata = \"_longshore_line\" } }",
        "group = { objects = 1, bytes = \"1 MiB\" }",
    ] {
        assert_eq!(fault(settings), "fine", "{settings}");
    }
}

#[test]
fn groups_are_larger_where_nothing_of_them_is_held() {
    let group =
        |text: &str| parse(text).map(|config| (config.pipelines[0].group.objects, config.pipelines[0].group.bytes));
    assert_eq!(group(SMALL), Ok((500, 14 << 20)));
    let redshift = |more: &str| {
        let warehouse = "[warehouse]\nurl = \"redshift://loader@c.example.com/db\"\niam_role = \"default\"\n\
            staging = \"s3://acme/staging/\"";
        SMALL.replace("[[pipeline]]", &format!("{warehouse}\n[[pipeline]]")) + more
    };
    assert_eq!(group(&redshift("")), Ok((10_000, 1 << 30)));
    assert_eq!(group(&redshift("group = { objects = 7 }")), Ok((7, 1 << 30)));
    assert_eq!(group(&redshift("group = { bytes = \"2 GiB\" }")), Ok((10_000, 2 << 30)));
    let slices = redshift("").replace("iam_role", "slices = 513\niam_role");
    assert!(group(&slices).unwrap_err().contains("between 1 and 512"));
}

#[test]
fn rejects_are_too_many_only_above_the_limit() {
    let percent = MaxRejects::PerMillion(250_000);
    assert!(!percent.is_exceeded(1, 4) && percent.is_exceeded(2, 7));
    assert!(!percent.is_exceeded(0, 0) && !MaxRejects::PerMillion(1_000_000).is_exceeded(3, 3));
    assert!(!MaxRejects::PerMillion(5_700).is_exceeded(57, 10_000), "0.57% is 57 of 10,000");
    assert!(!MaxRejects::Count(1).is_exceeded(1, 1) && MaxRejects::Count(0).is_exceeded(1, 1_000));
}

#[test]
fn schedules_of_project_and_pipeline() {
    let rules = |text: &str| {
        let config = parse(text).unwrap();
        let rules = crate::scheduler::schedules(&config);
        rules.into_iter().map(|(name, (schedule, _))| format!("{name}: {}", schedule.rule())).collect::<Vec<_>>()
    };
    assert_eq!(rules(SMALL), ["project: every 30s"]);
    assert_eq!(rules(&SMALL.replace("./bucket", "s3://acme")), ["project: every 5m"]);
    let own = format!("{SMALL}schedule = {{ cron = \"15 5 * * *\", timezone = \"America/New_York\" }}\n");
    assert_eq!(rules(&own), ["pipeline orders: cron \"15 5 * * *\" in America/New_York"]);
    assert_eq!(
        rules(&format!("[schedule]\nevery = \"30m\"\njitter = \"1m\"\n{SMALL}")),
        ["project: every 30m with up to 1m of jitter"]
    );
}

#[test]
fn schedules_and_workers_that_make_no_sense_are_refused() {
    for (bad, part) in [
        ("[schedule]\nevery = \"1h\"\ncron = \"* * * * *\"", "`every` is set too"),
        ("[schedule]\nevery = \"1ms\"", "must be at least 100 ms"),
        ("[schedule]\ncron = \"61 * * * *\"", "`61` is no minute"),
        ("[schedule]\ncron = \"0 3 30 2 *\"", "line 2: `schedule.cron`"),
        ("[schedule]\ncron = \"@daily\"\ntimezone = \"Mars/Base\"", "Mars/Base"),
        ("[schedule]\nevery = \"1h\"\ntimezone = \"UTC\"", "only with `cron`"),
        ("[schedule]\njitter = \"1s\"", "only with `every` or `cron`"),
        ("[schedule]\nevery = \"1s\"\njitter = \"2s\"", "longer than `every`"),
        ("[schedule]\nevry = \"1s\"", "did you mean `every`?"),
        ("[worker]\nconcurrency = 0", "must be at least 1"),
        ("[worker]\nshutdown = 3", "expected a span of time"),
    ] {
        let error = parse(&format!("{bad}\n{SMALL}")).unwrap_err();
        assert!(error.contains(part), "{bad}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn one_table_has_one_name() {
    let second = "[[pipeline]]\nname = \"more\"\nmatch = \"more-*.csv\"\ntable = \"main.Orders\"\nmode = \"append\"\n";
    let error = parse(&format!("{SMALL}\n{second}")).unwrap_err();
    assert!(error.contains("look like one table under two names"), "{error}");
    parse(&format!("{SMALL}\n{second}").replace("\"orders\"\nmode", "\"MAIN.orders\"\nmode")).unwrap();
    parse(&format!("{SMALL}\n{}", second.replace("main.Orders", "reorders"))).unwrap();
}

#[test]
fn a_postgres_url_is_read_and_its_password_shown_nowhere() {
    let with = |warehouse: &str| parse(&format!("{SMALL}\n[warehouse]\n{warehouse}\n"));
    let config = with("url = \"postgres://loader:s3cret@db.example.com:5433/shop?sslmode=require\"").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let Engine::Postgres(postgres) = config.warehouse.engine else { panic!("expected PostgreSQL") };
    assert_eq!(postgres.describe(), "loader@db.example.com:5433/shop");
    let wrong = with("url = \"postgres://loader:s3cret@db/shop?sslmod=require\"\nthreads = 2").unwrap_err();
    assert!(!wrong.contains("s3cret"), "{wrong}");
    insta::assert_snapshot!(wrong, @"
    line 12: `warehouse.url`: the URL has a parameter `sslmod`, which does not exist; did you mean `sslmode`?
    line 13: `warehouse.threads`: has no meaning for PostgreSQL; remove it
    ");
}
