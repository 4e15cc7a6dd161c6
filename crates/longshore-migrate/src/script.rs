//! Finds the scripts of a project, and reads them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::checksum::{checksum, decode};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::flyway::properties;
use crate::name::{Kind, Name};
use crate::placeholder::{Placeholders, UnknownPlaceholder};
use crate::settings::Settings;
use crate::version::Version;

/// A script of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it is for.
    pub kind: Kind,
    /// What its name says behind the version.
    pub description: String,
    /// Its path below its location, with `/` between folders.
    pub script: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Checksum of the file as it is.
    pub raw_checksum: i32,
    /// Checksum that belongs into the history: that of a repeatable is taken after placeholders are replaced.
    pub checksum: i32,
    /// What the file beside it says.
    pub own: OwnSettings,
    /// Whether it names the time, so that it is another one at each run.
    pub names_the_time: bool,
}

/// Settings of one script, in a file of its name with `.conf` behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnSettings {
    /// Whether it runs in a transaction.
    pub execute_in_transaction: Option<bool>,
    /// Whether placeholders are replaced in it.
    pub placeholder_replacement: Option<bool>,
    /// How it is encoded.
    pub encoding: Option<String>,
}

impl Script {
    /// Its version, if it has one.
    pub fn version(&self) -> Option<&Version> {
        self.kind.version()
    }

    /// Version and description, for people.
    pub fn title(&self) -> String {
        match self.version() {
            Some(version) if self.description.is_empty() => version.to_string(),
            Some(version) => format!("{version} - {}", self.description),
            None => self.description.clone(),
        }
    }

    /// Reads its text once more.
    ///
    /// # Errors
    /// It cannot be read, or it changed since it was found.
    pub(crate) fn read(&self, settings: &Settings) -> Result<String, Error> {
        let text = read_text(&self.path, self.own.encoding.as_deref().unwrap_or(&settings.encoding))?;
        if checksum(&text) != self.raw_checksum {
            return Err(Error::new(
                ErrorKind::Scripts,
                format!("`{}` was changed while it was to be run", self.path.display()),
            )
            .cure("run the same command again"));
        }
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// Whether placeholders are replaced in it.
    pub(crate) fn replaces_placeholders(&self, settings: &Settings) -> bool {
        self.own.placeholder_replacement.unwrap_or(settings.placeholder_replacement)
    }
}

/// The scripts of a project, and what was found beside them.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// Migrations, in the order in which they run.
    pub migrations: Vec<Script>,
    /// Callbacks by event, those of one event by description.
    pub callbacks: Vec<(Event, Script)>,
    /// Scripts that take versions back.
    pub undos: Vec<Script>,
    /// Files that end as scripts do and are none, each with the reason.
    pub misnamed: Vec<(PathBuf, String)>,
    /// Locations that do not exist.
    pub missing: Vec<PathBuf>,
}

/// A location, understood.
struct Location {
    /// The folder that paths of scripts start at.
    root: PathBuf,
    /// Which folders below count; `None` for all.
    pattern: Option<GlobMatcher>,
}

/// Finds all scripts in the locations.
///
/// # Errors
/// A file cannot be read, two scripts claim one place, or a name is misspelt and that counts.
pub fn find(settings: &Settings) -> Result<Scripts, Error> {
    let mut scripts = Scripts::default();
    let mut seen = HashSet::new();
    for location in locations(&settings.locations, settings)? {
        scan(&location, settings, false, &mut scripts, &mut seen)?;
    }
    for location in locations(&settings.callback_locations, settings)? {
        scan(&location, settings, true, &mut scripts, &mut seen)?;
    }
    if settings.skip_default_callbacks {
        scripts.callbacks.clear();
    }
    if settings.fail_on_missing_locations && !scripts.missing.is_empty() {
        let missing: Vec<String> = scripts.missing.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(Error::new(ErrorKind::Scripts, format!("locations do not exist: {}", missing.join(", ")))
            .cure("create them, or correct `locations`"));
    }
    if settings.validate_migration_naming && !scripts.misnamed.is_empty() {
        let list = scripts.misnamed.iter().fold(String::new(), |mut list, (path, why)| {
            write!(list, "\n  `{}`: {why}", path.display()).expect("a text has room");
            list
        });
        return Err(Error::new(ErrorKind::Scripts, format!("files are misnamed:{list}"))
            .cure("rename them, or set `validate_migration_naming = false`"));
    }
    sort(&mut scripts);
    refuse_duplicates(&scripts)?;
    Ok(scripts)
}

