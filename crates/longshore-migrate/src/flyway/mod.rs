//! Settings where Flyway keeps them: `flyway.toml`, `flyway.conf` and `FLYWAY_…` in the environment.
//!
//! If a TOML file is there, `flyway.conf` is not read, as with Flyway.

mod jdbc;
pub(crate) mod properties;

use std::path::{Path, PathBuf};

use toml::Value;

pub use jdbc::{Place, place};

use crate::error::{Error, ErrorKind};
use crate::settings::{KEYS, SettingError, Settings, Taken};

/// Gives the values of variables of the environment.
type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What was found, besides the settings themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Files that were read.
    pub files: Vec<PathBuf>,
    /// What was passed over, for people.
    pub remarks: Vec<String>,
    /// Keys that were set, wherever.
    pub keys: Vec<String>,
}

impl Found {
    /// Whether a key was set anywhere.
    pub fn sets(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own == key)
    }
}

/// Where a project's own files of Flyway lie, below its folder.
const TOML: &[&str] = &["flyway.toml", "conf/flyway.toml"];
const CONF: &[&str] = &["flyway.conf", "conf/flyway.conf"];

/// Variables of the environment that are none of the settings.
const OTHER_VARIABLES: &[&str] = &["FLYWAY_CONFIG_FILES", "FLYWAY_ENVIRONMENT", "FLYWAY_EDITION", "FLYWAY_HOME"];

/// Reads the files that Flyway would read in this folder.
///
/// # Errors
/// A file cannot be read, or says what is not understood. No value of a password is in the error.
pub fn read_files(
    settings: &mut Settings,
    folder: &Path,
    variables: &[(String, String)],
    found: &mut Found,
) -> Result<(), Error> {
    let env = |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let there = |names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
    };
    let files = match env("FLYWAY_CONFIG_FILES").filter(|list| !list.trim().is_empty()) {
        Some(list) => list.split(',').map(|name| folder.join(name.trim())).collect(),
        None if !there(TOML).is_empty() => there(TOML),
        None => there(CONF),
    };
    // The one in the folder itself is read last, and wins.
    for path in files.into_iter().rev() {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::new(ErrorKind::Refused, format!("`{}` cannot be read: {error}", path.display()))
                .cure("see that it is there, in UTF-8, and that this user may read it")
        })?;
        let is_toml = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"));
        let pairs = if is_toml { of_toml(&text, &path, &env)? } else { of_conf(&text, &env) };
        for (key, value) in pairs {
            take(settings, &key, &value, &format!("`{}`", path.display()), found)?;
        }
        found.files.push(path);
    }
    Ok(())
}

/// Takes the settings that variables of the environment say.
///
/// # Errors
/// One says what is not understood.
pub fn read_environment(
    settings: &mut Settings,
    variables: &[(String, String)],
    found: &mut Found,
) -> Result<(), Error> {
    for (name, value) in variables {
        if !name.starts_with("FLYWAY_") || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        match key_of(name) {
            Some(key) => take(settings, &key, value, "the environment", found)?,
            None => found
                .remarks
                .push(format!("`{name}` in the environment is no setting that is known, and is passed over")),
        }
    }
    Ok(())
}

/// The settings of a `flyway.conf`; keys of other programs are none.
fn of_conf(text: &str, env: &Env<'_>) -> Vec<(String, String)> {
    let pairs = properties::read(text, env).into_iter();
    pairs.filter_map(|(key, value)| Some((key.strip_prefix("flyway.")?.to_owned(), value))).collect()
}

/// Takes a setting, and remembers what is passed over.
///
/// # Errors
/// The setting is refused; `place` says where it stands.
pub fn take(settings: &mut Settings, key: &str, value: &str, place: &str, found: &mut Found) -> Result<(), Error> {
    match settings.set(key, value) {
        Ok(Taken::Yes) => {
            found.keys.push(key.to_owned());
            Ok(())
        }
        Ok(Taken::NoMeaning) => {
            found.remarks.push(format!("`flyway.{key}` in {place} has no meaning here, and is passed over"));
            Ok(())
        }
        Err(SettingError { key, message, hint }) => {
            let error = Error::new(ErrorKind::Refused, format!("{place}: `flyway.{key}`: {message}"));
            Err(error.cure(hint.unwrap_or_else(|| "correct it, or take it out".to_owned())))
        }
    }
}

/// The key that a variable stands for: `outOfOrder` for `FLYWAY_OUT_OF_ORDER`.
fn key_of(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("FLYWAY_")?;
    if let Some(name) = rest.strip_prefix("PLACEHOLDERS_") {
        return Some(format!("placeholders.{}", name.to_lowercase()));
    }
    let key = match rest {
        "DRYRUN_OUTPUT" => "dryRunOutput",
        "POSTGRESQL_TRANSACTIONAL_LOCK" => "postgresql.transactional.lock",
        _ => KEYS.iter().map(|(key, _)| *key).find(|key| crate::settings::snake(key).to_uppercase() == rest)?,
    };
    Some(key.to_owned())
}

