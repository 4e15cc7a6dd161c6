//! What a project says about its migrations, by Flyway's keys.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::name::Naming;
use crate::placeholder::Placeholders;
use crate::state::{Category, State};
use crate::version::Version;

/// Default of `locations` where nothing else is said.
pub const LOCATIONS: &str = "migrations";
/// Default of `lockRetryCount`: tries, a second apart, to get the lock that somebody else holds.
pub const LOCK_RETRIES: i64 = 50;
/// Default of `connectRetriesInterval`, in seconds.
pub const CONNECT_INTERVAL: u64 = 120;

/// Up to which version to go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// As far as there are scripts.
    #[default]
    Latest,
    /// No further than the database is.
    Current,
    /// One version further.
    Next,
    /// Up to and with this version.
    Version {
        /// The version.
        version: Version,
        /// Whether a script or row of that version has to exist.
        must_exist: bool,
    },
}

impl Target {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "latest" | "" => return Ok(Self::Latest),
            "current" => return Ok(Self::Current),
            "next" => return Ok(Self::Next),
            _ => {}
        }
        let (version, must_exist) = text.strip_suffix('?').map_or((text, true), |version| (version, false));
        match Version::parse(version) {
            Ok(version) => Ok(Self::Version { version, must_exist }),
            Err(rule) => Err(format!(
                "expected `latest`, `current`, `next` or a version (with `?` behind it if it need not exist): {rule}"
            )),
        }
    }
}

/// Which migrations `validate` passes over: `type:state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// `None` for all.
    category: Option<Category>,
    /// Empty for all.
    states: Vec<State>,
}

impl Pattern {
    /// Everything in these states.
    pub(crate) fn of(states: &[State]) -> Self {
        Self { category: None, states: states.to_vec() }
    }

    fn read(text: &str) -> Result<Self, String> {
        let rule = "expected `TYPE:STATE` with a type of `*`, `versioned`, `repeatable` and a state of `*`, `missing`, `pending`, `ignored`, `future`";
        let (category, state) = text.trim().split_once(':').ok_or(rule)?;
        let category = match category.trim().to_ascii_lowercase().as_str() {
            "*" => None,
            "versioned" => Some(Category::Versioned),
            "repeatable" => Some(Category::Repeatable),
            _ => return Err(rule.to_owned()),
        };
        let states = match state.trim().to_ascii_lowercase().as_str() {
            "*" => vec![],
            "missing" => vec![State::Missing, State::FailedMissing],
            "pending" => vec![State::Pending],
            "ignored" => vec![State::Ignored],
            "future" => vec![State::Future, State::FailedFuture],
            _ => return Err(rule.to_owned()),
        };
        Ok(Self { category, states })
    }

    /// Whether it is about such a migration.
    pub(crate) fn matches(&self, category: Category, state: State) -> bool {
        self.category.is_none_or(|own| own == category) && (self.states.is_empty() || self.states.contains(&state))
    }
}

