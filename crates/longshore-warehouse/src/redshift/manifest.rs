//! The list of a load's parts, which COPY reads first.

/// One JSON object. Every part is mandatory: one that is missing fails the COPY instead of being passed over.
pub(super) fn manifest(urls: impl Iterator<Item = String>) -> Vec<u8> {
    let entries: Vec<serde_json::Value> =
        urls.map(|url| serde_json::json!({ "url": url, "mandatory": true })).collect();
    serde_json::json!({ "entries": entries }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_mandatory() {
        let urls = ["s3://b/a \"x\"/part-00000.csv.zst", "s3://b/part-00001.csv.zst"].map(str::to_owned);
        let json: serde_json::Value = serde_json::from_slice(&manifest(urls.clone().into_iter())).unwrap();
        let entries = json["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().zip(&urls).all(|(entry, url)| entry["mandatory"] == true && entry["url"] == **url));
    }
}
