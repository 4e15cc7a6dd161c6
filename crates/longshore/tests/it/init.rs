//! `longshore init`: what it proposes has to check, and to load the very files without rejects.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of #[test] functions")]

use crate::harness::Project;

/// A folder without a project in it.
fn folder() -> Project {
    let project = Project::new("");
    std::fs::remove_file(project.path("longshore.toml")).unwrap();
    std::fs::remove_dir_all(project.path("bucket")).unwrap();
    project
}

fn put(project: &Project, name: &str, body: impl AsRef<[u8]>) {
    let path = project.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body).unwrap();
}

/// Proposes, copies the files, checks, loads; every row of every file has to be in.
fn bring_in(project: &Project) {
    project.run(&["init", "in", "--apply"]).exits(0);
    copy(project);
    project.run(&["check"]).exits(0);
    project.load().never_says("reject");
}

fn copy(project: &Project) {
    for file in crate::harness::files(&project.path("in")) {
        let body = std::fs::read(project.path("in").join(&file)).unwrap();
        put(project, &format!("bucket/pending/{file}"), body);
    }
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    let settled = config.replace("url = \"./bucket\"", "url = \"./bucket\"\nsettle = \"0s\"");
    project.write_config(&settled);
}

/// Columns of a table with their types.
fn columns(project: &Project, table: &str) -> String {
    project
        .rows(&format!(
            "SELECT column_name || ' ' || data_type FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index"
        ))
        .join(", ")
}

#[test]
fn types_come_from_the_whole_file_and_codes_stay_text() {
    let project = folder();
    let mut text = "id,code,day,total,paid,nothing,note\n".to_owned();
    for n in 0..20_000 {
        text += &format!("{n},{n:05},2025-01-01,{n}.5,true,,\"two\nlines\"\n");
    }
    text += "20000,00001,2025-12-31,123456.789,false,,x\n";
    put(&project, "in/sales.csv", &text);
    bring_in(&project);
    assert_eq!(
        columns(&project, "sales"),
        "id INTEGER, code VARCHAR, day DATE, total DECIMAL(11,3), paid BOOLEAN, nothing VARCHAR, note VARCHAR"
    );
    assert_eq!(
        project.value("SELECT count(*), min(code), max(total), count(nothing) FROM sales"),
        "20001|00000|123456.789|0"
    );
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    assert!(config.contains("# key  = [\"id\"]"), "{config}");
}

#[test]
fn files_from_all_over_load_as_they_are() {
    let project = folder();
    let cologne = encoding_rs::WINDOWS_1252
        .encode("datum;betrag;ort\n2025-01-01;1,50;Köln\n2025-01-02;20,75;Zürich\n")
        .0
        .into_owned();
    put(&project, "in/umsatz.csv", cologne);
    let mut wide = vec![0xFF, 0xFE];
    wide.extend("code\tnäme\n001\tä\n002\tö\n".encode_utf16().flat_map(u16::to_le_bytes));
    put(&project, "in/wide.tsv", wide);
    put(&project, "in/nohead.csv", "1,00123,2025-01-01T10:00:00Z,\n2,00456,2025-01-02T10:00:00Z,\n");
    put(&project, "in/dup.csv", "a,a,\n1,2,3\n");
    put(&project, "in/odd [1] {x},$.csv", "Order Total,\"it's \"\"quoted\"\"\",select\n1,2,3\n");
    put(&project, "in/mixed.csv", "a;b;c\n1,5;2.5;x\n2,5;3.5;y\n");
    put(&project, "in/order.csv", "group,table\n1,2\n");
    bring_in(&project);
    assert_eq!(project.rows("SELECT * FROM umsatz ORDER BY 1"), ["2025-01-01|1.50|Köln", "2025-01-02|20.75|Zürich"]);
    assert_eq!(project.rows("SELECT * FROM wide ORDER BY 1"), ["001|ä", "002|ö"]);
    assert_eq!(
        columns(&project, "nohead"),
        "column_1 INTEGER, column_2 VARCHAR, column_3 TIMESTAMP WITH TIME ZONE, column_4 VARCHAR"
    );
    assert_eq!(project.rows("SELECT * FROM dup"), ["1|2|3"]);
    assert_eq!(project.rows("SELECT a, b FROM mixed ORDER BY 1"), ["1.5|2.5", "2.5|3.5"]);
    assert_eq!(project.rows("SELECT * FROM \"order\""), ["1|2"]);
}

