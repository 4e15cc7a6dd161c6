//! Finds what somebody probably meant.

/// The word nearest to `text`, if one is near enough to be meant.
pub(crate) fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let folded = text.to_lowercase();
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&folded, &word.to_lowercase()), word))
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.chars().count().min(folded.chars().count()) / 3)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let words = ["delimiter", "quote", "header"];
        assert_eq!(nearest("delimeter", words), Some("delimiter"));
        assert_eq!(nearest("Header", words), Some("header"));
        assert_eq!(nearest("compression", words), None);
    }
}
