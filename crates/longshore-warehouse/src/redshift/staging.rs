//! Where parts of loads lie in the bucket until Redshift has read them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{LoadId, Swept, WarehouseError};

/// The part of a bucket that Redshift reads too.
///
/// Keys are given whole, beginning with [`super::RedshiftConfig::prefix`]. Every method tries again by
/// itself what a network or a store that is busy refuses; an error is final for the load.
#[async_trait]
pub trait Staging: fmt::Debug + Send + Sync + 'static {
    /// Writes an object, over one that is there.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), WarehouseError>;

    /// Removes objects; one that is not there is as good as removed.
    async fn delete(&self, keys: &[String]) -> Result<(), WarehouseError>;

    /// All objects whose key begins with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Vec<Staged>, WarehouseError>;

    /// The URL by which Redshift finds a key: `s3://bucket/key`.
    fn url(&self, key: &str) -> String;
}

/// An object under the staging prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub modified_at: Timestamp,
}

/// The folder of a project under the staging prefix.
pub(super) fn of_project(prefix: &str, project: &str) -> String {
    let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
    format!("{prefix}{slash}{project}/")
}

/// The folder of a load.
pub(super) fn of_load(prefix: &str, project: &str, load_id: LoadId) -> String {
    format!("{}{load_id}/", of_project(prefix, project))
}

/// Removes the folders of loads of this project that are not alive and began before `before`. What was
/// written since then belongs to somebody who is alive, whatever the folder's name says.
pub(super) async fn sweep(
    staging: &dyn Staging,
    prefix: &str,
    project: &str,
    live: &HashSet<LoadId>,
    before: Timestamp,
) -> Result<Swept, WarehouseError> {
    let folder = of_project(prefix, project);
    let mut swept = Swept::default();
    for keys in left_over(&folder, staging.list(&folder).await?, live, before).values() {
        staging.delete(keys).await?;
        swept.staging += 1;
    }
    Ok(swept)
}

/// The keys that were left behind, by load.
fn left_over(
    folder: &str,
    staged: Vec<Staged>,
    live: &HashSet<LoadId>,
    before: Timestamp,
) -> BTreeMap<LoadId, Vec<String>> {
    let mut left: BTreeMap<LoadId, Vec<String>> = BTreeMap::new();
    let mut busy = HashSet::new();
    for object in staged {
        let name = object.key.strip_prefix(folder).and_then(|rest| rest.split_once('/'));
        let Some(load_id) = name.and_then(|(load_id, _)| load_id.parse::<LoadId>().ok()) else { continue };
        if live.contains(&load_id) || load_id.drawn_at().is_none_or(|drawn_at| drawn_at >= before) {
            continue;
        }
        if object.modified_at >= before {
            busy.insert(load_id);
        }
        left.entry(load_id).or_default().push(object.key);
    }
    left.retain(|load_id, _| !busy.contains(load_id));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_loads_of_the_project_are_left_over() {
        let folder = of_project("staging", "acme");
        assert_eq!(folder, "staging/acme/");
        let (dead, alive) = (LoadId::draw(), LoadId::draw());
        let now = Timestamp::now();
        let later = now + std::time::Duration::from_secs(60);
        let staged = |key: String| Staged { key, modified_at: now };
        let objects = vec![
            staged(format!("{folder}{dead}/part-00000.csv.zst")),
            staged(format!("{folder}{dead}/load.manifest")),
            staged(format!("{folder}{alive}/part-00000.csv.zst")),
            staged(format!("{folder}readme.txt")),
            staged(format!("{folder}notes/a")),
        ];
        let left = left_over(&folder, objects.clone(), &HashSet::from([alive]), later);
        assert_eq!(left.len(), 1);
        assert_eq!(left[&dead].len(), 2);
        // Begun later than asked for, or written to since.
        let earlier = now - std::time::Duration::from_secs(60);
        assert!(left_over(&folder, objects, &HashSet::new(), earlier).is_empty());
    }
}