/// Understands locations; one that lies within another is dropped.
fn locations(texts: &[String], settings: &Settings) -> Result<Vec<Location>, Error> {
    let mut locations: Vec<Location> = Vec::new();
    for text in texts {
        let path = text.strip_prefix("filesystem:").unwrap_or(text);
        if let Some((scheme, _)) =
            path.split_once(':').filter(|(scheme, _)| matches!(*scheme, "classpath" | "s3" | "gcs"))
        {
            return Err(Error::new(
                ErrorKind::Scripts,
                format!("the location `{text}` is none that can be read here: `{scheme}:`"),
            )
            .cure("name a folder: `locations = [\"migrations\"]`"));
        }
        let full = settings.folder.join(path);
        let is_wild = |part: &Path| part.to_string_lossy().contains(['*', '?']);
        let root: PathBuf = full.iter().take_while(|part| !is_wild(Path::new(part))).collect();
        // The project's own path is no pattern.
        let below = full.strip_prefix(&root).unwrap_or(&full).to_string_lossy().into_owned();
        let pattern = (root != full)
            .then(|| GlobBuilder::new(&below).literal_separator(true).build())
            .transpose()
            .map_err(|error| {
                Error::new(ErrorKind::Scripts, format!("the location `{text}` cannot be understood: {}", error.kind()))
                    .cure("`*` stands for one folder's name, `**` for any folders, `?` for one character")
            })?
            .map(|glob| glob.compile_matcher());
        locations.push(Location { root, pattern });
    }
    let is_within = |inner: &Location, outer: &Location| {
        outer.pattern.is_none() && inner.root != outer.root && inner.root.starts_with(&outer.root)
    };
    let kept = (0..locations.len()).filter(|at| {
        let own = &locations[*at];
        !locations.iter().any(|other| is_within(own, other))
            && !locations[..*at]
                .iter()
                .any(|other| other.root == own.root && other.pattern.is_none() && own.pattern.is_none())
    });
    let kept: HashSet<usize> = kept.collect();
    Ok(locations.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, location)| location).collect())
}

fn scan(
    location: &Location,
    settings: &Settings,
    only_callbacks: bool,
    scripts: &mut Scripts,
    seen: &mut HashSet<PathBuf>,
) -> Result<(), Error> {
    if !location.root.is_dir() {
        scripts.missing.push(location.root.clone());
        return Ok(());
    }
    // Links may lead in a circle: a folder is walked once.
    let mut walked = HashSet::new();
    let mut is_found = location.pattern.is_none();
    let mut folders = vec![location.root.clone()];
    while let Some(folder) = folders.pop() {
        if !folder.canonicalize().is_ok_and(|folder| walked.insert(folder)) {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&folder) else {
            tracing::warn!("the folder `{}` cannot be read and is passed over", folder.display());
            continue;
        };
        let counts = location.pattern.as_ref().is_none_or(|pattern| {
            // A folder below one that matches counts too.
            let below = folder.strip_prefix(&location.root).unwrap_or(&folder);
            below.ancestors().any(|above| pattern.is_match(above))
        });
        is_found |= counts;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if !name.to_string_lossy().starts_with('.') {
                    folders.push(path);
                }
                continue;
            }
            if !counts || !seen.insert(path.clone()) {
                continue;
            }
            if !path.is_file() {
                // A link that leads nowhere, a pipe: whoever made it meant a script.
                if settings.naming.read(&name.to_string_lossy()) != Name::Other {
                    scripts.misnamed.push((path, "it is no file that can be read".to_owned()));
                }
                continue;
            }
            take(&path, location, settings, only_callbacks, scripts)?;
        }
    }
    if let Some(pattern) = location.pattern.as_ref().filter(|_| !is_found) {
        scripts.missing.push(location.root.join(pattern.glob().glob()));
    }
    Ok(())
}

