//! `postgres://` URLs, in the forms that libpq takes, and `redshift://` URLs, which are the same.
//!
//! ```text
//! postgres://[user[:password]@][host[:port],…][/database][?name=value[&…]]
//! ```
//!
//! No part of a URL is repeated in an error: a password with a character that ought to be
//! percent-encoded makes the parts lie elsewhere than they seem.

use crate::ConfigError;
use crate::parameter::{Dialect, Origin, Values, honoured};

/// Takes a URL apart.
pub(crate) fn parse(url: &str) -> Result<Values, ConfigError> {
    let (rest, dialect) = if let Some(rest) = url.strip_prefix("redshift://") {
        (rest, Dialect::Redshift)
    } else {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        (rest.ok_or(ConfigError::NotAUrl)?, Dialect::Postgres)
    };
    let mut values = Values::of(dialect);

    // Like libpq, user and password end at the first `@` before any `/`.
    let (userinfo, rest) = match rest.find(['@', '/']) {
        Some(at) if rest.as_bytes()[at] == b'@' => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        set(&mut values, "user", user)?;
        set(&mut values, "password", password)?;
    }

    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    // libpq would take what stands before such an `@` for a host or a database: mostly it is a
    // password.
    if before.contains('@') {
        return Err(ConfigError::Encoding { what: "it has an `@` that does not end the password" });
    }
    let (hosts, database) = before.split_once('/').unwrap_or((before, ""));
    set_hosts(&mut values, hosts)?;
    set(&mut values, "dbname", database)?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        set_parameter(&mut values, pair)?;
    }
    Ok(values)
}

/// One `name=value`.
fn set_parameter(values: &mut Values, pair: &str) -> Result<(), ConfigError> {
    let (name, value) = pair
        .split_once('=')
        .filter(|(name, value)| !name.contains('@') && !value.contains('='))
        .ok_or(ConfigError::Encoding { what: "after the `?` it has something else than `name=value`" })?;
    let name = decode(name)?;
    // As JDBC writes it.
    if name == "ssl" && value == "true" {
        values.set("sslmode", "require".to_owned(), Origin::Url);
        return Ok(());
    }
    values.set(honoured(&name)?, decode(value)?, Origin::Url);
    Ok(())
}

/// Takes hosts and ports apart, and keeps each list in the form that the `host` and `port` parameters have.
fn set_hosts(values: &mut Values, list: &str) -> Result<(), ConfigError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for one in list.split(',') {
        let (host, port) = split_host(one)?;
        hosts.push(decode(host)?);
        ports.push(decode(port)?);
    }
    let (hosts, ports) = (hosts.join(","), ports.join(","));
    if !hosts.is_empty() {
        values.set("host", hosts, Origin::Url);
    }
    if !ports.is_empty() {
        values.set("port", ports, Origin::Url);
    }
    Ok(())
}

/// Splits `host:port` or `[host]:port`.
fn split_host(one: &str) -> Result<(&str, &str), ConfigError> {
    let Some(bracketed) = one.strip_prefix('[') else {
        return Ok(one.split_once(':').unwrap_or((one, "")));
    };
    let fault = ConfigError::Encoding { what: "an IPv6 address is not closed by `]`, or more than a port follows it" };
    match bracketed.split_once(']') {
        Some((host, "")) if !host.is_empty() => Ok((host, "")),
        Some((host, port)) if !host.is_empty() => Ok((host, port.strip_prefix(':').ok_or(fault)?)),
        _ => Err(fault),
    }
}

/// Sets a parameter from a part of the URL. An empty part says nothing.
fn set(values: &mut Values, name: &'static str, part: &str) -> Result<(), ConfigError> {
    if !part.is_empty() {
        values.set(name, decode(part)?, Origin::Url);
    }
    Ok(())
}

