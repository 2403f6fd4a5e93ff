//! A small scanner for Rust sources: comments and literals blanked, test code taken out, words looked up.

/// The source with comments, string and character literals blanked; lines keep their numbers.
pub(crate) fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = piece(rest, out.chars().next_back());
        let taken = &rest[..length.max(first.len_utf8())];
        if keep {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = &rest[taken.len()..];
    }
    out
}

/// How long the next piece of source is and whether it is code.
fn piece(rest: &str, before: Option<char>) -> (usize, bool) {
    let inside_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if let Some(length) = raw_string(rest).filter(|_| !inside_a_word) {
        return (length, false);
    }
    if rest.starts_with('"') {
        return (quoted(rest), false);
    }
    if rest.starts_with('\'') {
        return character(rest).map_or((1, true), |length| (length, false));
    }
    (1, true)
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and their like, if one starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    let body = tail[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    Some(body.find(&close).map_or(rest.len(), |at| start + at + close.len()))
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, as against a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        return rest[3..].find('\'').map(|at| 3 + at + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}

/// [`code`] without the items under `#[cfg(test)]`, blanked likewise.
pub(crate) fn product(source: &str) -> String {
    let mut code = code(source);
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = start + item_end(&code[start..]);
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// Where the item that starts here ends: at its closing brace, or at a semicolon outside any bracket.
fn item_end(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Where `needle` stands in `code` as whole words, as 1-based lines.
pub(crate) fn lines_with(code: &str, needle: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let starts_word = needle.chars().next().is_some_and(is_word);
    let ends_word = needle.chars().next_back().is_some_and(is_word);
    code.match_indices(needle)
        .filter(|(at, _)| !starts_word || !code[..*at].chars().next_back().is_some_and(is_word))
        .filter(|(at, _)| !ends_word || !code[at + needle.len()..].chars().next().is_some_and(is_word))
        .map(|(at, _)| 1 + code[..at].matches('\n').count())
        .collect()
}

#[test]
fn comments_literals_and_tests_are_no_product_code() {
    let source = r####"
        // a.unwrap()
        /* b.unwrap() /* nested */ c.unwrap() */
        let d = "d.unwrap()"; let e = r#"e.unwrap()"#; let f = '"'; let g = b'\'';
        fn h<'a>(i: &'a str) { i.unwrap() }
        #[cfg(test)]
        mod tests { fn j() { k.unwrap() } }
        #[cfg(test)]
        mod more;
        fn l() { m.unwrap() }
    "####;
    assert_eq!(lines_with(&product(source), ".unwrap()"), [5, 10]);
    assert_eq!(lines_with(&code(source), ".unwrap()"), [5, 7, 10]);
    assert_eq!(product(source).lines().count(), source.lines().count());
}

#[test]
fn a_word_is_found_as_a_whole_only() {
    assert_eq!(lines_with("rand::x\noperand\nrandom\n(rand)", "rand"), [1, 4]);
}