fn take(
    path: &Path,
    location: &Location,
    settings: &Settings,
    only_callbacks: bool,
    scripts: &mut Scripts,
) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (kind, description) = match settings.naming.read(&name) {
        Name::Other => return Ok(()),
        Name::Misnamed(why) => {
            scripts.misnamed.push((path.to_owned(), why));
            return Ok(());
        }
        Name::Script { kind, description } => (kind, description),
    };
    if only_callbacks && !matches!(kind, Kind::Callback(_)) {
        return Ok(());
    }
    let own = own_settings(path)?;
    let text = read_text(path, own.encoding.as_deref().unwrap_or(&settings.encoding))?;
    let below = path.strip_prefix(&location.root).unwrap_or(path);
    let script = below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    let raw_checksum = checksum(&text);
    let script = Script {
        kind,
        description,
        script,
        path: path.to_owned(),
        raw_checksum,
        checksum: raw_checksum,
        own,
        names_the_time: false,
    };
    match &script.kind {
        Kind::Callback(event) => scripts.callbacks.push((*event, script)),
        Kind::Undo(_) => scripts.undos.push(script),
        _ => scripts.migrations.push(script),
    }
    Ok(())
}

/// The order of section 3 of the reference: versions, at one version what is versioned first; then repeatables by
/// description, by UTF-16 units.
fn sort(scripts: &mut Scripts) {
    let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    scripts.migrations.sort_by_cached_key(|script| {
        let is_baseline = matches!(script.kind, Kind::Baseline(_));
        (script.version().is_none(), script.version().cloned(), is_baseline, units(&script.description))
    });
    scripts.undos.sort_by_cached_key(|script| script.version().cloned());
    scripts.callbacks.sort_by_cached_key(|(event, script)| (*event, units(&script.description)));
    scripts.misnamed.sort();
}

fn refuse_duplicates(scripts: &Scripts) -> Result<(), Error> {
    let refuse = |what: String, a: &Script, b: &Script| {
        Error::new(
            ErrorKind::Scripts,
            format!("two files are {what}: `{}` and `{}`", a.path.display(), b.path.display()),
        )
        .cure("give one of them another name, or remove it")
    };
    let is_same = |a: &Script, b: &Script| match (&a.kind, &b.kind) {
        (Kind::Versioned(a), Kind::Versioned(b))
        | (Kind::Baseline(a), Kind::Baseline(b))
        | (Kind::Undo(a), Kind::Undo(b)) => a == b,
        (Kind::Repeatable, Kind::Repeatable) => a.description == b.description,
        (Kind::Callback(x), Kind::Callback(y)) => x == y && a.description == b.description,
        _ => false,
    };
    let of = |script: &Script| match &script.kind {
        Kind::Versioned(version) => format!("the migration with version {version}"),
        Kind::Baseline(version) => format!("the baseline with version {version}"),
        Kind::Undo(version) => format!("the undo of version {version}"),
        Kind::Repeatable => format!("the repeatable migration `{}`", script.description),
        Kind::Callback(event) => format!("the callback `{}` `{}`", event.name(), script.description),
    };
    let versioned: Vec<&Script> = scripts.migrations.iter().filter(|s| !matches!(s.kind, Kind::Baseline(_))).collect();
    let baselines: Vec<&Script> = scripts.migrations.iter().filter(|s| matches!(s.kind, Kind::Baseline(_))).collect();
    let callbacks: Vec<&Script> = scripts.callbacks.iter().map(|(_, script)| script).collect();
    let undos: Vec<&Script> = scripts.undos.iter().collect();
    for list in [versioned, baselines, callbacks, undos] {
        if let Some(pair) = list.windows(2).find(|pair| is_same(pair[0], pair[1])) {
            return Err(refuse(of(pair[0]), pair[0], pair[1]));
        }
    }
    Ok(())
}

