use super::*;
use crate::gate::Mode;
use crate::token::statements;

fn known() -> Known {
    Known {
        mode: Mode::Provisioned,
        like_inherits_identity: false,
        source_keys_may_repeat: false,
        reading: crate::copy::Switches::default(),
    }
}

fn planned(sql: &str) -> Result<Change, Refusal> {
    plan(&statements(sql).unwrap()[0], &known())
}

fn reads(sql: &str) -> Vec<String> {
    planned(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}")).reads.iter().map(Name::sql).collect()
}

fn state(sql: &str) -> String {
    match planned(sql) {
        Ok(change) => panic!("{sql} passes as {}", change.sql),
        Err(refusal) => refusal.sqlstate,
    }
}

#[test]
fn a_name_of_with_can_be_seen_after_its_end_and_not_before() {
    assert_eq!(reads("WITH t AS (SELECT * FROM t) SELECT * FROM t"), ["\"t\""]);
    assert_eq!(reads("SELECT * FROM (WITH a AS (SELECT 1 AS n) SELECT n FROM a) x, a"), ["\"a\""]);
    assert_eq!(
        reads("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b JOIN s.b c ON true"),
        ["\"b\"", "\"s\".\"b\""]
    );
    assert_eq!(state("WITH pg_shadow AS (SELECT usename FROM pg_shadow) SELECT usename FROM pg_shadow"), "LS000");
    assert_eq!(state("WITH pg_shadow AS (SELECT 1 AS a) SELECT * FROM pg_catalog.pg_shadow"), "LS000");
}

#[test]
fn every_table_that_is_read_is_named() {
    assert_eq!(
        reads("SELECT (SELECT max(a) FROM b) FROM c WHERE EXISTS (SELECT 1 FROM d) AND x IN (SELECT y FROM e)"),
        ["\"b\"", "\"c\"", "\"d\"", "\"e\""]
    );
    assert_eq!(
        reads("SELECT 1 FROM (a JOIN b ON true) LEFT JOIN c USING (x) CROSS JOIN d"),
        ["\"a\"", "\"b\"", "\"c\"", "\"d\""]
    );
    assert_eq!(reads("DELETE FROM a USING b WHERE a.x = b.x"), ["\"a\"", "\"b\""]);
    assert_eq!(reads("(SELECT 1 FROM a) MINUS (SELECT 1 FROM b) ORDER BY 1"), ["\"a\"", "\"b\""]);
}

#[test]
fn what_the_grammar_does_not_know_does_not_pass() {
    for (sql, expected) in [
        ("SELECT 1 UNION ALL TABLE standin.users", "42601"),
        ("SELECT * FROM (TABLE t) x", "42601"),
        ("SELECT 1 UNION VALUES (2)", "LS000"),
        ("SELECT a FROM t EXCEPT ALL SELECT a FROM u", "42601"),
        ("SELECT a FROM t WHERE a = ANY ('{1}')", "LS000"),
        ("SELECT a FROM t WHERE a = ANY (b)", "LS000"),
        ("SELECT a FROM t WHERE 1 < ALL (ARRAY[1])", "LS000"),
        ("UPDATE t SET a = 1 FROM u LEFT JOIN v ON u.a = v.a WHERE t.a = u.a", "0A000"),
        ("UPDATE t SET (a, b) = (1, 2)", "42601"),
        ("SELECT a COLLATE \"C\" FROM t", "LS000"),
        ("SELECT t FROM t", "LS000"),
        ("SELECT count(x) FROM (SELECT 1 AS a) x", "LS000"),
        ("SELECT (SELECT t) FROM t", "LS000"),
        ("SELECT (t).a FROM t", "LS000"),
        ("SELECT x.row_to_json FROM (SELECT 1 AS a) x", "LS000"),
        ("SELECT (a, b) FROM t", "LS000"),
        ("SELECT \"ctid\" FROM t", "LS000"),
        ("SELECT TOP 5 a FROM t", "LS000"),
        ("SELECT a FROM t QUALIFY row_number() OVER (ORDER BY a) = 1", "LS000"),
        ("SELECT avg(a) FROM t", "LS000"),
        ("SELECT a / 3 FROM t", "LS000"),
        ("SELECT a FROM t WHERE b LIKE c", "LS000"),
        ("SELECT sum(a) OVER (ORDER BY a) FROM t", "42601"),
        ("SELECT current_schema FROM t", "0A000"),
        ("SELECT current_time, a FROM t", "0A000"),
        ("SELECT localtime FROM t", "0A000"),
        ("SELECT 1 FROM t JOIN pg_namespace n ON true", "0A000"),
        ("SELECT 1 FROM t, svv_columns", "0A000"),
        ("SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM pg_user)", "0A000"),
        ("SELECT 1 FROM t, sys_load_history", "LS000"),
        ("INSERT INTO t SELECT 1 FROM sys_load_history", "LS000"),
        ("SELECT a.b.c.d FROM t", "LS000"),
        ("SELECT a FROM t FETCH FIRST ROW ONLY", "42601"),
        ("SELECT a <@ b FROM t", "LS000"),
    ] {
        assert_eq!(state(sql), expected, "{sql}");
    }
    assert_eq!(state(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500))), "LS000");
}

#[test]
fn a_column_may_have_a_name_that_only_postgresql_keeps_for_itself() {
    for name in ["uuid", "window", "groups", "returning", "fetch", "variadic", "lateral"] {
        assert_eq!(reads(&format!("SELECT {name}, t.{name} FROM t WHERE {name} > 1")), ["\"t\""], "{name}");
    }
}

#[test]
fn a_column_that_may_be_a_function_is_looked_up() {
    let change = planned("SELECT x.count FROM t x").unwrap();
    assert_eq!(change.columns, [(Name { schema: None, name: "t".to_owned() }, "count".to_owned())]);
}

#[test]
fn expressions_are_written_as_they_mean() {
    for (sql, expected) in [
        ("'a' = 'a  '", "'a'::bpchar = 'a  '"),
        ("x = 'a  '", "\"x\" = 'a  '"),
        ("nvl(x, 1)", "coalesce ( \"x\" , 1 )"),
        ("a || b", "\"a\" OPERATOR(standin.||) \"b\""),
        ("x::varchar(3)", "standin.cut( ( \"x\" )::bpchar, 3) AS \"varchar\""),
        ("CAST(x AS decimal)", "( \"x\" )::numeric(18,0)"),
        ("x BETWEEN 1 AND 2 OR NOT y IS NULL", "\"x\" between 1 and 2 or not \"y\" is null"),
        ("position('a' in x)", "standin.strpos( \"x\" , 'a')"),
        ("getdate() - interval '1 day'", "standin.getdate ( ) - interval '1 day'"),
    ] {
        let sql = planned(&format!("SELECT {sql} FROM t")).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}")).sql;
        assert_eq!(sql, format!(" select {expected} from \"t\""), "{sql}");
    }
}