/// What is to be done, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that relative locations start from.
    pub folder: PathBuf,
    /// Folders with scripts.
    pub locations: Vec<String>,
    /// Folders with callbacks alone.
    pub callback_locations: Vec<String>,
    /// Whether a location that does not exist is an error.
    pub fail_on_missing_locations: bool,
    /// Schemas of the project; the history table is in the first.
    pub schemas: Vec<String>,
    /// The schema that is first in the search path, and has the history table.
    pub default_schema: Option<String>,
    /// Whether schemas that are missing are created.
    pub create_schemas: bool,
    /// Name of the history table.
    pub table: Option<String>,
    /// Tablespace of a history table that is created.
    pub tablespace: Option<String>,
    /// How files are named.
    pub naming: Naming,
    /// How files are encoded.
    pub encoding: String,
    /// Whether `${name}` is replaced.
    pub placeholder_replacement: bool,
    /// Values for names, but for those that every script has.
    pub placeholders: Placeholders,
    /// What stands in the names that every script has: `flyway:user`.
    pub placeholder_separator: String,
    /// Up to which version to go.
    pub target: Target,
    /// Whether versions below the highest applied one are run.
    pub out_of_order: bool,
    /// Version of a baseline.
    pub baseline_version: Version,
    /// Description of a baseline.
    pub baseline_description: String,
    /// Whether a database that holds something, and no history, gets a baseline.
    pub baseline_on_migrate: bool,
    /// Whether `migrate` validates first.
    pub validate_on_migrate: bool,
    /// Whether misnamed files are an error.
    pub validate_migration_naming: bool,
    /// What `validate` passes over.
    pub ignore_migration_patterns: Vec<Pattern>,
    /// Whether `clean` is refused.
    pub clean_disabled: bool,
    /// Whether a script may hold statements that run in a transaction and such that cannot.
    pub mixed: bool,
    /// Whether all that is pending runs in one transaction.
    pub group: bool,
    /// Whether scripts run in a transaction, where their statements allow it.
    pub execute_in_transaction: bool,
    /// Whether only rows are written.
    pub skip_executing_migrations: bool,
    /// Whether callbacks are left alone.
    pub skip_default_callbacks: bool,
    /// Whom rows name; the database's user by default.
    pub installed_by: Option<String>,
    /// SQL that runs after connecting.
    pub init_sql: Option<String>,
    /// Further tries to connect.
    pub connect_retries: u64,
    /// The longest pause between two of them, in seconds.
    pub connect_retries_interval: u64,
    /// Further tries to get the lock, a second apart; negative for no end.
    pub lock_retry_count: i64,
    /// Whether words that only Redshift knows are taken out for another database.
    pub strip_redshift: bool,
    /// Where the database is, if settings of Flyway say it.
    pub url: Option<String>,
    /// As whom to connect, if settings of Flyway say it.
    pub user: Option<String>,
    /// The password, if settings of Flyway say it.
    pub password: Option<SecretString>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            locations: vec![LOCATIONS.to_owned()],
            callback_locations: Vec::new(),
            fail_on_missing_locations: false,
            schemas: Vec::new(),
            default_schema: None,
            create_schemas: true,
            table: None,
            tablespace: None,
            naming: Naming::default(),
            encoding: "UTF-8".to_owned(),
            placeholder_replacement: true,
            placeholders: Placeholders::default(),
            placeholder_separator: ":".to_owned(),
            target: Target::Latest,
            out_of_order: false,
            baseline_version: Version::of_history("1"),
            baseline_description: "<< Flyway Baseline >>".to_owned(),
            baseline_on_migrate: false,
            validate_on_migrate: true,
            validate_migration_naming: false,
            ignore_migration_patterns: vec![Pattern::of(&[State::Future, State::FailedFuture])],
            clean_disabled: true,
            mixed: false,
            group: false,
            execute_in_transaction: true,
            skip_executing_migrations: false,
            skip_default_callbacks: false,
            installed_by: None,
            init_sql: None,
            connect_retries: 0,
            connect_retries_interval: CONNECT_INTERVAL,
            lock_retry_count: LOCK_RETRIES,
            strip_redshift: false,
            url: None,
            user: None,
            password: None,
        }
    }
}

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// Texts with commas between them.
    List,
    /// Where and as whom to connect: not a setting of a project's own file.
    Login,
    /// Flyway knows it, and it has no meaning here.
    NoMeaning,
}

