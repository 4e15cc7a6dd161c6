//! JDBC URLs, as URLs of this project.

use secrecy::SecretString;

/// Where a database is, by a JDBC URL.
#[derive(Debug, Clone)]
pub struct Place {
    /// `postgres://…`, `redshift://…` or `duckdb:FILE`, without a password.
    pub url: String,
    /// The password that the URL holds.
    pub password: Option<SecretString>,
    /// The schema that comes first (`currentSchema`).
    pub schema: Option<String>,
    /// Parameters that have no meaning here.
    pub passed_over: Vec<String>,
}

/// Parameters that mean the same, by the name that libpq has for them.
const SAME: &[(&str, &str)] = &[
    ("sslmode", "sslmode"),
    ("sslrootcert", "sslrootcert"),
    ("sslcert", "sslcert"),
    ("sslkey", "sslkey"),
    ("ApplicationName", "application_name"),
    ("connectTimeout", "connect_timeout"),
    ("options", "options"),
    ("targetServerType", "target_session_attrs"),
];

/// Understands `jdbc:postgresql:`, `jdbc:redshift:` (with `:iam`) and `jdbc:duckdb:`, and the URLs of this project as they are.
///
/// # Errors
/// It is none of them: what is known.
pub fn place(url: &str, user: Option<&str>) -> Result<Place, String> {
    let Some(rest) = url.strip_prefix("jdbc:") else {
        return Ok(Place { url: url.to_owned(), password: None, schema: None, passed_over: Vec::new() });
    };
    let (kind, rest) = rest.split_once(':').unwrap_or((rest, ""));
    if kind == "duckdb" {
        return Ok(Place { url: format!("duckdb:{rest}"), password: None, schema: None, passed_over: Vec::new() });
    }
    if !matches!(kind, "postgresql" | "redshift") {
        return Err(format!(
            "`jdbc:{kind}:` is no database that is known here; known are `jdbc:postgresql:`, `jdbc:redshift:` and `jdbc:duckdb:`"
        ));
    }
    let rest = rest.strip_prefix("iam:").unwrap_or(rest);
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    // Without slashes the text is the database's name, on this machine.
    let (hosts, database) = match address.strip_prefix("//") {
        Some(address) => address.split_once('/').unwrap_or((address, "")),
        None => ("localhost", address.trim_start_matches('/')),
    };
    let of_amazon = |host: &str| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        [".redshift.amazonaws.com", ".redshift-serverless.amazonaws.com", ".redshift.amazonaws.com.cn"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let is_redshift = kind == "redshift" || hosts.split(',').any(|host| of_amazon(host) || host.ends_with(":5439"));
    let mut found = Place { url: String::new(), password: None, schema: None, passed_over: Vec::new() };
    let (mut own_user, mut kept, mut has_mode, mut is_ssl) = (user.map(str::to_owned), Vec::new(), false, false);
    for parameter in parameters.split(['&', ';']).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "user" | "UID" => own_user = own_user.or_else(|| Some(decoded(value))),
            "password" | "PWD" => found.password = Some(decoded(value).into()),
            "currentSchema" => {
                found.schema = decoded(value).split(',').next().map(|name| name.trim_matches('"').to_owned())
            }
            "ssl" => is_ssl = value.is_empty() || value.eq_ignore_ascii_case("true"),
            _ => match SAME.iter().find(|(jdbc, _)| jdbc.eq_ignore_ascii_case(name)) {
                Some((_, libpq)) => {
                    has_mode |= *libpq == "sslmode";
                    kept.push(format!("{libpq}={}", renamed(libpq, value)));
                }
                None => found.passed_over.push(name.to_owned()),
            },
        }
    }
    if is_ssl && !has_mode {
        kept.push("sslmode=verify-full".to_owned());
    }
    let scheme = if is_redshift { "redshift" } else { "postgres" };
    let login = own_user.map(|user| encoded(&user) + "@").unwrap_or_default();
    let parameters = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    found.url = format!("{scheme}://{login}{hosts}/{database}{parameters}");
    Ok(found)
}

/// A value by libpq's word.
fn renamed(name: &str, value: &str) -> String {
    match (name, value) {
        ("target_session_attrs", "master") => "primary".to_owned(),
        ("target_session_attrs", "secondary" | "slave") => "standby".to_owned(),
        ("target_session_attrs", "preferSecondary" | "preferSlave") => "prefer-standby".to_owned(),
        // The servers of Redshift's driver prove themselves under these names.
        ("sslmode", mode) => mode.to_ascii_lowercase().replace('_', "-"),
        _ => value.to_owned(),
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn jdbc_urls_are_understood() {
        let url = |jdbc: &str| place(jdbc, Some("me@home")).unwrap().url;
        assert_eq!(url("jdbc:postgresql://h:5432/db"), "postgres://me%40home@h:5432/db");
        assert_eq!(url("jdbc:postgresql://h:5439/db"), "redshift://me%40home@h:5439/db");
        assert_eq!(
            url("jdbc:postgresql://c.x.eu-central-1.redshift.amazonaws.com:5440/db"),
            "redshift://me%40home@c.x.eu-central-1.redshift.amazonaws.com:5440/db"
        );
        assert_eq!(url("jdbc:redshift:iam://h/db?ssl=true"), "redshift://me%40home@h/db?sslmode=verify-full");
        assert_eq!(url("jdbc:postgresql:shop"), "postgres://me%40home@localhost/shop");
        assert_eq!(
            url("jdbc:postgresql://a:1,b:2/db?targetServerType=master&sslmode=REQUIRE"),
            "postgres://me%40home@a:1,b:2/db?target_session_attrs=primary&sslmode=require"
        );
        assert_eq!(url("jdbc:duckdb:w.duckdb"), "duckdb:w.duckdb");
        assert_eq!(url("postgres://h/db"), "postgres://h/db");
        assert!(place("jdbc:oracle:thin:@h", None).unwrap_err().contains("jdbc:oracle:"));
    }

    #[test]
    fn login_and_schema_are_taken_out_of_a_jdbc_url() {
        let found =
            place("jdbc:postgresql://h/db?user=a%26b&password=p%26w&currentSchema=app,public&loggerLevel=OFF", None)
                .unwrap();
        assert_eq!(found.url, "postgres://a%26b@h/db");
        assert_eq!(found.password.as_ref().unwrap().expose_secret(), "p&w");
        assert_eq!(found.schema.as_deref(), Some("app"));
        assert_eq!(found.passed_over, ["loggerLevel"]);
        assert!(!format!("{found:?}").contains("p&w"));
    }
}
