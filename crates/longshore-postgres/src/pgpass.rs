//! The password file: lines of `host:port:database:user:password`, by libpq's rules.

use std::path::Path;
use std::{fs, io};

use secrecy::SecretString;

/// What a password is looked up by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    /// Name of the host, `localhost` for a socket in its usual place.
    pub(crate) host: &'a str,
    /// Port.
    pub(crate) port: u16,
    /// Database.
    pub(crate) database: &'a str,
    /// User.
    pub(crate) user: &'a str,
}

/// The password that a file has for a login. As with libpq, a file that is not there says nothing,
/// and neither does one that others may read; of that a warning is given.
pub(crate) fn look_up(path: &Path, login: &Login<'_>) -> Option<SecretString> {
    match read(path) {
        Ok(text) => find(&text, login),
        Err(Unusable::Missing) => None,
        Err(Unusable::Io(error)) => {
            tracing::warn!(path = %path.display(), "password file left out: it cannot be read: {error}");
            None
        }
        Err(Unusable::Open) => {
            tracing::warn!(
                path = %path.display(),
                "password file left out: others may read it; take their rights away with `chmod 600`"
            );
            None
        }
        Err(Unusable::NotAFile) => {
            tracing::warn!(path = %path.display(), "password file left out: it is not a regular file");
            None
        }
    }
}

/// Why a file is left out.
#[derive(Debug)]
enum Unusable {
    Missing,
    Open,
    NotAFile,
    Io(io::Error),
}

fn read(path: &Path) -> Result<String, Unusable> {
    use std::os::unix::fs::PermissionsExt;
    let about = match fs::metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(Unusable::Missing);
        }
        other => other.map_err(Unusable::Io)?,
    };
    if !about.is_file() {
        return Err(Unusable::NotAFile);
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(Unusable::Open);
    }
    fs::read_to_string(path).map_err(Unusable::Io)
}

/// The password of the first line that matches.
fn find(text: &str, login: &Login<'_>) -> Option<SecretString> {
    let port = login.port.to_string();
    let wanted = [login.host, &port, login.database, login.user];
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for value in wanted {
            let (field, after) = field(rest)?;
            rest = after;
            // Only a bare `*` is for all: an escaped one is a star.
            if field.raw != "*" && field.text != value {
                return None;
            }
        }
        // The password goes to the end of the line; a colon in it may be escaped or not.
        let password = unescape(rest);
        (!password.is_empty()).then(|| password.into())
    })
}

/// A field as it stands there and as it is meant.
struct Field<'a> {
    raw: &'a str,
    text: String,
}

/// The field up to the next `:` that no backslash escapes, and what follows it.
fn field(line: &str) -> Option<(Field<'_>, &str)> {
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((Field { raw: &line[..at], text: unescape(&line[..at]) }, &line[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Takes the backslash from every escaped character.
fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const LOGIN: Login<'static> = Login { host: "db.example", port: 5432, database: "sales", user: "ann" };

    fn found(text: &str, login: Login<'_>) -> Option<String> {
        find(text, &login).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let text = "# db.example:5432:sales:ann:comment\n\n\
                    other:5432:sales:ann:a\ndb.example:5433:sales:ann:b\ndb.example:*:*:ann:c\n*:*:*:*:d\n";
        assert_eq!(found(text, LOGIN).as_deref(), Some("c"));
        assert_eq!(found(text, Login { user: "bob", ..LOGIN }).as_deref(), Some("d"));
        assert_eq!(found(text, Login { port: 5433, ..LOGIN }).as_deref(), Some("b"));
    }

    #[test]
    fn backslashes_escape_colons_backslashes_and_stars() {
        let login = Login { host: "::1", user: r"do\main", ..LOGIN };
        assert_eq!(found(r"\:\:1:5432:sales:do\\main:pass\:wo\\rd", login).as_deref(), Some(r"pass:wo\rd"));
        assert_eq!(found(r"\*:5432:sales:ann:x", LOGIN), None);
        assert_eq!(found(r"\*:5432:sales:ann:x", Login { host: "*", ..LOGIN }).as_deref(), Some("x"));
    }

    #[test]
    fn a_colon_in_the_password_needs_no_escape() {
        assert_eq!(found("*:*:*:*:a:b", LOGIN).as_deref(), Some("a:b"));
    }

    #[test]
    fn a_line_with_too_few_fields_or_no_password_is_passed_over() {
        assert_eq!(found("db.example:5432:sales:ann\n*:*:*:*:\n*:*:*:*:x", LOGIN).as_deref(), Some("x"));
    }

    #[test]
    fn a_line_may_end_with_a_carriage_return() {
        assert_eq!(found("*:*:*:*:x\r\n", LOGIN).as_deref(), Some("x"));
    }
}
