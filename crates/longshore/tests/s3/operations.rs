//! The operations of S3 that Longshore uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketVersioningStatus, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    ETagCondition, EncodingType, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    MetadataDirective, Object, PutObjectInput, PutObjectOutput, Range, StreamingBlob, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::fault::Fault;
use super::store::{Contents, Upload, Version, digest};
use super::{BUCKET, REGION, Shared};

/// One connection's view of the store.
pub(super) struct Operations {
    pub(super) shared: Arc<Shared>,
    pub(super) cut: Arc<AtomicBool>,
}

type Answer<T> = S3Result<S3Response<T>>;

/// What befalls a request whose answer is on its way.
#[derive(Default)]
struct Later {
    truncate: Option<usize>,
    stall: Option<usize>,
    wrong_etag: bool,
    lose: bool,
}

impl Operations {
    /// Notes the request and lets happen what the script says.
    async fn begin(&self, operation: &'static str, bucket: &str, key: &str) -> S3Result<Later> {
        let mut later = Later::default();
        for fault in self.shared.script.note(operation, key) {
            match fault {
                Fault::Answer(status, code) => return Err(error(status, code)),
                Fault::Redirect(region) => {
                    let mut error = error(301, "PermanentRedirect");
                    let mut headers = S3Response::new(()).headers;
                    headers.insert("x-amz-bucket-region", region.parse().unwrap());
                    error.set_headers(headers);
                    return Err(error);
                }
                Fault::Reset => {
                    self.cut.store(true, Relaxed);
                    return Err(error(500, "InternalError"));
                }
                Fault::Before(action) => action(),
                Fault::Hold(gate) => gate.notified().await,
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::Truncate(bytes) => later.truncate = Some(bytes),
                Fault::Stall(bytes) => later.stall = Some(bytes),
                Fault::WrongETag => later.wrong_etag = true,
                Fault::LoseAnswer => later.lose = true,
            }
        }
        match bucket {
            BUCKET => Ok(later),
            _ => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist.")),
        }
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap()
    }

    fn answer<T>(&self, later: &Later, output: T) -> Answer<T> {
        if later.lose {
            self.cut.store(true, Relaxed);
        }
        Ok(S3Response::new(output))
    }

    fn versioned(&self) -> bool {
        self.shared.settings.versioned
    }

    /// The source of a copy, if it is what the condition says.
    fn source(&self, source: &CopySource, condition: Option<&ETagCondition>) -> S3Result<Version> {
        let CopySource::Bucket { bucket, key, version_id } = source else { return Err(s3_error!(NotImplemented)) };
        if **bucket != *BUCKET {
            return Err(s3_error!(NoSuchBucket));
        }
        let contents = self.contents();
        let version = contents.version(key, version_id.as_deref()).filter(|version| version.body.is_some());
        let version = version.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
        matches(condition, version)?;
        Ok(version.clone())
    }

    fn is_free(&self, key: &str, none_match: bool) -> S3Result<()> {
        match none_match && self.contents().current(key).is_some() {
            true => Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions did not hold")),
            false => Ok(()),
        }
    }
}

fn error(status: u16, code: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::from_bytes(code.as_bytes()).unwrap(), "Injected by a test.");
    error.set_status_code(status.try_into().unwrap());
    error
}

fn matches(condition: Option<&ETagCondition>, version: &Version) -> S3Result<()> {
    match condition {
        Some(ETagCondition::ETag(etag)) if etag.value() != version.etag => {
            Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions did not hold"))
        }
        _ => Ok(()),
    }
}

fn etag(version: &Version) -> Option<ETag> {
    Some(ETag::Strong(version.etag.clone()))
}

/// As S3 writes keys into a listing: a space is a plus.
fn url_encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = Vec::new();
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|_| s3_error!(IncompleteBody))?);
    }
    Ok(bytes.into())
}