/// The settings of a `flyway.toml`: those of its environment, and those of `[flyway]`.
fn of_toml(text: &str, path: &Path, env: &Env<'_>) -> Result<Vec<(String, String)>, Error> {
    let wrong = |why: String| {
        Error::new(ErrorKind::Refused, format!("`{}`: {why}", path.display())).cure("correct it, or take it out")
    };
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        wrong(format!("line {line}: {}", error.message()))
    })?;
    let mut pairs = Vec::new();
    let flyway = table.get("flyway").and_then(Value::as_table);
    let chosen = env("FLYWAY_ENVIRONMENT").or_else(|| Some(flyway?.get("environment")?.as_str()?.to_owned()));
    let chosen = chosen.unwrap_or_else(|| "default".to_owned());
    let environment = table.get("environments").and_then(|all| all.get(&chosen)?.as_table());
    if environment.is_none() && chosen != "default" {
        return Err(wrong(format!("there is no `[environments.{chosen}]`, which is asked for")));
    }
    for (key, value) in environment.into_iter().flatten() {
        if matches!(key.as_str(), "driver" | "jdbcProperties" | "resolvers" | "flyway" | "displayName" | "provisioner")
        {
            continue;
        }
        pairs.push((
            key.clone(),
            flat(value, env)
                .ok_or_else(|| wrong(format!("`environments.{chosen}.{key}` is no text, number, switch or list")))?,
        ));
    }
    for (key, value) in flyway.into_iter().flatten() {
        match (key.as_str(), value) {
            ("environment", _) => {}
            ("placeholders", Value::Table(values)) => {
                for (name, value) in values {
                    let value =
                        flat(value, env).ok_or_else(|| wrong(format!("`flyway.placeholders.{name}` is no text")))?;
                    pairs.push((format!("placeholders.{name}"), value));
                }
            }
            ("postgresql", _) => {}
            (key, value) => {
                let value = flat(value, env)
                    .ok_or_else(|| wrong(format!("`flyway.{key}` is no text, number, switch or list")))?;
                pairs.push((key.to_owned(), value));
            }
        }
    }
    Ok(pairs)
}

/// A value as a `.conf` would write it.
fn flat(value: &Value, env: &Env<'_>) -> Option<String> {
    Some(match value {
        Value::String(text) => properties::expand(text, &|name| env(name.strip_prefix("env.")?)),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(switch) => switch.to_string(),
        Value::Array(items) => items.iter().map(|item| flat(item, env)).collect::<Option<Vec<_>>>()?.join(","),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Target;

    fn vars(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn files_are_read_and_the_environment_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("conf")).unwrap();
        let conf = "# the recipe's\nflyway.url=jdbc:postgresql://h:5439/db\nflyway.user=me\nflyway.password=hun\\ter=2\nflyway.locations=filesystem:./sql, \\\n  filesystem:./more\nflyway.outOfOrder=false\nflyway.placeholders.Tbl=zebra\nflyway.jarDirs=x\nflyway.target=${WANTED}\n";
        std::fs::write(folder.path().join("conf/flyway.conf"), conf).unwrap();
        let mut settings = Settings::default();
        let variables = vars(&[
            ("FLYWAY_OUT_OF_ORDER", "true"),
            ("FLYWAY_PLACEHOLDERS_OTHER", "ape"),
            ("FLYWAY_BASELINE_MIGRATION_PREFIX", "X"),
            ("FLYWAY_WHATEVER", "1"),
            ("WANTED", "7"),
        ]);
        let mut found = Found::default();
        read_files(&mut settings, folder.path(), &variables, &mut found).unwrap();
        read_environment(&mut settings, &variables, &mut found).unwrap();
        assert_eq!(settings.locations, ["filesystem:./sql", "filesystem:./more"]);
        assert!(settings.out_of_order);
        assert_eq!(settings.placeholders.replace("${tbl} ${OTHER}").unwrap(), "zebra ape");
        assert_eq!(settings.naming.baseline, "X");
        assert!(matches!(&settings.target, Target::Version { version, .. } if version.as_str() == "7"));
        assert_eq!(secrecy::ExposeSecret::expose_secret(settings.password.as_ref().unwrap()), "hun\\ter=2");
        assert_eq!(found.remarks.len(), 2, "{:?}", found.remarks);
        assert!(!format!("{settings:?}").contains("ter=2"));
    }

    #[test]
    fn a_toml_file_is_read_in_place_of_a_conf() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flyway.conf"), "flyway.group=true\n").unwrap();
        let toml = "[environments.default]\nurl = \"jdbc:postgresql://h/db\"\nuser = \"${env.WHO}\"\nschemas = [\"a\", \"b\"]\n\n[flyway]\nlocations = [\"filesystem:sql\"]\nmixed = true\n\n[flyway.placeholders]\nx = \"1\"\n";
        std::fs::write(folder.path().join("flyway.toml"), toml).unwrap();
        let mut settings = Settings::default();
        read_files(&mut settings, folder.path(), &vars(&[("WHO", "me")]), &mut Found::default()).unwrap();
        assert!(settings.mixed && !settings.group);
        assert_eq!(settings.schemas, ["a", "b"]);
        assert_eq!(settings.user.as_deref(), Some("me"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flyway.conf"), "flyway.outOfOrdr=true\nother.tool=1\n").unwrap();
        let error = read_files(&mut Settings::default(), folder.path(), &[], &mut Found::default()).unwrap_err();
        assert_eq!(error.hint(), Some("did you mean `outOfOrder`?"));
    }
}
