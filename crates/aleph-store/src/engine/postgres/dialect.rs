//! From the SQL of this crate to that of PostgreSQL, once a statement.

/// Translates a statement: placeholders get dollars, named indexes go (the planner has the same ones and
/// its statistics), lists come as arrays, and joins that are written in the order in which they should
/// run are plain joins (sessions keep that order: `join_collapse_limit`).
pub(super) fn translate(sql: &str) -> String {
    let mut translated = without_indexes(sql);
    for (ours, theirs) in PHRASES {
        translated = translated.replace(ours, theirs);
    }
    number_placeholders(&translated)
}

const PHRASES: [(&str, &str); 6] = [
    (" NOT INDEXED", ""),
    ("IN (SELECT value FROM json_each(?))", "= ANY (CAST(? AS TEXT[]))"),
    ("IN (SELECT value FROM json_each(?1))", "= ANY (CAST(?1 AS TEXT[]))"),
    ("FROM json_each(?) h", "FROM unnest(CAST(? AS TEXT[])) AS h (value)"),
    ("CROSS JOIN", "JOIN"),
    ("instr(", "strpos("),
];

fn without_indexes(sql: &str) -> String {
    const HINT: &str = " INDEXED BY ";
    let mut rest = sql;
    let mut kept = String::with_capacity(sql.len());
    while let Some((before, after)) = rest.split_once(HINT) {
        kept.push_str(before);
        let name = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
        rest = &after[name..];
    }
    kept.push_str(rest);
    kept
}

/// `?3` is `$3`; a bare `?` is the next one. Quoted text stays.
fn number_placeholders(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 8);
    let mut next = 1;
    let mut is_quoted = false;
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        is_quoted ^= character == '\'';
        if character != '?' || is_quoted {
            numbered.push(character);
            continue;
        }
        numbered.push('$');
        if characters.peek().is_none_or(|next| !next.is_ascii_digit()) {
            numbered.push_str(&next.to_string());
            next += 1;
        }
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn what_differs_is_translated() {
        for (ours, theirs) in [
            ("SELECT a FROM t WHERE b = ?1 AND c = '?2'", "SELECT a FROM t WHERE b = $1 AND c = '?2'"),
            ("SELECT a FROM t INDEXED BY t_b WHERE b = ? LIMIT ?", "SELECT a FROM t WHERE b = $1 LIMIT $2"),
            (
                "SELECT 1 FROM t x INDEXED BY t_x CROSS JOIN u INDEXED BY u_x ON u.a = x.a",
                "SELECT 1 FROM t x JOIN u ON u.a = x.a",
            ),
            (
                "SELECT 1 FROM t WHERE a IN (SELECT value FROM json_each(?)) AND b = ?",
                "SELECT 1 FROM t WHERE a = ANY (CAST($1 AS TEXT[])) AND b = $2",
            ),
            (
                "SELECT 1 FROM json_each(?) h CROSS JOIN t ON t.a = h.value",
                "SELECT 1 FROM unnest(CAST($1 AS TEXT[])) AS h (value) JOIN t ON t.a = h.value",
            ),
        ] {
            assert_eq!(translate(ours), theirs);
        }
    }
}