/// A body in pieces; a truncated one ends with an error, which cuts the connection.
fn body(bytes: Bytes, later: &Later) -> StreamingBlob {
    const PIECE: usize = 64 * 1024;
    let kept = bytes.slice(..later.truncate.or(later.stall).unwrap_or(bytes.len()).min(bytes.len()));
    let pieces: Vec<_> = (0..kept.len()).step_by(PIECE).map(|at| kept.slice(at..kept.len().min(at + PIECE))).collect();
    let broken = later.truncate.map(|_| Err(std::io::Error::other("cut by a test")));
    let whole = stream::iter(pieces.into_iter().map(Ok).chain(broken));
    match later.stall {
        Some(_) => StreamingBlob::wrap(whole.chain(stream::pending())),
        None => StreamingBlob::wrap(whole),
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        let later = self.begin("HeadBucket", &request.input.bucket, "").await?;
        self.answer(&later, HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() })
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let later = self.begin("GetBucketVersioning", &request.input.bucket, "").await?;
        let status = self.versioned().then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
        self.answer(&later, GetBucketVersioningOutput { status, ..Default::default() })
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let later = self.begin("ListObjectsV2", &input.bucket, &prefix).await?;
        let page = input.max_keys.map_or(usize::MAX, |keys| keys as usize).min(self.shared.settings.page);
        let after = input.continuation_token.clone();
        let contents = self.contents();
        let mut found = contents
            .keys
            .keys()
            .filter(|key| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after))
            .filter_map(|key| Some((key, contents.current(key)?)));
        let encode = input.encoding_type.as_ref().is_some_and(|kind| kind.as_str() == EncodingType::URL);
        let objects: Vec<_> = found.by_ref().take(page).collect();
        let next = objects.last().filter(|_| found.next().is_some()).map(|(key, _)| (*key).clone());
        let objects: Vec<Object> = objects
            .into_iter()
            .map(|(key, version)| Object {
                key: Some(if encode { url_encoded(key) } else { key.clone() }),
                e_tag: if later.wrong_etag { Some(ETag::Strong(digest(b"wrong"))) } else { etag(version) },
                size: version.body.as_ref().map(|body| body.len() as i64),
                last_modified: Some(version.modified.into()),
                ..Default::default()
            })
            .collect();
        let output = ListObjectsV2Output {
            name: Some(BUCKET.to_owned()),
            key_count: Some(objects.len() as i32),
            contents: Some(objects),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            encoding_type: input.encoding_type,
            ..Default::default()
        };
        self.answer(&later, output)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let input = request.input;
        let later = self.begin("HeadObject", &input.bucket, &input.key).await?;
        let contents = self.contents();
        let version = contents.version(&input.key, input.version_id.as_deref());
        let version = version.filter(|version| version.body.is_some()).ok_or_else(|| s3_error!(NoSuchKey))?;
        matches(input.if_match.as_ref(), version)?;
        let output = HeadObjectOutput {
            content_length: version.body.as_ref().map(|body| body.len() as i64),
            content_type: version.content_type.clone(),
            content_encoding: version.content_encoding.clone(),
            e_tag: etag(version),
            last_modified: Some(version.modified.into()),
            metadata: Some(version.metadata.clone().into_iter().collect()),
            version_id: version.id.clone(),
            ..Default::default()
        };
        self.answer(&later, output)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let input = request.input;
        let asked_for = input.range.as_ref().map(Range::to_header_string);
        self.shared.script.ranges.lock().unwrap().push(asked_for);
        let later = self.begin("GetObject", &input.bucket, &input.key).await?;
        let contents = self.contents();
        let version = contents.version(&input.key, input.version_id.as_deref());
        let version = version.filter(|version| version.body.is_some());
        let version = version.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
        matches(input.if_match.as_ref(), version)?;
        let bytes = version.body.clone().unwrap_or_default();
        let range = input.range.filter(|_| !self.shared.settings.ignores_ranges);
        let (content_range, bytes) = match range {
            None => (None, bytes),
            Some(range) => {
                let size = bytes.len();
                let range = range.check(size as u64).map_err(|_| s3_error!(InvalidRange))?;
                let header = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                (Some(header), bytes.slice(range.start as usize..range.end as usize))
            }
        };
        let output = GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            content_range,
            content_type: version.content_type.clone(),
            content_encoding: version.content_encoding.clone(),
            e_tag: if later.wrong_etag { Some(ETag::Strong(digest(b"wrong"))) } else { etag(version) },
            last_modified: Some(version.modified.into()),
            version_id: version.id.clone(),
            body: Some(body(bytes, &later)),
            ..Default::default()
        };
        self.answer(&later, output)
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let input = request.input;
        let later = self.begin("PutObject", &input.bucket, &input.key).await?;
        let bytes = collect(input.body).await?;
        self.is_free(&input.key, input.if_none_match.is_some())?;
        let version = Version {
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            content_type: input.content_type.clone(),
            content_encoding: input.content_encoding.clone(),
            ..Version::of(bytes)
        };
        let e_tag = etag(&version);
        let version_id = self.contents().put(&input.key, version, self.versioned());
        self.answer(&later, PutObjectOutput { e_tag, version_id, ..Default::default() })
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        let input = request.input;
        let later = self.begin("DeleteObject", &input.bucket, &input.key).await?;
        let versioned = self.versioned();
        let mut contents = self.contents();
        match (&input.version_id, contents.current(&input.key)) {
            (Some(id), _) => contents.remove_version(&input.key, id),
            (None, current) => {
                if input.if_match.is_some() && !self.shared.settings.ignores_conditional_deletes {
                    let current = current.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
                    matches(input.if_match.as_ref(), current)?;
                }
                contents.remove(&input.key, versioned);
            }
        }
        drop(contents);
        self.answer(&later, DeleteObjectOutput::default())
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let none_match = request.headers.contains_key("if-none-match");
        let input = request.input;
        let later = self.begin("CopyObject", &input.bucket, &input.key).await?;
        if none_match && self.shared.settings.refuses_conditional_copies {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        let source = self.source(&input.copy_source, input.copy_source_if_match.as_ref())?;
        self.is_free(&input.key, none_match)?;
        let replace = input.metadata_directive.is_some_and(|what| what.as_str() == MetadataDirective::REPLACE);
        let version = match replace {
            true => Version {
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
                content_type: input.content_type.clone(),
                content_encoding: input.content_encoding.clone(),
                modified: SystemTime::now(),
                id: None,
                ..source
            },
            false => Version { modified: SystemTime::now(), id: None, ..source },
        };
        let result = CopyObjectResult { e_tag: etag(&version), ..Default::default() };
        self.contents().put(&input.key, version, self.versioned());
        self.answer(&later, CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = request.input;
        let later = self.begin("CreateMultipartUpload", &input.bucket, &input.key).await?;
        let like = Version {
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            content_type: input.content_type.clone(),
            content_encoding: input.content_encoding.clone(),
            ..Version::of(Bytes::new())
        };
        let upload_id = Some(self.contents().begin_upload(&input.key, like));
        self.answer(&later, CreateMultipartUploadOutput { upload_id, ..Default::default() })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let input = request.input;
        let later = self.begin("UploadPart", &input.bucket, &input.key).await?;
        let bytes = collect(input.body).await?;
        let e_tag = Some(ETag::Strong(digest(&bytes)));
        let mut contents = self.contents();
        let upload = contents.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        self.answer(&later, UploadPartOutput { e_tag, ..Default::default() })
    }

    async fn upload_part_copy(&self, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
        let input = request.input;
        let later = self.begin("UploadPartCopy", &input.bucket, &input.key).await?;
        let source = self.source(&input.copy_source, input.copy_source_if_match.as_ref())?;
        let bytes = source.body.unwrap_or_default();
        let bytes = match input.copy_source_range.as_deref().map(Range::parse) {
            None => bytes,
            Some(range) => {
                let range = range.map_err(|_| s3_error!(InvalidArgument))?;
                let range = range.check(bytes.len() as u64).map_err(|_| s3_error!(InvalidRange))?;
                bytes.slice(range.start as usize..range.end as usize)
            }
        };
        let e_tag = Some(ETag::Strong(digest(&bytes)));
        let mut contents = self.contents();
        let upload = contents.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        let copy_part_result = Some(CopyPartResult { e_tag, ..Default::default() });
        self.answer(&later, UploadPartCopyOutput { copy_part_result, ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = request.input;
        let later = self.begin("CompleteMultipartUpload", &input.bucket, &input.key).await?;
        if input.if_none_match.is_some() && self.shared.settings.refuses_conditional_copies {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        self.is_free(&input.key, input.if_none_match.is_some())?;
        let mut contents = self.contents();
        let upload = contents.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let version = assembled(upload, &named.iter().filter_map(|part| part.part_number).collect::<Vec<_>>())?;
        let (key, e_tag) = (upload.key.clone(), etag(&version));
        contents.uploads.remove(&input.upload_id);
        let version_id = contents.put(&key, version, self.versioned());
        drop(contents);
        self.answer(&later, CompleteMultipartUploadOutput { e_tag, version_id, ..Default::default() })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = request.input;
        let later = self.begin("AbortMultipartUpload", &input.bucket, &input.key).await?;
        self.contents().uploads.remove(&input.upload_id);
        self.answer(&later, AbortMultipartUploadOutput::default())
    }
}

/// The object that the named parts make up.
fn assembled(upload: &Upload, named: &[i32]) -> S3Result<Version> {
    let mut bytes = Vec::new();
    for number in named {
        bytes.extend_from_slice(upload.parts.get(number).ok_or_else(|| s3_error!(InvalidPart))?);
    }
    let bytes = Bytes::from(bytes);
    let etag = format!("{}-{}", digest(&bytes), named.len());
    Ok(Version { body: Some(bytes), etag, modified: SystemTime::now(), ..upload.like.clone() })
}