/// Every key that Flyway knows, by its name there.
pub const KEYS: &[(&str, Shape)] = &[
    ("url", Shape::Login),
    ("user", Shape::Login),
    ("password", Shape::Login),
    ("locations", Shape::List),
    ("callbackLocations", Shape::List),
    ("failOnMissingLocations", Shape::Switch),
    ("schemas", Shape::List),
    ("defaultSchema", Shape::Text),
    ("createSchemas", Shape::Switch),
    ("table", Shape::Text),
    ("tablespace", Shape::Text),
    ("sqlMigrationPrefix", Shape::Text),
    ("repeatableSqlMigrationPrefix", Shape::Text),
    ("baselineMigrationPrefix", Shape::Text),
    ("undoSqlMigrationPrefix", Shape::Text),
    ("sqlMigrationSeparator", Shape::Text),
    ("sqlMigrationSuffix", Shape::Text),
    ("sqlMigrationSuffixes", Shape::List),
    ("encoding", Shape::Text),
    ("placeholderReplacement", Shape::Switch),
    ("placeholderPrefix", Shape::Text),
    ("placeholderSuffix", Shape::Text),
    ("placeholderSeparator", Shape::Text),
    ("target", Shape::Text),
    ("outOfOrder", Shape::Switch),
    ("baselineVersion", Shape::Text),
    ("baselineDescription", Shape::Text),
    ("baselineOnMigrate", Shape::Switch),
    ("validateOnMigrate", Shape::Switch),
    ("validateMigrationNaming", Shape::Switch),
    ("ignoreMigrationPatterns", Shape::List),
    ("ignoreMissingMigrations", Shape::Switch),
    ("ignoreFutureMigrations", Shape::Switch),
    ("cleanDisabled", Shape::Switch),
    ("mixed", Shape::Switch),
    ("allowMixedMigrations", Shape::Switch),
    ("group", Shape::Switch),
    ("executeInTransaction", Shape::Switch),
    ("skipExecutingMigrations", Shape::Switch),
    ("skipDefaultCallbacks", Shape::Switch),
    ("installedBy", Shape::Text),
    ("initSql", Shape::Text),
    ("connectRetries", Shape::Number),
    ("connectRetriesInterval", Shape::Number),
    ("lockRetryCount", Shape::Number),
    ("driver", Shape::NoMeaning),
    ("jarDirs", Shape::NoMeaning),
    ("callbacks", Shape::NoMeaning),
    ("resolvers", Shape::NoMeaning),
    ("skipDefaultResolvers", Shape::NoMeaning),
    ("loggers", Shape::NoMeaning),
    ("licenseKey", Shape::NoMeaning),
    ("email", Shape::NoMeaning),
    ("token", Shape::NoMeaning),
    ("batch", Shape::NoMeaning),
    ("stream", Shape::NoMeaning),
    ("errorOverrides", Shape::NoMeaning),
    ("dryRunOutput", Shape::NoMeaning),
    ("kerberosConfigFile", Shape::NoMeaning),
    ("reportEnabled", Shape::NoMeaning),
    ("reportFilename", Shape::NoMeaning),
    ("outputQueryResults", Shape::NoMeaning),
    ("cherryPick", Shape::NoMeaning),
    ("detectEncoding", Shape::NoMeaning),
    ("cleanOnValidationError", Shape::NoMeaning),
    // What it changes there is so here: the lock never hangs `CREATE INDEX CONCURRENTLY`.
    ("postgresql.transactional.lock", Shape::NoMeaning),
];

/// The name of a key in `longshore.toml`: `out_of_order` for `outOfOrder`.
pub fn snake(key: &str) -> String {
    key.chars().fold(String::new(), |mut snake, letter| {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        snake
    })
}

/// What became of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It holds.
    Yes,
    /// Flyway knows it; here it has no meaning.
    NoMeaning,
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {message}")]
pub struct SettingError {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Settings {
    /// Takes a setting by Flyway's name, without `flyway.` before it. Values are read as Flyway reads them.
    ///
    /// # Errors
    /// The key is not known, or its value breaks a rule. The value of a password is in no error.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Taken, SettingError> {
        if let Some(name) = key.strip_prefix("placeholders.") {
            self.placeholders.set(name, value);
            return Ok(Taken::Yes);
        }
        let Some((_, shape)) = KEYS.iter().find(|(known, _)| *known == key) else {
            let known = KEYS.iter().map(|(known, _)| *known);
            let near = known.map(|known| (strsim::damerau_levenshtein(known, key), known)).min();
            let hint = near.filter(|(distance, _)| *distance <= 3).map(|(_, known)| format!("did you mean `{known}`?"));
            return Err(SettingError { key: key.to_owned(), message: "unknown setting".to_owned(), hint });
        };
        if *shape == Shape::NoMeaning {
            return Ok(Taken::NoMeaning);
        }
        self.apply(key, value.trim()).map(|()| Taken::Yes).map_err(|message| SettingError {
            key: key.to_owned(),
            message,
            hint: None,
        })
    }

