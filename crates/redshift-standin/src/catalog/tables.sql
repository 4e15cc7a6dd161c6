-- What is done to tables beyond the statements of the server behind. What Redshift keeps of a table and PostgreSQL
-- cannot goes into comments on its columns, which come and go with it.

-- Keeps what a statement says of a table. Columns of which something is known are left as they are.
CREATE FUNCTION standin.remember(relation text, columns text, dist_key text, sort_key text, style text, source text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id oid := relation::regclass;
    one jsonb;
    nth int := 0;
    is_new boolean := obj_description(id) IS NULL;
BEGIN
    FOR one IN SELECT * FROM jsonb_array_elements(columns::jsonb) LOOP
        IF col_description(id, (SELECT attnum FROM pg_attribute WHERE attrelid = id AND attname = one ->> 0)) IS NULL THEN
            EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, one ->> 0, one ->> 1);
        END IF;
    END LOOP;
    PERFORM standin.fit(relation);
    IF NOT is_new THEN
        RETURN;
    END IF;
    IF dist_key IS NOT NULL THEN
        PERFORM standin.note(id, relation, dist_key, '{"distkey": true}');
    END IF;
    FOR one IN SELECT * FROM jsonb_array_elements(sort_key::jsonb) LOOP
        nth := nth + 1;
        PERFORM standin.note(id, relation, one #>> '{}', jsonb_build_object('sortkey', nth));
    END LOOP;
    IF source IS NOT NULL THEN
        style := obj_description(source::regclass)::jsonb ->> 'style';
    END IF;
    EXECUTE format('COMMENT ON TABLE %s IS %L', relation,
        jsonb_build_object('style', coalesce(CASE WHEN dist_key IS NOT NULL THEN 'KEY(' || dist_key || ')' END, style, 'AUTO(ALL)')));
END $$;
CREATE FUNCTION standin.note(id oid, relation text, name text, more jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number int := (SELECT attnum FROM pg_attribute WHERE attrelid = id AND attname = name AND attnum > 0 AND NOT attisdropped);
BEGIN
    IF number IS NULL THEN
        RAISE EXCEPTION 'column "%" named in key does not exist', name USING ERRCODE = '42703';
    END IF;
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, name,
        coalesce(col_description(id, number)::jsonb, '{}') || more);
END $$;

-- What a type of Redshift allows beyond the type behind: lengths in bytes, ASCII alone, 64 bits for 19 digits.
-- Blanks too many at the end of a text are cut off.
CREATE FUNCTION standin.fit(relation text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
    size text;
    rule text;
    cut text;
BEGIN
    FOR one IN
        SELECT a.attnum, a.attname, col_description(a.attrelid, a.attnum)::jsonb ->> 'type' AS type
        FROM pg_attribute a
        WHERE a.attrelid = relation::regclass AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid
                AND c.conname IN ('standin_len_' || a.attnum, 'standin_big_' || a.attnum))
    LOOP
        rule := NULL;
        cut := NULL;
        size := substring(one.type FROM '\d+');
        IF one.type ~ '^character varying\(' THEN
            rule := format('standin_len_%s CHECK (octet_length(%I) <= %s)', one.attnum, one.attname, size);
            cut := format('CREATE TRIGGER standin_fit_%s BEFORE INSERT OR UPDATE ON %s FOR EACH ROW
                WHEN (octet_length(NEW.%I) > %s) EXECUTE FUNCTION standin.fit_row(%L, %L)', one.attnum, relation,
                one.attname, size, one.attnum, size);
        ELSIF one.type ~ '^character\(' THEN
            rule := format('standin_len_%1$s CHECK (octet_length(%2$I::text) = char_length(%2$I::text))', one.attnum,
                one.attname);
        ELSIF one.type ~ '^binary varying\(' THEN
            rule := format('standin_len_%s CHECK (octet_length(%I) <= %s)', one.attnum, one.attname, size);
        ELSIF one.type ~ '^numeric\(19,' THEN
            rule := format('standin_big_%s CHECK (abs(%I) <= %s)', one.attnum, one.attname,
                9223372036854775807::numeric * (10::numeric ^ (-substring(one.type FROM ',(\d+)')::int)));
        END IF;
        IF rule IS NOT NULL THEN
            BEGIN
                EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %s NOT VALID', relation, rule);
                IF cut IS NOT NULL THEN
                    EXECUTE cut;
                END IF;
            EXCEPTION WHEN duplicate_object THEN
                -- Another session made the same table at the same time.
            END;
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION standin.fit_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    name text := (SELECT attname FROM pg_attribute WHERE attrelid = TG_RELID AND attnum = TG_ARGV[0]::int);
    length int := TG_ARGV[1];
    value text;
BEGIN
    EXECUTE format('SELECT textin(bpcharout(($1).%I))', name) INTO value USING NEW;
    value := rtrim(value, ' ');
    IF octet_length(value) <= length THEN
        value := value || repeat(' ', length - octet_length(value));
        NEW := jsonb_populate_record(NEW, jsonb_build_object(name, value));
    END IF;
    RETURN NEW;
END $$;

-- A table made from a query: each column has the type of the one that it comes from. `origins` has the table, the
-- number of the column, and the type and its modifier behind.
CREATE FUNCTION standin.carry(relation text, origins text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one jsonb;
    nth int := 0;
    known jsonb;
    name text;
BEGIN
    FOR one IN SELECT * FROM jsonb_array_elements(origins::jsonb) LOOP
        nth := nth + 1;
        name := (SELECT attname FROM pg_attribute WHERE attrelid = relation::regclass AND attnum = nth);
        known := col_description((one ->> 0)::oid, (one ->> 1)::int)::jsonb;
        IF known ? 'type' THEN
            known := jsonb_build_object('type', known -> 'type');
        ELSIF (one ->> 2)::oid IN ('text'::regtype, 'varchar'::regtype, 'name'::regtype, 'bytea'::regtype,
                'standin.super'::regtype, 'interval'::regtype, 'unknown'::regtype)
            OR (one ->> 2)::oid IN ('bpchar'::regtype, 'numeric'::regtype) AND (one ->> 3)::int = -1 THEN
            RAISE EXCEPTION 'stand-in: not modelled: the type of the column %, which is no column of a table', name
                USING ERRCODE = 'LS000';
        ELSE
            known := jsonb_build_object('type', format_type((one ->> 2)::oid, (one ->> 3)::int));
        END IF;
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, name, known);
    END LOOP;
END $$;

CREATE FUNCTION standin.must_exist(relation text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM relation::regclass;
END $$;
CREATE FUNCTION standin.may_truncate(relation text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = relation::regclass) <> 'r' THEN
        RAISE EXCEPTION '% is not a table', relation USING ERRCODE = '42809';
    END IF;
    IF NOT has_table_privilege(relation::regclass, 'TRUNCATE') THEN
        RAISE EXCEPTION 'permission denied for relation %', relation USING ERRCODE = '42501';
    END IF;
END $$;
CREATE FUNCTION standin.may_alter(relation text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = relation::regclass) THEN
        RAISE EXCEPTION 'must be owner of relation %', relation USING ERRCODE = '42501';
    END IF;
END $$;
CREATE FUNCTION standin.may_key(relation text, columns text, is_primary boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
    is_not_null boolean;
BEGIN
    PERFORM standin.may_alter(relation);
    FOR name IN SELECT * FROM jsonb_array_elements_text(columns::jsonb) LOOP
        SELECT attnotnull INTO is_not_null FROM pg_attribute
            WHERE attrelid = relation::regclass AND attname = name AND attnum > 0 AND NOT attisdropped;
        IF is_not_null IS NULL THEN
            RAISE EXCEPTION 'column "%" named in key does not exist', name USING ERRCODE = '42703';
        END IF;
        IF is_primary AND NOT is_not_null THEN
            RAISE EXCEPTION 'stand-in: not modelled: a primary key of columns that may be NULL' USING ERRCODE = 'LS000';
        END IF;
    END LOOP;
END $$;
-- Redshift moves blocks: both tables have to be alike in all that their columns have.
CREATE FUNCTION standin.may_append(target text, source text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tables oid[] := ARRAY[target::regclass::oid, source::regclass::oid];
    differ int;
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = ANY (tables) AND (relkind <> 'r' OR relpersistence <> 'p')) THEN
        RAISE EXCEPTION 'ALTER TABLE APPEND is for permanent tables' USING ERRCODE = '0A000';
    END IF;
    IF tables[1] = tables[2] THEN
        RAISE EXCEPTION 'ALTER TABLE APPEND needs two tables' USING ERRCODE = '0A000';
    END IF;
    PERFORM standin.may_alter(source);
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = ANY (tables) AND attidentity <> '') THEN
        RAISE EXCEPTION 'stand-in: not modelled: ALTER TABLE APPEND with IDENTITY' USING ERRCODE = 'LS000';
    END IF;
    SELECT count(*) INTO differ FROM (
        SELECT row_number() OVER (ORDER BY attnum) AS nth, attname, atttypid, atttypmod, attnotnull,
            col_description(attrelid, attnum)::jsonb AS known
        FROM pg_attribute WHERE attrelid = tables[1] AND attnum > 0 AND NOT attisdropped) a
    FULL JOIN (
        SELECT row_number() OVER (ORDER BY attnum) AS nth, attname, atttypid, atttypmod, attnotnull,
            col_description(attrelid, attnum)::jsonb AS known
        FROM pg_attribute WHERE attrelid = tables[2] AND attnum > 0 AND NOT attisdropped) b USING (nth)
    WHERE (a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.known) IS DISTINCT FROM
        (b.attname, b.atttypid, b.atttypmod, b.attnotnull, b.known);
    IF differ > 0 OR (obj_description(tables[1]) IS DISTINCT FROM obj_description(tables[2])) THEN
        RAISE EXCEPTION 'ALTER TABLE APPEND needs tables whose columns are alike' USING ERRCODE = '0A000';
    END IF;
END $$;
CREATE FUNCTION standin.widen(relation text, name text, length int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id oid := relation::regclass;
    number int := (SELECT attnum FROM pg_attribute WHERE attrelid = id AND attname = name AND attnum > 0 AND NOT attisdropped);
    known jsonb := col_description(id, number)::jsonb;
BEGIN
    PERFORM standin.may_alter(relation);
    IF number IS NULL THEN
        RAISE EXCEPTION 'column "%" of relation "%" does not exist', name, relation USING ERRCODE = '42703';
    END IF;
    IF known ->> 'type' !~ '^character varying' THEN
        RAISE EXCEPTION 'ALTER COLUMN TYPE changes the size of a VARCHAR only' USING ERRCODE = '0A000';
    END IF;
    IF substring(known ->> 'type' FROM '\d+')::int > length
        OR known ->> 'encoding' IN ('bytedict', 'runlength', 'text255', 'text32k')
        OR EXISTS (SELECT FROM pg_attrdef WHERE adrelid = id AND adnum = number) THEN
        RAISE EXCEPTION 'stand-in: not modelled: a shorter text, or one with a default or such an encoding'
            USING ERRCODE = 'LS000';
    END IF;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT standin_len_%s', relation, number);
    EXECUTE format('DROP TRIGGER standin_fit_%s ON %s', number, relation);
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', relation, name,
        known || jsonb_build_object('type', format('character varying(%s)', length)));
    PERFORM standin.fit(relation);
END $$;
-- MERGE … REMOVE DUPLICATES: both tables have columns alike. Whether a key may be in the source twice is not
-- documented.
CREATE FUNCTION standin.may_merge(target text, source text, keys text, may_repeat boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    types text[];
    is_twice boolean := false;
BEGIN
    SELECT array_agg(t) INTO types FROM (
        SELECT string_agg(atttypid::text, ' ' ORDER BY attnum) AS t FROM pg_attribute
        WHERE attrelid IN (target::regclass, source::regclass) AND attnum > 0 AND NOT attisdropped GROUP BY attrelid) x;
    IF types[1] <> types[2] THEN
        RAISE EXCEPTION 'MERGE with REMOVE DUPLICATES needs tables with as many columns of the same types'
            USING ERRCODE = '42601';
    END IF;
    IF NOT may_repeat THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %s GROUP BY %s HAVING count(*) > 1)', source, keys) INTO is_twice;
    END IF;
    IF is_twice THEN
        RAISE EXCEPTION 'Found multiple matches to update the same tuple.' USING ERRCODE = 'XX000';
    END IF;
END $$;