#[test]
fn files_of_one_name_and_like_columns_are_one_feed() {
    let project = folder();
    put(&project, "in/orders-2025-01.csv", "id,total\n1,1.5\n2,2\n");
    put(&project, "in/orders-2025-02.csv", "total,ID,note\n12345.25,2,late\n");
    put(&project, "in/orders-returns-1.csv", "id,why\n1,broken\n");
    put(&project, "in/2025/01/stock.csv", "sku,n\nA,1\n");
    put(&project, "in/2025/02/stock.csv", "sku,n\nA,2\n");
    bring_in(&project);
    let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
    assert!(config.contains("match = \"orders-[0-9]*.csv\""), "{config}");
    assert!(config.contains("match = \"*/*/stock.csv\""), "{config}");
    assert_eq!(project.rows("SELECT * FROM orders ORDER BY id, total"), ["1|1.50|-", "2|2.00|-", "2|12345.25|late"]);
    assert_eq!(project.value("SELECT count(*) FROM stock"), "2");
    assert!(config.contains("comes once in each file and again in later ones"), "{config}");
}

#[test]
fn another_header_under_the_same_name_is_another_pipeline() {
    let project = folder();
    put(&project, "in/orders-1.csv", "id,total\n1,1.5\n");
    put(&project, "in/orders-2.csv", "sku,color\nA,red\n");
    put(&project, "in/orders-3.csv", "id,total\n2,1.5\n");
    bring_in(&project);
    assert_eq!(project.value("SELECT count(*) FROM orders"), "2");
    assert_eq!(project.value("SELECT count(*) FROM orders_2"), "1");
}

#[test]
fn what_is_no_csv_is_left_out_with_a_reason() {
    let project = folder();
    put(&project, "in/good.csv", "a,b\n1,2\n");
    put(&project, "in/empty.csv", "");
    put(&project, "in/junk.csv", (0..=255_u8).cycle().take(5_000).collect::<Vec<u8>>());
    put(&project, "in/book.csv", b"PK\x03\x04 and so on");
    put(&project, "in/cut.csv.gz", b"\x1F\x8B\x08\x00\x00");
    put(&project, "in/open.csv", "a,b\n\"1,2\n");
    put(&project, "in/README.txt", "read\nme\n");
    let ran = project.run(&["init", "in", "--json"]).exits(0);
    let proposal = ran.json();
    assert_eq!(proposal["pipelines"].as_array().unwrap().len(), 1);
    let left: Vec<&str> =
        proposal["left_out"].as_array().unwrap().iter().map(|one| one["file"].as_str().unwrap()).collect();
    for file in ["empty.csv", "junk.csv", "book.csv", "cut.csv.gz", "open.csv", "README.txt"] {
        assert!(left.contains(&file), "{file} is not in {left:?}");
    }
}

#[test]
fn without_files_there_is_no_project() {
    let project = folder();
    project.run(&["init", "in"]).exits(2).says("there is no folder `in`").says("hint: ");
    std::fs::create_dir(project.path("in")).unwrap();
    project.run(&["init", "in"]).exits(2).says("there is no CSV file").says("hint: ");
    put(&project, "file.csv", "a\n1\n");
    project.run(&["init", "file.csv"]).exits(2).says("`file.csv` is no folder");
    project.run(&["init", ".", "--bucket", "ftp://x"]).exits(2).says("no bucket that is known");
    project.run(&["init", ".", "--warehouse", "oracle:x"]).exits(2).says("warehouse");
    assert!(!project.path("longshore.toml").exists());
}

