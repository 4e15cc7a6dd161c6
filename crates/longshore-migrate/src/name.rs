//! What a file's name says.
//!
//! `V1_2__add_orders.sql`: prefix, version, separator, description, suffix. The rules are those of Flyway 9 and
//! later, but that a version is made of ASCII digits alone.

use crate::event::Event;
use crate::version::Version;

/// What a script is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Runs once, in the order of versions.
    Versioned(Version),
    /// Runs after all versioned ones, again whenever it changed.
    Repeatable,
    /// Takes the place of all versions up to its own, in an empty database.
    Baseline(Version),
    /// Takes a version back. It is shown, and never run.
    Undo(Version),
    /// Runs at an event.
    Callback(Event),
}

impl Kind {
    /// The version, for kinds that have one.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Versioned(version) | Self::Baseline(version) | Self::Undo(version) => Some(version),
            Self::Repeatable | Self::Callback(_) => None,
        }
    }
}

/// How names are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Prefix of versioned migrations.
    pub versioned: String,
    /// Prefix of repeatable migrations.
    pub repeatable: String,
    /// Prefix of baseline migrations.
    pub baseline: String,
    /// Prefix of undo migrations.
    pub undo: String,
    /// What stands between version and description.
    pub separator: String,
    /// Ends of names, found in any case.
    pub suffixes: Vec<String>,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            versioned: "V".to_owned(),
            repeatable: "R".to_owned(),
            baseline: "B".to_owned(),
            undo: "U".to_owned(),
            separator: "__".to_owned(),
            suffixes: vec![".sql".to_owned()],
        }
    }
}

/// A file's name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A script.
    Script {
        /// What it is for.
        kind: Kind,
        /// What stands behind the separator, with blanks for `_`.
        description: String,
    },
    /// It ends as scripts do, and is none: why.
    Misnamed(String),
    /// It has nothing to do with migrations.
    Other,
}

/// What a prefix stands for.
#[derive(Clone, Copy)]
enum Prefix {
    Versioned,
    Repeatable,
    Baseline,
    Undo,
    Callback(Event),
}

impl Naming {
    /// Reads the name of a file, without its folders.
    pub fn read(&self, file: &str) -> Name {
        let Some(stem) = self.suffixes.iter().find_map(|suffix| without_suffix(file, suffix)) else {
            return Name::Other;
        };
        let own = [
            (self.versioned.as_str(), Prefix::Versioned),
            (self.repeatable.as_str(), Prefix::Repeatable),
            (self.baseline.as_str(), Prefix::Baseline),
            (self.undo.as_str(), Prefix::Undo),
        ];
        let events = Event::ALL.iter().map(|event| (event.name(), Prefix::Callback(*event)));
        let found = own
            .into_iter()
            .chain(events)
            .filter(|(prefix, _)| !prefix.is_empty() && stem.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len());
        let Some((prefix, meaning)) = found else {
            return Name::Misnamed(format!(
                "it begins with none of `{}`, `{}`, `{}` and the names of callbacks (case counts)",
                self.versioned, self.repeatable, self.baseline
            ));
        };
        let rest = &stem[prefix.len()..];
        let (head, description) = rest.split_once(self.separator.as_str()).unwrap_or((rest, ""));
        let description = description.replace('_', " ");
        let versioned = |kind: fn(Version) -> Kind| match Version::parse(head) {
            Ok(version) => Ok(kind(version)),
            Err(rule) => Err(format!(
                "its version `{}` cannot be read: {rule}; a name is `{prefix}VERSION{}DESCRIPTION`",
                head.escape_debug(),
                self.separator
            )),
        };
        let unversioned = |kind: Kind| match head {
            "" => Ok(kind),
            _ => Err(format!(
                "between `{prefix}` and `{}` nothing may stand, and `{}` does",
                self.separator,
                head.escape_debug()
            )),
        };
        let kind = match meaning {
            Prefix::Versioned => versioned(Kind::Versioned),
            Prefix::Baseline => versioned(Kind::Baseline),
            Prefix::Undo => versioned(Kind::Undo),
            Prefix::Repeatable => unversioned(Kind::Repeatable),
            Prefix::Callback(event) => unversioned(Kind::Callback(event)),
        };
        match kind {
            Ok(kind) => Name::Script { kind, description },
            Err(why) => Name::Misnamed(why),
        }
    }
}

/// The name without its suffix, which is found in any case.
fn without_suffix<'f>(file: &'f str, suffix: &str) -> Option<&'f str> {
    let at = file.len().checked_sub(suffix.len())?;
    let end = file.get(at..)?;
    end.eq_ignore_ascii_case(suffix).then(|| &file[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Name {
        Naming::default().read(file)
    }

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn names_are_read_as_flyway_reads_them() {
        for (file, wanted, description) in [
            ("V1__a.sql", "1", "a"),
            ("V1.2__b.sql", "1.2", "b"),
            ("V1_1__c.sql", "1.1", "c"),
            ("V20__.sql", "20", ""),
            ("V50.sql", "50", ""),
            ("V010__ten.SQL", "010", "ten"),
            ("V010__ten.SqL", "010", "ten"),
            ("V10___x.sql", "10", " x"),
            ("V6__a__b.sql", "6", "a  b"),
        ] {
            let Name::Script { kind: Kind::Versioned(found), description: text } = read(file) else {
                panic!("{file}: {:?}", read(file));
            };
            assert_eq!((found.as_str(), text.as_str()), (wanted, description), "{file}");
        }
    }

    #[test]
    fn other_kinds_have_prefixes_of_their_own() {
        let script = |kind, description: &str| Name::Script { kind, description: description.to_owned() };
        assert_eq!(read("R__a.sql"), script(Kind::Repeatable, "a"));
        assert_eq!(read("R__.sql"), script(Kind::Repeatable, ""));
        assert_eq!(read("B2__base.sql"), script(Kind::Baseline(version("2")), "base"));
        assert_eq!(read("U1__x.sql"), script(Kind::Undo(version("1")), "x"));
        assert_eq!(read("afterMigrate__grants.sql"), script(Kind::Callback(Event::AFTER_MIGRATE), "grants"));
        assert_eq!(read("afterMigrate.sql"), script(Kind::Callback(Event::AFTER_MIGRATE), ""));
        assert_eq!(read("afterMigrateApplied.sql"), script(Kind::Callback(Event::AFTER_MIGRATE_APPLIED), ""));
    }

    #[test]
    fn misnamed_files_are_told_and_others_are_none() {
        for file in [
            "V40_no_double.sql",
            "v30__x.sql",
            "V__x.sql",
            "V5a__x.sql",
            "V4.__x.sql",
            "V4..5__x.sql",
            "V7 __x.sql",
            "V-1__x.sql",
            "V+3__x.sql",
            "V٣__x.sql",
            "Vlatest__x.sql",
            "R1__a.sql",
            "R_x.sql",
            "beforemigrate.sql",
            "notes.sql",
        ] {
            assert!(matches!(read(file), Name::Misnamed(_)), "{file}: {:?}", read(file));
        }
        for file in ["README.md", "V1__a.sql.conf", "V1__a.sq", "", "日本"] {
            assert_eq!(read(file), Name::Other, "{file}");
        }
    }
}
