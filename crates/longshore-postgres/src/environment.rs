//! libpq's environment variables, which complete what the URL leaves open.

use crate::ConfigError;
use crate::parameter::{HONOURED, Origin, Values};

/// Looks a variable up.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Adds what the environment says and the URL does not.
pub(crate) fn complete(values: &mut Values, environment: &Environment<'_>) -> Result<(), ConfigError> {
    if environment("PGSERVICE").is_some_and(|service| !service.is_empty()) {
        return Err(ConfigError::Service { from: "`PGSERVICE`" });
    }
    for (name, variable) in HONOURED {
        let Some(variable) = variable else { continue };
        if values.has(name) {
            continue;
        }
        if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
            values.set(name, value, Origin::Variable(variable));
        }
    }
    Ok(())
}
