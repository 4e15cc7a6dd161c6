//! `validate`: whether history and scripts go together.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;

use super::shown_time;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::migrator::Migrator;
use crate::validate::{Invalid, validate};

/// What `validate` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// Migrations that were looked at.
    pub count: usize,
    /// Those that do not fit.
    pub invalid: Vec<Invalid>,
    /// All of them in one error's words, where there are any.
    pub message: Option<String>,
}

/// What a person, or Flyway's JSON, is told of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    version: &'a str,
    description: &'a str,
    filepath: &'a str,
    error_details: Fault<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fault<'a> {
    error_code: &'static str,
    error_message: &'a str,
}

impl<'a> Detail<'a> {
    fn of(one: &'a Invalid) -> Self {
        Self {
            version: one.version.as_deref().unwrap_or_default(),
            description: &one.description,
            filepath: one.path.as_deref().unwrap_or_default(),
            error_details: Fault { error_code: one.code, error_message: &one.message },
        }
    }
}

impl Validated {
    /// Its document for machines, as Flyway's.
    pub fn to_json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            validation_successful: bool,
            validate_count: usize,
            invalid_migrations: Vec<Detail<'a>>,
        }
        Document {
            validation_successful: self.invalid.is_empty(),
            validate_count: self.count,
            invalid_migrations: self.invalid.iter().map(Detail::of).collect(),
        }
    }
}

impl Migrator<'_> {
    /// Says whether history and scripts go together. What does not is no error of this call, but its answer.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn validate(&mut self) -> Result<Validated, Error> {
        let result = self.look_at_all().await;
        self.end(result, Event::AFTER_VALIDATE_ERROR, Event::AFTER_VALIDATE_OPERATION_FINISH).await
    }

    async fn look_at_all(&mut self) -> Result<Validated, Error> {
        let started = Instant::now();
        self.fire(Event::AFTER_CONNECT).await?;
        self.fire(Event::BEFORE_VALIDATE).await?;
        let rows = self.rows().await?;
        let standing = self.standing(&rows, &self.settings.target);
        let invalid = validate(&standing, &self.settings.ignore_migration_patterns, false, self.history.is_old());
        let count = standing.items.len();
        self.say_if_running(&standing).await?;
        if invalid.is_empty() {
            let s = if count == 1 { "" } else { "s" };
            self.say(&format!("Successfully validated {count} migration{s} (execution time {})", shown_time(started)));
            self.fire(Event::AFTER_VALIDATE).await?;
        } else {
            self.fire(Event::AFTER_VALIDATE_ERROR).await?;
        }
        let message = (!invalid.is_empty()).then(|| error(&invalid).to_string());
        Ok(Validated { count, invalid, message })
    }
}

/// All faults in one error, each with its cure.
pub(super) fn error(invalid: &[Invalid]) -> Error {
    let list = invalid.iter().fold(String::new(), |mut list, one| {
        write!(list, "\n  {}\n    cure: {}", one.message, one.cure).expect("a text has room");
        list
    });
    Error::new(ErrorKind::Validation, format!("history and scripts do not go together:{list}"))
        .cure("`longshore migrate info` shows all of them")
}
