-- What Redshift has and PostgreSQL lacks: views by Redshift's names, and what is kept for them.
CREATE SCHEMA standin;
GRANT USAGE ON SCHEMA standin TO PUBLIC;

-- A type of its own, so that it is told from a text: nothing compares it.
CREATE TYPE standin.super;
CREATE FUNCTION standin.super_in(cstring) RETURNS standin.super LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION standin.super_out(standin.super) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE standin.super (INPUT = standin.super_in, OUTPUT = standin.super_out, LIKE = text);
CREATE CAST (standin.super AS text) WITHOUT FUNCTION;
CREATE CAST (text AS standin.super) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (standin.super AS bpchar) WITHOUT FUNCTION;
CREATE CAST (bpchar AS standin.super) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE TABLE standin.users (name text PRIMARY KEY, password text NOT NULL);

CREATE TABLE standin.load_errors (
    user_name text, query_id bigint, transaction_id bigint, session_id int, database_name text, table_id bigint,
    start_time timestamp, file_name text, line_number bigint, column_name text, column_type text,
    column_length text, position bigint, raw_line text, raw_value text, error_code int, error_message text);
CREATE TABLE standin.load_history (
    user_name text, query_id bigint, transaction_id bigint, session_id int, database_name text, status text,
    table_name text, start_time timestamp, end_time timestamp, data_source text, file_format text, loaded_rows bigint,
    loaded_bytes bigint, source_file_count bigint, source_file_bytes bigint, file_count_scanned bigint, error_count bigint);
CREATE TABLE standin.load_files (
    user_name text, query_id bigint, file_name text, lines_scanned bigint, status int, at timestamp);
CREATE TABLE standin.transactions (
    user_name text, database_name text, transaction_id bigint, session_id int, started timestamp, table_name text);
CREATE TABLE standin.queries (
    user_name text, query_id bigint, transaction_id bigint, session_id int, database_name text, start_time timestamp,
    query_text text);

CREATE FUNCTION standin.is_mine(user_name text) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT user_name = session_user OR (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) $$;

CREATE VIEW standin.sys_load_error_detail AS
    SELECT 100 AS user_id, query_id, transaction_id, session_id, database_name::char(64) AS database_name,
        table_id, start_time, left(file_name, 256)::char(256) AS file_name, line_number,
        column_name::char(127) AS column_name, column_type::char(10) AS column_type,
        column_length::char(10) AS column_length, position, error_code, error_message::char(512) AS error_message
    FROM standin.load_errors WHERE standin.is_mine(user_name);
CREATE VIEW standin.stl_load_errors AS
    SELECT 100 AS userid, 0 AS slice, table_id AS tbl, start_time AS starttime, session_id AS session,
        query_id AS query, left(file_name, 256)::char(256) AS filename, line_number, column_name::char(127) AS colname,
        column_type::char(10) AS type, column_length::char(10) AS col_length, position,
        raw_line::char(1024) AS raw_line, raw_value::char(1024) AS raw_field_value, error_code AS err_code,
        error_message::char(100) AS err_reason, 0 AS is_partial, 0::bigint AS start_offset, 0::bigint AS copy_job_id
    FROM standin.load_errors WHERE standin.is_mine(user_name);
CREATE VIEW standin.sys_load_history AS
    SELECT 100 AS user_id, query_id, transaction_id, session_id, database_name, status, table_name, start_time, end_time,
        data_source, file_format, loaded_rows, loaded_bytes, source_file_count, source_file_bytes, file_count_scanned,
        error_count, 0::bigint AS copy_job_id
    FROM standin.load_history WHERE standin.is_mine(user_name);
CREATE VIEW standin.sys_load_detail AS
    SELECT 100 AS user_id, query_id, left(file_name, 256)::char(256) AS file_name, lines_scanned, status, at AS record_time
    FROM standin.load_files WHERE standin.is_mine(user_name);
