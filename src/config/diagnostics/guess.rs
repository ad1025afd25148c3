//! What may be a secret in a text: in a file whose structure is not known, and in every line that is shown.

use std::ops::Range;

/// What may be a secret in a file that is no YAML: every word but the known ones, which are keys of the configuration.
/// What is left shows how the text is built, and that is what is wrong with it.
pub(super) fn secrets(text: &str, is_known: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let is_structure = |c: char| c.is_whitespace() || "{}[],:\"'#".contains(c);
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if is_structure(c) {
            let word = &text[start..at];
            if word.chars().any(char::is_alphanumeric) && !is_known(word) {
                found.push(start..at);
            }
            start = at + c.len_utf8();
        }
    }
    found
}

/// The `user:password` parts of URLs in a line: from `//` to the last `@` before the URL ends.
pub(super) fn credentials(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let start = at + "://".len();
        let end = line[start..].find([' ', '"', '\'', '\t']).map_or(line.len(), |length| start + length);
        if let Some(length) = line[start..end].rfind('@') {
            found.push(start..start + length);
        }
    }
    found
}

/// What a comment at the end of a line of YAML says: it may be a secret that somebody took out for a while.
pub(super) fn comment(line: &str) -> Option<Range<usize>> {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('"' | '\'', None) if !before.is_alphanumeric() => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('#', None) if before.is_whitespace() => {
                let said = line[at + 1..].trim();
                let start = line.len() - line[at + 1..].trim_start().len();
                return (!said.is_empty()).then(|| start..start + said.len());
            }
            _ => {}
        }
        before = c;
    }
    None
}

/// A text with the `user:password` parts of its URLs masked.
pub(super) fn without_credentials(text: &str) -> String {
    let mut masked = text.to_owned();
    for range in credentials(text).into_iter().rev() {
        masked.replace_range(range, "***");
    }
    masked
}