/// Undoes percent-encoding. A `+` stays a `+`.
fn decode(part: &str) -> Result<String, ConfigError> {
    let fault = |what| Err(ConfigError::Encoding { what });
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return fault("it has a `%` without two hexadecimal digits");
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
        rest = &rest[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => fault("it has `%00`, and no part may hold a zero byte"),
        Ok(text) => Ok(text),
        Err(_) => fault("a part is not UTF-8 once its percent-encoding is undone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a URL says, as `name=value` in the order of names.
    fn said(url: &str) -> String {
        let values = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let names = crate::parameter::HONOURED.iter().map(|(name, _)| *name);
        let said = names.filter_map(|name| values.get(name).map(|value| format!("{name}={value}")));
        said.collect::<Vec<_>>().join(" ")
    }

    /// Vectors of libpq's documentation and of its own test suite (`libpq/t/001_uri.pl`).
    #[test]
    fn urls_mean_what_they_mean_to_libpq() {
        for (url, expected) in [
            ("postgresql://", ""),
            ("postgres://", ""),
            ("postgresql:///", ""),
            ("postgresql://localhost", "host=localhost"),
            ("postgresql://localhost:5433", "host=localhost port=5433"),
            ("postgresql://localhost/mydb", "dbname=mydb host=localhost"),
            ("postgresql://user@localhost", "host=localhost user=user"),
            ("postgresql://user:secret@localhost", "host=localhost password=secret user=user"),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "application_name=myapp connect_timeout=10 dbname=otherdb host=localhost user=other",
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
                "application_name=myapp dbname=somedb host=host1,host2 port=123,456 target_session_attrs=any",
            ),
            (
                "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3doff",
                "dbname=mydb host=localhost options=-c synchronous_commit=off port=5433 user=user",
            ),
            ("postgresql:///mydb?host=localhost&port=5433", "dbname=mydb host=localhost port=5433"),
            ("postgresql://[2001:db8::1234]/database", "dbname=database host=2001:db8::1234"),
            ("postgresql:///dbname?host=/var/lib/postgresql", "dbname=dbname host=/var/lib/postgresql"),
            ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "dbname=dbname host=/var/lib/postgresql"),
            (
                "postgresql://uri-user:secret@host:12345/db",
                "dbname=db host=host password=secret port=12345 user=uri-user",
            ),
            ("postgresql://uri-user@host:12345/", "host=host port=12345 user=uri-user"),
            ("postgresql://uri-user@/", "user=uri-user"),
            ("postgresql://host:12345?user=uri-user", "host=host port=12345 user=uri-user"),
            ("postgresql://host?", "host=host"),
            ("postgresql://[::1]:12345/db", "dbname=db host=::1 port=12345"),
            ("postgresql://[::1]?host=host", "host=host"),
            ("postgres://[::1],[::2]:7", "host=::1,::2 port=,7"),
            ("postgres:///?ssl=true", "sslmode=require"),
            ("postgres://user:@host", "host=host user=user"),
            ("postgres://user%3Aname:p%40s%2Fs@h", "host=h password=p@s/s user=user:name"),
            ("postgres://u:a?b:c@h", "host=h password=a?b:c user=u"),
            ("postgres://h/d+b", "dbname=d+b host=h"),
            ("postgres://?hostaddr=127.0.0.1", "hostaddr=127.0.0.1"),
        ] {
            assert_eq!(said(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_any_part_of_the_url() {
        for url in [
            "http://hunter2",
            "postgres://u:hunter2/3@host/db",
            "postgres://u:p@hunter2@host/db",
            "postgres://u:hunter2%@host",
            "postgres://u:hunter2%zz@host",
            "postgres://u:hunter2%00@host",
            "postgres://u:hunter2%ff@host",
            "postgres://[hunter2",
            "postgres://[]:hunter2",
            "postgres://[::1]hunter2",
            "postgres://h?hunter2",
            "postgres://h?user=hunter2=3",
            "postgres://u:p/a?x@hunter2=1",
        ] {
            let error = parse(url).err().unwrap_or_else(|| panic!("{url} is taken"));
            let said = format!("{error} {error:?} {:?}", error.hint());
            assert!(!said.contains("hunter2"), "{url}: {said}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_nearest_name() {
        let error = parse("postgres://h?ssl_mode=require").err().expect("refused");
        assert_eq!(error.to_string(), "the URL has a parameter `ssl_mode`, which does not exist");
        assert_eq!(error.hint().as_deref(), Some("did you mean `sslmode`?"));
        let error = parse("postgres://h?gssencmode=disable").err().expect("refused");
        assert_eq!(error.to_string(), "the parameter `gssencmode` of libpq is not supported here");
        let error = parse("postgres://h?service=prod").err().expect("refused");
        assert!(matches!(error, ConfigError::Service { from: "the URL" }), "{error:?}");
    }
}