CREATE VIEW standin.stl_load_commits AS
    SELECT 100 AS userid, query_id AS query, 0 AS slice, left(file_name, 256)::char(256) AS filename, lines_scanned,
        status, at AS curtime
    FROM standin.load_files WHERE standin.is_mine(user_name);

-- Transactions that changed rows, and the statements by which: of what else they lock and run nothing is kept.
CREATE VIEW standin.svv_transactions AS
    SELECT user_name AS txn_owner, database_name AS txn_db, transaction_id AS xid, session_id AS pid,
        started AS txn_start, 'ShareRowExclusiveLock'::text AS lock_mode, 'relation'::text AS lockable_object_type,
        to_regclass(table_name)::oid AS relation, true AS granted
    FROM standin.transactions WHERE standin.is_mine(user_name);
CREATE VIEW standin.sys_query_history AS
    SELECT 100 AS user_id, query_id, transaction_id, session_id, database_name::char(128) AS database_name, start_time,
        query_text::char(4000) AS query_text
    FROM standin.queries WHERE standin.is_mine(user_name);

-- One row for each column that the user may see, with what is kept of it in its comment.
CREATE VIEW standin.columns AS
    SELECT n.nspname AS schema_name, c.relname AS table_name, c.oid AS table_id, a.attname AS column_name, a.attnum,
        (row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum))::int AS ordinal_position,
        a.attnotnull AS is_not_null, k.known,
        coalesce(k.known ->> 'type', CASE WHEN a.atttypid = 'bpchar'::regtype AND a.atttypmod = -1
            THEN 'character varying(65535)' ELSE format_type(a.atttypid, a.atttypmod) END) AS full_type,
        CASE
            WHEN k.known ? 'identity' AND a.attidentity <> '' THEN format('"identity"(%s, %s, ''%s,%s''::text)',
                c.oid, a.attnum - 1, k.known -> 'identity' ->> 0, k.known -> 'identity' ->> 1)
            WHEN k.known ? 'default_identity' AND a.attidentity <> '' THEN format(
                '"default_identity"(%s, %s, ''%s,%s''::text)',
                c.oid, a.attnum - 1, k.known -> 'default_identity' ->> 0, k.known -> 'default_identity' ->> 1)
            ELSE (SELECT replace(pg_get_expr(d.adbin, d.adrelid), 'standin.', '') FROM pg_attrdef d
                WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum)
        END AS column_default
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    CROSS JOIN LATERAL (SELECT coalesce(col_description(c.oid, a.attnum)::jsonb, '{}') AS known) k
    WHERE c.relkind IN ('r', 'v') AND n.nspname NOT IN ('standin', 'pg_catalog', 'information_schema', 'pg_toast')
        AND (pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, REFERENCES'))
        AND (n.nspname !~ '^pg_temp_' OR n.oid = pg_my_temp_schema());

CREATE VIEW standin.svv_columns AS
    SELECT current_database()::text AS table_catalog, schema_name AS table_schema, table_name, column_name,
        ordinal_position, column_default,
        CASE WHEN is_not_null THEN 'NO' ELSE 'YES' END AS is_nullable,
        regexp_replace(full_type, '\(.*\)', '') AS data_type,
        CASE WHEN full_type ~ '^char' THEN substring(full_type FROM '\((\d+)\)')::int END AS character_maximum_length,
        CASE WHEN full_type ~ '^numeric' THEN substring(full_type FROM '\((\d+),')::int
            ELSE (CASE full_type WHEN 'smallint' THEN 16 WHEN 'integer' THEN 32 WHEN 'bigint' THEN 64 END) END
            AS numeric_precision,
        CASE WHEN full_type ~ '^numeric' THEN substring(full_type FROM ',(\d+)\)')::int
            WHEN full_type IN ('smallint', 'integer', 'bigint') THEN 0 END AS numeric_scale,
        NULL::text AS remarks
    FROM standin.columns;
CREATE VIEW standin.svv_all_columns AS
    SELECT table_catalog AS database_name, table_schema AS schema_name, table_name, column_name, ordinal_position,
        column_default, is_nullable, data_type, character_maximum_length, numeric_precision, numeric_scale, remarks
    FROM standin.svv_columns;
CREATE VIEW standin.is_columns AS SELECT * FROM standin.svv_columns;
CREATE VIEW standin.svv_tables AS
    SELECT DISTINCT table_catalog, table_schema, table_name, 'BASE TABLE'::text AS table_type, NULL::text AS remarks
    FROM standin.svv_columns;
CREATE VIEW standin.is_tables AS SELECT table_catalog, table_schema, table_name, table_type FROM standin.svv_tables;
CREATE VIEW standin.pg_table_def AS
    SELECT schema_name AS schemaname, table_name AS tablename, column_name AS "column", full_type AS type,
        coalesce(known ->> 'encoding', 'none') AS encoding, known ? 'distkey' AS distkey,
        coalesce((known ->> 'sortkey')::int, 0) AS sortkey, is_not_null AS "notnull"
    FROM standin.columns
    WHERE schema_name = ANY (current_schemas(false)::text[] || 'pg_catalog'::text)
        OR schema_name ~ '^pg_temp_';
CREATE FUNCTION standin.rows_of(schema name, relation name) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I.%I', schema, relation) INTO n;
    RETURN n;
END $$;
-- Empty tables are left out. The columns about blocks and statistics are not modelled.
CREATE VIEW standin.svv_table_info AS
    SELECT * FROM (
        SELECT current_database()::text AS database, schema_name::text AS schema, table_id::bigint AS table_id,
            table_name::text AS "table",
            CASE WHEN bool_or(coalesce(known ->> 'encoding', 'raw') <> 'raw') THEN 'Y' ELSE 'N' END AS encoded,
            coalesce(max(obj_description(table_id)::jsonb ->> 'style'), 'AUTO(ALL)') AS diststyle,
            coalesce(max(column_name::text) FILTER (WHERE known ->> 'sortkey' = '1'), 'AUTO(SORTKEY)') AS sortkey1,
            count(*) FILTER (WHERE known ? 'sortkey')::int AS sortkey_num,
            coalesce(max(substring(full_type FROM '^character varying\((\d+)')::int), 0) AS max_varchar,
            standin.rows_of(schema_name, table_name)::numeric(38, 0) AS tbl_rows
        FROM standin.columns WHERE schema_name !~ '^pg_temp_' AND pg_relation_size(table_id) > 0
        GROUP BY schema_name, table_id, table_name) t
    WHERE tbl_rows > 0;

CREATE FUNCTION standin.isolation() RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT coalesce(current_setting('standin.isolation', true), 'Snapshot Isolation') $$;
CREATE VIEW standin.stv_db_isolation_level AS
    SELECT current_database()::text AS db_name, standin.isolation() AS isolation_level;
CREATE VIEW standin.svv_redshift_databases AS
    SELECT current_database()::text AS database_name, 100 AS database_owner, 'local'::text AS database_type,
        NULL::text AS database_acl, NULL::text AS database_options, standin.isolation() AS database_isolation_level;

GRANT SELECT ON ALL TABLES IN SCHEMA standin TO PUBLIC;
REVOKE ALL ON standin.transactions, standin.queries FROM PUBLIC;
REVOKE ALL ON standin.users, standin.load_errors, standin.load_history, standin.load_files, standin.svv_table_info FROM PUBLIC;

CREATE FUNCTION standin.create_user(name text, password text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RAISE EXCEPTION 'must be superuser to create users' USING ERRCODE = '42501';
    END IF;
    IF EXISTS (SELECT FROM standin.users u WHERE u.name = create_user.name) THEN
        RAISE EXCEPTION 'user "%" already exists', name USING ERRCODE = '42710';
    END IF;
    -- Roles are of the whole server behind, users of this database.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
        END;
    END IF;
    EXECUTE format('GRANT CREATE, USAGE ON SCHEMA public TO %I', name);
    INSERT INTO standin.users VALUES (name, password);
END $$;