#[test]
fn files_that_are_there_are_not_overwritten() {
    let project = folder();
    put(&project, "in/a.csv", "x\n1\n");
    put(&project, "longshore.toml", "mine");
    project.run(&["init", "in"]).exits(2).says("`longshore.toml` is there already").says("--force");
    project.run(&["init", "in", "--force", "--apply"]).exits(0).prints("created the table `a`");
    let first = std::fs::read_to_string(project.path("migrations/V1__initial_tables.sql")).unwrap();
    project.run(&["init", "in", "--force", "--apply"]).exits(0).prints("left the table `a` alone");
    put(&project, "in/b.csv", "y\n1\n");
    project.run(&["init", "in", "--force"]).exits(0).prints("wrote `migrations/V2__b.sql`");
    // A proposal that was never applied may be written over, one that was never is.
    put(&project, "in/b.csv", "y,z\n1,2\n");
    project.run(&["init", "in", "--force", "--apply"]).exits(0).prints("created the table `b`");
    assert_eq!(std::fs::read_to_string(project.path("migrations/V1__initial_tables.sql")).unwrap(), first);
    assert_eq!(columns(&project, "b"), "y INTEGER, z INTEGER");
    assert_eq!(crate::harness::files(&project.path("migrations")), ["V1__initial_tables.sql", "V2__b.sql"]);
}

#[test]
fn what_was_proposed_is_applied_later() {
    let project = folder();
    put(&project, "in/a.csv", "x\n1\n");
    project
        .run(&["init", "in"])
        .exits(0)
        .prints("wrote `migrations/V1__initial_tables.sql`")
        .prints("longshore init --apply");
    project.run(&["init", "--apply"]).exits(0).prints("created the table `a`");
    project.run(&["init", "--apply"]).exits(0).prints("left the table `a` alone");
}

#[test]
fn a_migration_is_named_as_the_project_names_its_own() {
    let project = folder();
    put(&project, "in/people.csv", "id\n1\n");
    put(&project, "sql/V3.1__legacy.sql", "CREATE TABLE legacy (id INTEGER);\n");
    put(&project, "flyway.conf", "flyway.locations=filesystem:sql\n");
    project
        .run(&["init", "in", "--apply"])
        .exits(0)
        .prints("wrote `sql/V4__people.sql`")
        .prints("created the table `people`");
    assert_eq!(project.value("SELECT count(*) FROM legacy"), "0");
}

#[test]
fn a_migration_that_would_not_be_applied_is_not_kept() {
    let project = Project::new(
        "[[pipeline]]\nname = \"a\"\nmatch = \"a.csv\"\ntable = \"a\"\nmode = \"append\"\n\n[migrate]\ntarget = \"1?\"\n",
    );
    put(&project, "migrations/V1__first.sql", "CREATE TABLE first (id INTEGER);\n");
    project.drop("a.csv", "id\n1\n");
    project.run(&["init", "--apply"]).exits(2).says("would not be applied by the project's settings").says("`target`");
    assert_eq!(crate::harness::files(&project.path("migrations")), ["V1__first.sql"]);
}

#[test]
fn tables_that_are_there_need_no_migration() {
    let project = folder();
    put(&project, "in/orders.csv", "id\n1\n");
    project.sql("CREATE TABLE orders (id INTEGER)");
    project.run(&["init", "in"]).exits(0).never_says("migrations");
    assert!(!project.path("migrations").exists());
    copy(&project);
    project.load();
}

