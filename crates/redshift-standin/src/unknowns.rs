//! What is not documented of Redshift and has to be chosen.

use crate::copy::Switches;

/// What is not documented of Redshift and has to be chosen: by default the harsher reading.
#[derive(Debug, Clone)]
pub struct Unknowns {
    /// Statements sent together, without BEGIN, are one transaction; else each is its own.
    pub batch_is_one_transaction: bool,
    /// `LIKE` inherits IDENTITY.
    pub like_inherits_identity: bool,
    /// TRUNCATE within a transaction is refused and told, as nobody wants what it does.
    pub refuse_truncate_in_block: bool,
    /// After a TRUNCATE within a transaction there is a new one; else there is none.
    pub truncate_leaves_block_open: bool,
    /// The tag of MERGE has the count of its rows.
    pub merge_tag_has_count: bool,
    /// MERGE … REMOVE DUPLICATES takes a source with a key twice; else that is an error.
    pub source_keys_may_repeat: bool,
    /// `'\N'` in a COPY is the token of two characters; else the backslash escapes, and it is `N`.
    pub backslash_n_reaches_copy: bool,
    /// A cancel request through the endpoint of a workgroup arrives.
    pub serverless_takes_cancel: bool,
    /// COPY from a prefix without objects loads nothing; else that is an error.
    pub prefix_may_be_empty: bool,
    /// How COPY reads a file.
    pub reading: Switches,
}

impl Default for Unknowns {
    fn default() -> Self {
        Self {
            batch_is_one_transaction: false,
            like_inherits_identity: false,
            refuse_truncate_in_block: true,
            truncate_leaves_block_open: false,
            merge_tag_has_count: false,
            source_keys_may_repeat: false,
            backslash_n_reaches_copy: false,
            serverless_takes_cancel: false,
            prefix_may_be_empty: false,
            reading: Switches::default(),
        }
    }
}

impl Unknowns {
    /// Every switch by its name.
    fn switches(&mut self) -> [(&'static str, &mut bool); 20] {
        let reading = &mut self.reading;
        [
            ("batch_is_one_transaction", &mut self.batch_is_one_transaction),
            ("like_inherits_identity", &mut self.like_inherits_identity),
            ("refuse_truncate_in_block", &mut self.refuse_truncate_in_block),
            ("truncate_leaves_block_open", &mut self.truncate_leaves_block_open),
            ("merge_tag_has_count", &mut self.merge_tag_has_count),
            ("source_keys_may_repeat", &mut self.source_keys_may_repeat),
            ("backslash_n_reaches_copy", &mut self.backslash_n_reaches_copy),
            ("serverless_takes_cancel", &mut self.serverless_takes_cancel),
            ("prefix_may_be_empty", &mut self.prefix_may_be_empty),
            ("crlf_ends_lines", &mut reading.crlf_ends_lines),
            ("bom_is_skipped", &mut reading.bom_is_skipped),
            ("quoted_empty_is_null", &mut reading.quoted_empty_is_null),
            ("null_token_matches_quoted", &mut reading.null_token_matches_quoted),
            ("spaces_around_numbers", &mut reading.spaces_around_numbers),
            ("boolean_words_any_case", &mut reading.boolean_words_any_case),
            ("rows_over_4_mb", &mut reading.rows_over_4_mb),
            ("several_character_delimiters", &mut reading.several_character_delimiters),
            ("truncation_keeps_characters_whole", &mut reading.truncation_keeps_characters_whole),
            ("unassigned_characters_pass", &mut reading.unassigned_characters_pass),
            ("files_may_have_no_rows", &mut reading.files_may_have_no_rows),
        ]
    }

    /// Sets switches as `name=on` or `name=off`.
    ///
    /// # Errors
    /// The text for whoever asked for a switch that there is not, or for another position.
    pub fn set(&mut self, setting: &str) -> Result<(), String> {
        let (name, position) = setting.split_once('=').unwrap_or((setting, ""));
        let is_on = match position {
            "on" => true,
            "off" => false,
            _ => return Err(format!("`{setting}` is no switch: write `name=on` or `name=off`")),
        };
        let switches = self.switches();
        let known = switches.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        match switches.into_iter().find(|(known, _)| *known == name) {
            Some((_, switch)) => *switch = is_on,
            None => return Err(format!("there is no switch `{name}`, only {known}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_set_by_name() {
        let mut unknowns = Unknowns::default();
        unknowns.set("refuse_truncate_in_block=off").unwrap();
        unknowns.set("rows_over_4_mb=on").unwrap();
        assert!(!unknowns.refuse_truncate_in_block && unknowns.reading.rows_over_4_mb);
        assert!(unknowns.set("nonsense=on").unwrap_err().contains("merge_tag_has_count"));
        assert!(unknowns.set("rows_over_4_mb").is_err());
    }
}
