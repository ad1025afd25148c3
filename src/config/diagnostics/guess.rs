//! What looks like a secret in a text: for files whose structure is not known, and for every line that is shown.

use std::ops::Range;

/// Keys whose values are secrets, whatever section they stand in.
const SECRET_KEYS: [&str; 8] =
    ["key", "secret", "password", "passwd", "token", "access_token", "api_key", "private_key"];

/// The secrets of a whole file that is not known to be YAML: values of telling keys, everything inside of `tokens`.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // The indentation of the `tokens` key whose block this is.
    let mut tokens: Option<usize> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let indent = content.len() - content.trim_start().len();
        if !content.is_empty() && tokens.is_some_and(|outer| indent <= outer) {
            tokens = None;
        }
        if tokens.is_some() {
            found.push(start + indent..start + content.len());
        } else if let Some(at) = after_key(content, "tokens") {
            tokens = Some(indent);
            found.push(start + at..start + content.len());
        }
        for key in SECRET_KEYS {
            if let Some(at) = after_key(content, key) {
                found.push(start + at..start + content.len());
            }
        }
        start += line.len();
    }
    found.retain(|range| !range.is_empty());
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

/// Where the value of `key` starts in this line, if the line has that key.
fn after_key(line: &str, key: &str) -> Option<usize> {
    line.match_indices(key).find_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        let alone = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-' && c != '.');
        let value = rest.strip_prefix(':').filter(|_| alone)?;
        let value = value.trim_start();
        Some(line.len() - value.len())
    })
}
