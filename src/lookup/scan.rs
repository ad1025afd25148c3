//! Which `:name`s an SQL text binds.

use compact_str::CompactString;

/// The names that `sql` binds, each once, in order of appearance. Strings, comments, casts (`::type`) and dollar quoting
/// bind nothing. The error says what is not closed.
pub fn binds(sql: &str) -> Result<Vec<CompactString>, String> {
    let mut names: Vec<CompactString> = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        if let Some((open, close)) = enclosed(rest) {
            let inner = &rest[open.len()..];
            let end = inner.find(&close).ok_or_else(|| format!("`{open}` is not closed"))?;
            rest = &inner[end + close.len()..];
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(cast) = rest.strip_prefix("::") {
            rest = cast;
        } else if let Some(after) = rest.strip_prefix(':') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let name = &after[..end];
            if name.starts_with(|c: char| !c.is_ascii_digit()) && !names.iter().any(|known| known == name) {
                names.push(name.into());
            }
            rest = &after[end..];
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(names)
}

/// What opens here and closes later, with what closes it.
fn enclosed(rest: &str) -> Option<(&str, String)> {
    for (open, close) in [("'", "'"), ("\"", "\""), ("`", "`"), ("/*", "*/")] {
        if rest.starts_with(open) {
            return Some((open, close.to_owned()));
        }
    }
    let tag = rest.strip_prefix('$')?;
    let end = tag.find('$')?;
    let is_tag =
        tag[..end].chars().all(|c| c.is_alphanumeric() || c == '_') && !tag.starts_with(|c: char| c.is_ascii_digit());
    is_tag.then(|| (&rest[..end + 2], rest[..end + 2].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_found_outside_of_what_is_quoted() {
        for (sql, expected) in [
            ("SELECT :a, :b, :a", &["a", "b"][..]),
            ("SELECT ':a', \":b\" -- :c\n, :d /* :e */", &["d"]),
            ("SELECT 'it''s :a', x::text, $$ :b $$, $t$ :c $t$, :d", &["d"]),
            ("SELECT 1", &[]),
        ] {
            assert_eq!(binds(sql).unwrap(), expected, "{sql}");
        }
        assert!(binds("SELECT 'a").is_err());
    }
}