#[test]
fn pending_of_a_bucket_is_looked_at_in_place() {
    let project = folder();
    put(&project, "landing/pending/a-1.csv", "x,y\n1,2\n");
    for folder in ["landing/pending", "landing"] {
        project.run(&["init", folder, "--force", "--apply"]).exits(0).prints("match    a-*.csv");
        let config = std::fs::read_to_string(project.path("longshore.toml")).unwrap();
        assert!(config.contains("url = \"./landing\""), "{config}");
    }
    project.run(&["check"]).exits(0);
    project.run(&["init", "--bucket", "./landing", "--force"]).exits(0).prints("match    a-*.csv");
}

#[test]
fn a_missing_table_is_proposed_and_the_object_stays() {
    let project = Project::new(
        "[[pipeline]]\nname = \"orders\"\nmatch = \"orders-*.csv\"\ntable = \"sales.orders\"\nmode = \"upsert\"\nkey = [\"id\"]\n\
         columns = { \"Order No\" = \"id\", junk = false }\ncsv = { delimiter = \";\", decimal_comma = true }\n\
         fill = { source = { metadata = \"_longshore_object\" } }\n",
    );
    project.drop("orders-1.csv", "Order No;total;junk\n1;2,50;x\n2;12345,5;y\n");
    project.drop("orders-2.csv", "Order No;total;junk\n3;1;x\n");
    project
        .load_some()
        .says("CREATE TABLE sales.orders (")
        .says("id     INTEGER NOT NULL")
        .says("total  DECIMAL(9, 2)")
        .says("source VARCHAR")
        .never_says("junk  ");
    assert_eq!(project.keys(), ["pending/orders-1.csv", "pending/orders-2.csv"]);
    project
        .run(&["init", "--apply"])
        .exits(0)
        .prints("wrote `migrations/V1__initial_tables.sql`")
        .prints("created the table `sales.orders`");
    project.load();
    assert_eq!(
        project.rows("SELECT * FROM sales.orders ORDER BY id"),
        ["1|2.50|pending/orders-1.csv", "2|12345.50|pending/orders-1.csv", "3|1.00|pending/orders-2.csv"]
    );
}

#[test]
fn a_table_for_which_nothing_waits_is_said_to_be_missing() {
    let project = Project::new("[[pipeline]]\nname = \"a\"\nmatch = \"a.csv\"\ntable = \"a\"\nmode = \"append\"\n");
    project.run(&["init", "--apply"]).exits(1).says("no file for it waits");
}

#[test]
fn one_feed_has_one_encoding_however_late_it_shows() {
    let project = folder();
    let late = |name: &str| {
        let mut text = "id,name\n".to_owned();
        for n in 0..40_000 {
            text += &format!("{n},plain\n");
        }
        text + &format!("40000,{name}\n")
    };
    let latin = |text: &str| encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
    put(&project, "in/a-1.csv", "id,name\n1,plain\n");
    put(&project, "in/a-2.csv", latin(&late("Köln")));
    put(&project, "in/a-3.csv", latin("id,name\n3,Zürich\n"));
    put(&project, "in/b-1.csv", "id,name\n1,plain\n");
    put(&project, "in/b-2.csv", late("Köln"));
    bring_in(&project);
    assert_eq!(project.rows("SELECT id, name FROM a WHERE name <> 'plain' ORDER BY id"), ["3|Zürich", "40000|Köln"]);
    assert_eq!(project.rows("SELECT name FROM b WHERE name <> 'plain'"), ["Köln"]);
}

#[test]
fn what_waits_on_s3_is_looked_at_there() {
    let project = Project::on_s3(crate::s3::Settings::default(), "");
    project.drop("orders-1.csv", "id,total\n1,2.50\n");
    project.drop("orders-2.csv", "id,total\n2,100.50\n");
    let endpoint = project.store().endpoint().to_owned();
    let ran = project.run_with(
        &["init", "--bucket", "s3://landing", "--force", "--json"],
        &[("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_REGION", "us-east-2")],
    );
    let proposal = ran.exits(0).json();
    assert_eq!(proposal["pipelines"][0]["match"], "orders-*.csv");
    assert_eq!(proposal["pipelines"][0]["rows"], 2);
}