    fn apply(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        let some = || Some(value.to_owned()).filter(|value| !value.is_empty());
        let filled = || match value {
            "" => Err("must not be empty".to_owned()),
            _ => Ok(value.to_owned()),
        };
        match key {
            "url" => self.url = some(),
            "user" => self.user = some(),
            "password" => self.password = Some(text().into()),
            "locations" => self.locations = list(value),
            "callbackLocations" => self.callback_locations = list(value),
            "failOnMissingLocations" => self.fail_on_missing_locations = switch(value)?,
            "schemas" => self.schemas = list(value),
            "defaultSchema" => self.default_schema = some(),
            "createSchemas" => self.create_schemas = switch(value)?,
            "table" => self.table = some(),
            "tablespace" => self.tablespace = some(),
            "sqlMigrationPrefix" => self.naming.versioned = text(),
            "repeatableSqlMigrationPrefix" => self.naming.repeatable = text(),
            "baselineMigrationPrefix" => self.naming.baseline = text(),
            "undoSqlMigrationPrefix" => self.naming.undo = text(),
            "sqlMigrationSeparator" => self.naming.separator = filled()?,
            "sqlMigrationSuffix" => self.naming.suffixes = vec![filled()?],
            "sqlMigrationSuffixes" => self.naming.suffixes = list(&filled()?),
            "encoding" => self.encoding = filled()?,
            "placeholderReplacement" => self.placeholder_replacement = switch(value)?,
            "placeholderPrefix" => self.placeholders.prefix = filled()?,
            "placeholderSuffix" => self.placeholders.suffix = filled()?,
            "placeholderSeparator" => self.placeholder_separator = filled()?,
            "target" => self.target = Target::read(value)?,
            "outOfOrder" => self.out_of_order = switch(value)?,
            "baselineVersion" => self.baseline_version = Version::parse(value)?,
            "baselineDescription" => self.baseline_description = filled()?,
            "baselineOnMigrate" => self.baseline_on_migrate = switch(value)?,
            "validateOnMigrate" => self.validate_on_migrate = switch(value)?,
            "validateMigrationNaming" => self.validate_migration_naming = switch(value)?,
            "ignoreMigrationPatterns" => {
                self.ignore_migration_patterns =
                    list(value).iter().map(|pattern| Pattern::read(pattern)).collect::<Result<_, _>>()?;
            }
            "ignoreMissingMigrations" => self.ignore(switch(value)?, &[State::Missing, State::FailedMissing]),
            "ignoreFutureMigrations" => self.ignore(switch(value)?, &[State::Future, State::FailedFuture]),
            "cleanDisabled" => self.clean_disabled = switch(value)?,
            "mixed" | "allowMixedMigrations" => self.mixed = switch(value)?,
            "group" => self.group = switch(value)?,
            "executeInTransaction" => self.execute_in_transaction = switch(value)?,
            "skipExecutingMigrations" => self.skip_executing_migrations = switch(value)?,
            "skipDefaultCallbacks" => self.skip_default_callbacks = switch(value)?,
            "installedBy" => self.installed_by = some(),
            "initSql" => self.init_sql = some(),
            "connectRetries" => self.connect_retries = number(value)?.unsigned_abs(),
            "connectRetriesInterval" => self.connect_retries_interval = number(value)?.unsigned_abs(),
            "lockRetryCount" => self.lock_retry_count = number(value)?,
            _ => unreachable!("`{key}` is in the list of keys"),
        }
        Ok(())
    }

    /// The switches of Flyway up to 8, of which patterns came.
    fn ignore(&mut self, is_ignored: bool, states: &[State]) {
        let pattern = Pattern::of(states);
        self.ignore_migration_patterns.retain(|own| *own != pattern);
        if is_ignored {
            self.ignore_migration_patterns.push(pattern);
        }
    }
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn switch(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`".to_owned()),
    }
}

fn number(value: &str) -> Result<i64, String> {
    value.parse().map_err(|_| "expected a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_with_a_meaning_is_taken() {
        for (key, shape) in KEYS {
            let value = match (*key, shape) {
                ("ignoreMigrationPatterns", _) => "*:missing,repeatable:pending",
                (_, Shape::Switch) => "true",
                (_, Shape::Number) => "7",
                _ => "1",
            };
            let wanted = if *shape == Shape::NoMeaning { Taken::NoMeaning } else { Taken::Yes };
            assert_eq!(Settings::default().set(key, value), Ok(wanted), "{key}");
        }
        assert_eq!(snake("repeatableSqlMigrationPrefix"), "repeatable_sql_migration_prefix");
    }

    #[test]
    fn what_is_wrong_is_told_without_the_value() {
        let mut settings = Settings::default();
        let error = settings.set("outOfOrdr", "true").unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `outOfOrder`?"));
        let error = settings.set("outOfOrder", "yes").unwrap_err();
        assert_eq!(error.to_string(), "`outOfOrder`: expected `true` or `false`");
        assert!(settings.set("target", "soon").is_err());
        assert!(settings.set("ignoreMigrationPatterns", "*:*:*").is_err());
    }

    #[test]
    fn targets_are_read() {
        let mut settings = Settings::default();
        settings.set("target", "2.1?").unwrap();
        assert_eq!(settings.target, Target::Version { version: Version::parse("2.1").unwrap(), must_exist: false });
        settings.set("target", "next").unwrap();
        assert_eq!(settings.target, Target::Next);
    }
}
