-- Functions of Redshift. Texts are `bpchar` behind, so that blanks at the end do not count when they are compared;
-- all functions keep them.
CREATE FUNCTION standin.last_copy_id() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT coalesce(nullif(current_setting('standin.last_copy_id', true), ''), '-1')::bigint $$;
CREATE FUNCTION standin.last_copy_count() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT coalesce(nullif(current_setting('standin.last_copy_count', true), ''), '0')::bigint $$;

CREATE FUNCTION standin.v(bpchar) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT textin(bpcharout($1)) $$;
CREATE FUNCTION standin.len(bpchar) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT length(standin.v($1)) $$;
CREATE FUNCTION standin.length(bpchar) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT length(standin.v($1)) $$;
CREATE FUNCTION standin.octet_length(bpchar) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT octet_length(standin.v($1)) $$;
CREATE FUNCTION standin.octet_length(bytea) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT octet_length($1) $$;
CREATE FUNCTION standin.upper(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT upper(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.lower(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT lower(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.md5(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT md5(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.btrim(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT btrim(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.ltrim(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT ltrim(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.rtrim(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT rtrim(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.btrim(bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT btrim(standin.v($1), standin.v($2))::bpchar $$;
CREATE FUNCTION standin.ltrim(bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT ltrim(standin.v($1), standin.v($2))::bpchar $$;
CREATE FUNCTION standin.rtrim(bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT rtrim(standin.v($1), standin.v($2))::bpchar $$;
CREATE FUNCTION standin.joined(bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT (standin.v($1) || standin.v($2))::bpchar $$;
CREATE OPERATOR standin.|| (LEFTARG = bpchar, RIGHTARG = bpchar, FUNCTION = standin.joined);
-- Whole numbers are texts beside a text, as in PostgreSQL of Redshift's age. How others are written is not modelled.
CREATE FUNCTION standin.joined(bpchar, bigint) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT standin.joined($1, $2::text::bpchar) $$;
CREATE FUNCTION standin.joined(bigint, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT standin.joined($1::text::bpchar, $2) $$;
CREATE OPERATOR standin.|| (LEFTARG = bpchar, RIGHTARG = bigint, FUNCTION = standin.joined);
CREATE OPERATOR standin.|| (LEFTARG = bigint, RIGHTARG = bpchar, FUNCTION = standin.joined);
CREATE FUNCTION standin.concat(bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT standin.joined($1, $2) $$;
CREATE FUNCTION standin.left(bpchar, int) RETURNS bpchar LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF $2 < 0 THEN
        RAISE EXCEPTION 'stand-in: not modelled: LEFT of less than nothing' USING ERRCODE = 'LS000';
    END IF;
    RETURN left(standin.v($1), $2);
END $$;
CREATE FUNCTION standin.right(bpchar, int) RETURNS bpchar LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF $2 < 0 THEN
        RAISE EXCEPTION 'stand-in: not modelled: RIGHT of less than nothing' USING ERRCODE = 'LS000';
    END IF;
    RETURN right(standin.v($1), $2);
END $$;
CREATE FUNCTION standin.lpad(bpchar, int) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(standin.v($1), $2)::bpchar $$;
CREATE FUNCTION standin.rpad(bpchar, int) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT rpad(standin.v($1), $2)::bpchar $$;
CREATE FUNCTION standin.lpad(bpchar, int, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT lpad(standin.v($1), $2, standin.v($3))::bpchar $$;
CREATE FUNCTION standin.rpad(bpchar, int, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT rpad(standin.v($1), $2, standin.v($3))::bpchar $$;
CREATE FUNCTION standin.repeat(bpchar, int) RETURNS bpchar LANGUAGE sql IMMUTABLE AS $$ SELECT repeat(standin.v($1), $2)::bpchar $$;
CREATE FUNCTION standin.replace(bpchar, bpchar, bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT replace(standin.v($1), standin.v($2), standin.v($3))::bpchar $$;
CREATE FUNCTION standin.strpos(bpchar, bpchar) RETURNS int LANGUAGE sql IMMUTABLE AS
    $$ SELECT strpos(standin.v($1), standin.v($2)) $$;
CREATE FUNCTION standin.substring(bpchar, int) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT substring(standin.v($1), $2)::bpchar $$;
CREATE FUNCTION standin.substring(bpchar, int, int) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT substring(standin.v($1), $2, $3)::bpchar $$;
CREATE FUNCTION standin.split_part(bpchar, bpchar, int) RETURNS bpchar LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF $3 < 1 THEN
        RAISE EXCEPTION 'field position must be greater than zero' USING ERRCODE = '22023';
    END IF;
    RETURN split_part(standin.v($1), standin.v($2), $3);
END $$;
CREATE FUNCTION standin.quote_ident(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT quote_ident(standin.v($1))::bpchar $$;
CREATE FUNCTION standin.quote_literal(bpchar) RETURNS bpchar LANGUAGE sql IMMUTABLE AS
    $$ SELECT ('''' || replace(replace(standin.v($1), '\', '\\'), '''', '''''') || '''')::bpchar $$;
-- A cast to VARCHAR cuts at so many bytes. Where it cuts a character in two is not documented.
CREATE FUNCTION standin.cut(bpchar, int) RETURNS bpchar LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    value text := standin.v($1);
    whole text := value;
BEGIN
    IF octet_length(value) > $2 THEN
        whole := left(value, $2);
        WHILE octet_length(whole) > $2 LOOP
            whole := left(whole, -1);
        END LOOP;
        IF octet_length(whole) < $2 THEN
            RAISE EXCEPTION 'stand-in: not modelled: a cast that cuts a character in two' USING ERRCODE = 'LS000';
        END IF;
    END IF;
    RETURN whole;
END $$;

CREATE FUNCTION standin.sysdate() RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT transaction_timestamp() AT TIME ZONE 'UTC' $$;
CREATE FUNCTION standin.getdate() RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT date_trunc('second', statement_timestamp() AT TIME ZONE 'UTC') $$;
CREATE FUNCTION standin.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
    $$ SELECT date_trunc($1, $2) $$;
CREATE FUNCTION standin.date_trunc(text, date) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
    $$ SELECT date_trunc($1, $2::timestamp) $$;
CREATE FUNCTION standin.json_parse(text) RETURNS standin.super LANGUAGE sql IMMUTABLE AS
    $$ SELECT $1::json::text::standin.super $$;
CREATE FUNCTION standin.json_serialize(standin.super) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1::text $$;
CREATE FUNCTION standin.to_hex(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT encode($1, 'hex') $$;