/// What the `.conf` beside a script says.
fn own_settings(path: &Path) -> Result<OwnSettings, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".conf");
    let beside = PathBuf::from(beside);
    let mut own = OwnSettings::default();
    let text = match std::fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(own),
        Err(error) => return Err(unreadable(&beside, &error.to_string())),
    };
    let wrong = |key: &str, rule: &str| {
        Error::new(ErrorKind::Scripts, format!("`{}`: `{key}`: {rule}", beside.display()))
            .cure("known here: executeInTransaction, placeholderReplacement, encoding")
    };
    for (key, value) in properties::read(&text, &|_| None) {
        let switch = || match value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(wrong(&key, "expected `true` or `false`")),
        };
        match key.strip_prefix("flyway.").unwrap_or(&key) {
            "executeInTransaction" => own.execute_in_transaction = switch()?,
            "placeholderReplacement" => own.placeholder_replacement = switch()?,
            "encoding" => own.encoding = Some(value.clone()),
            "shouldExecute" => return Err(wrong(&key, "only paid editions of Flyway know it")),
            _ => return Err(wrong(&key, "unknown setting of a script")),
        }
    }
    Ok(own)
}

fn read_text(path: &Path, encoding: &str) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error.to_string()))?;
    decode(&bytes, encoding).map_err(|why| {
        Error::new(ErrorKind::Scripts, format!("`{}` cannot be read: {why}", path.display()))
            .cure("save the file in that encoding, or name its own: `encoding` in `[migrate]`, or in a file of its name with `.conf` behind it")
    })
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Scripts, format!("`{}` cannot be read: {why}", path.display()))
        .cure("see that this user may read it")
}

impl Scripts {
    /// Takes the checksums of repeatables after placeholders are replaced.
    pub(crate) fn seal(
        &mut self,
        settings: &Settings,
        placeholders: impl Fn(&Script) -> Placeholders,
    ) -> Result<(), Error> {
        for script in self.migrations.iter_mut().filter(|script| script.kind == Kind::Repeatable) {
            if !script.replaces_placeholders(settings) {
                continue;
            }
            let text = script.read(settings)?;
            let time = format!(
                "{}flyway{}timestamp{}",
                settings.placeholders.prefix, settings.placeholder_separator, settings.placeholders.suffix
            );
            script.names_the_time = text.to_lowercase().contains(&time.to_lowercase());
            let replaced =
                placeholders(script).replace(&text).map_err(|unknown| without_value(&script.path, &unknown))?;
            script.checksum = checksum(&replaced);
        }
        Ok(())
    }
}

/// A placeholder without a value.
pub(crate) fn without_value(path: &Path, unknown: &UnknownPlaceholder) -> Error {
    let name = &unknown.name;
    Error::new(ErrorKind::Scripts, format!("`{}`, {unknown}", path.display())).cure(format!(
        "give it one: `placeholders = {{ \"{name}\" = \"…\" }}` in `[migrate]`; known are {}",
        unknown.known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scripts that are found, and the locations that are not there.
    fn found(locations: &[&str]) -> (Vec<String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        // A project's own path may look like a pattern.
        let home = folder.path().join("we[i]rd");
        for file in
            ["sql/V1__a.sql", "sql/sub/V2__b.sql", "sql/.hidden/V9__x.sql", "more/x/V3__c.sql", "more/y/V4__d.sql"]
        {
            let path = home.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "SELECT 1;\n").unwrap();
        }
        let locations = locations.iter().map(|location| (*location).to_owned()).collect();
        let settings = Settings { folder: home, locations, ..Settings::default() };
        let scripts = find(&settings).unwrap();
        (scripts.migrations.into_iter().map(|script| script.script).collect(), scripts.missing.len())
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn locations_are_folders_or_patterns_of_them() {
        assert_eq!(found(&["sql"]), (names(&["V1__a.sql", "sub/V2__b.sql"]), 0));
        assert_eq!(found(&["filesystem:sql", "filesystem:sql/sub"]), (names(&["V1__a.sql", "sub/V2__b.sql"]), 0));
        assert_eq!(found(&["more/?"]), (names(&["x/V3__c.sql", "y/V4__d.sql"]), 0));
        assert_eq!(found(&["s*", "more/**/y"]), (names(&["sql/V1__a.sql", "sql/sub/V2__b.sql", "y/V4__d.sql"]), 0));
        assert_eq!(found(&["nothing*", "nowhere", "sql/sub"]), (names(&["V2__b.sql"]), 2));
    }
}
