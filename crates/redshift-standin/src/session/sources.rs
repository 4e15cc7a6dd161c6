//! Which objects a COPY reads: those of a prefix or of a manifest.

use crate::copy::Statement;
use crate::objects::{Objects, Problem};
use crate::refusal::Refusal;
use crate::server::Role;

/// An object to read.
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) mandatory: bool,
}

/// The objects that are to be read.
pub(super) async fn sources(
    objects: &Objects,
    role: Option<&Role>,
    statement: &Statement,
    query: i64,
    may_be_empty: bool,
) -> Result<Vec<Source>, Refusal> {
    let (bucket, key) = location(&statement.from)
        .ok_or_else(|| Refusal::new("42601", format!("invalid S3 path \"{}\"", statement.from)))?;
    let denied =
        || "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 0,ExtRid 0,CanRetry 1".to_owned();
    if role.is_some_and(|role| !role.can_list) {
        return Err(failed(&denied(), 8001, "Listing bucket", query));
    }
    if !statement.options.manifest {
        let listed = objects
            .list(&bucket, &key)
            .await
            .map_err(|problem| failed(&service_text(&problem), 8001, "Listing bucket", query))?;
        if listed.is_empty() && !may_be_empty {
            return Err(failed(&format!("The specified S3 prefix '{key}' does not exist"), 8001, "", query));
        }
        if role.is_some_and(|role| !role.can_get) {
            return Err(failed(&denied(), 8001, &format!("S3 key being read : {}", statement.from), query));
        }
        let source = |key: String| Source { bucket: bucket.clone(), key, mandatory: true };
        return Ok(listed.into_iter().map(|object| source(object.key)).collect());
    }
    let needs_path =
        || Refusal::new("XX000", "COPY with MANIFEST parameter requires full path of an Amazon S3 object.");
    if role.is_some_and(|role| !role.can_get) || key.is_empty() || key.ends_with('/') {
        return Err(block(needs_path(), 8001, "", query));
    }
    let bytes = objects.get(&bucket, &key).await.map_err(|problem| {
        if problem.status == 404 && problem.code == "NoSuchKey" {
            return block(needs_path(), 8001, "", query);
        }
        failed(&format!("Problem reading manifest file - {}", service_text(&problem)), 8001, &statement.from, query)
    })?;
    entries(&bytes).ok_or_else(|| {
        failed(&format!("Problem reading manifest file - {} is not a valid manifest", statement.from), 8001, "", query)
    })
}

/// The entries of a manifest. Other keys than `url` and `mandatory` are looked over.
fn entries(bytes: &[u8]) -> Option<Vec<Source>> {
    let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let entries = manifest.get("entries")?.as_array()?;
    let source = |entry: &serde_json::Value| {
        let (bucket, key) = location(entry.get("url")?.as_str()?)?;
        let mandatory = match entry.get("mandatory") {
            None => false,
            Some(value) => value.as_bool()?,
        };
        Some(Source { bucket, key, mandatory })
    };
    entries.iter().map(source).collect()
}

fn location(url: &str) -> Option<(String, String)> {
    let (bucket, key) = url.strip_prefix("s3://")?.split_once('/').unwrap_or((url.strip_prefix("s3://")?, ""));
    (!bucket.is_empty()).then(|| (bucket.to_owned(), key.to_owned()))
}

pub(super) fn service_text(problem: &Problem) -> String {
    format!(
        "S3ServiceException:{},Status {},Error {},Rid 0,ExtRid 0,CanRetry 1",
        problem.message, problem.status, problem.code
    )
}

/// An error before the load begins, with the block that Redshift puts into its detail.
pub(super) fn failed(text: &str, code: u32, context: &str, query: i64) -> Refusal {
    block(Refusal::new("XX000", text), code, context, query)
}

fn block(refusal: Refusal, code: u32, context: &str, query: i64) -> Refusal {
    let rule = "-----------------------------------------------";
    let detail = format!(
        "\n  {rule}\n  error:  {}\n  code:      {code}\n  context:   {context}\n  query:     {query}\n  \
         location:  s3_utility.cpp:568\n  process:   padbmaster [pid=29509]\n  {rule}\n",
        refusal.message
    );
    refusal.detail(detail)
}
