//! "Did you mean": the known word that is closest to a wrong one.

/// The candidate that `word` was most likely meant to be, if any is close.
pub(crate) fn similar<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase().replace('-', "_");
    // A third of the letters may be wrong, and two neighbours that changed places count as one.
    let bound = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= bound && *candidate != word)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The end of a message: ``, did you mean `exchange`?``, or nothing where no candidate is close.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    similar(word, candidates).map(|candidate| format!(", did you mean `{candidate}`?")).unwrap_or_default()
}
