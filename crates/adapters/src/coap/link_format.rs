//! CoRE Link Format (RFC 6690), strict and bounded.
//!
//! Read as the RFC's grammar says, with the optional white space that RFC 8288 allows around `,`, `;` and `=`. Targets
//! are absolute paths or absolute URIs; `<>` and relative paths name no resource of a server's root and are refused, as
//! are percent signs without two hexadecimal digits. `rt`, `if` and `sz` may stand once a link (sections 3.1 to 3.3).
//! Left out: the meaning of `anchor` and `rel`, and RFC 8187 decoding of `title*` (kept as written).

use std::fmt;

/// The longest document that is read.
pub const MAX_DOCUMENT: usize = 16 * 1024;
/// How many links a document may have.
pub const MAX_LINKS: usize = 256;
/// How many attributes a link may have.
pub const MAX_ATTRIBUTES: usize = 32;

/// A link of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// As written: an absolute path with an optional query, or an absolute URI.
    pub target: String,
    /// In their order, names in lower case.
    pub attributes: Vec<Attribute>,
}

/// A name, and a value where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `rt`, `if`, `ct`, …
    pub name: String,
    /// Unquoted.
    pub value: Option<String>,
}

/// Where and why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("link format, byte {at}: {expected} is expected")]
pub struct BadLinks {
    /// Offset in bytes.
    pub at: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl Link {
    /// The value of the first attribute of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.name == name).and_then(|a| a.value.as_deref())
    }

    /// Whether an attribute of this name is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }

    /// The words of a space-separated value (`rt`, `if`).
    pub fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.value(name).unwrap_or_default().split_ascii_whitespace()
    }

    /// Content-Formats (`ct`, RFC 7252, section 7.2.1); what is no number is left out.
    #[must_use]
    pub fn content_formats(&self) -> Vec<u16> {
        self.words("ct").filter_map(|word| word.parse().ok()).collect()
    }

    /// The greatest size of its representation, where the server says it (`sz`).
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.value("sz").and_then(|size| size.parse().ok())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        for Attribute { name, value } in &self.attributes {
            match value {
                None => write!(f, ";{name}")?,
                Some(value) => {
                    write!(f, ";{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a document.
///
/// ```
/// use sofie_adapters::coap::link_format;
/// let links = link_format::parse(r#"</lock>;if="core.a";ct=50,</t>;obs"#)?;
/// assert_eq!(links[0].content_formats(), [50]);
/// assert!(links[1].has("obs"));
/// # Ok::<(), link_format::BadLinks>(())
/// ```
///
/// # Errors
/// [`BadLinks`]: the first place that breaks the grammar or a limit.
pub fn parse(text: &str) -> Result<Vec<Link>, BadLinks> {
    if text.len() > MAX_DOCUMENT {
        return Err(BadLinks { at: MAX_DOCUMENT, expected: "a document of at most 16 KiB" });
    }
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let mut links = Vec::new();
    if reader.peek().is_none() {
        return Ok(links);
    }
    loop {
        if links.len() == MAX_LINKS {
            return Err(reader.bad("no more than 256 links"));
        }
        links.push(reader.link()?);
        reader.space();
        match reader.peek() {
            None => return Ok(links),
            Some(b',') => reader.at += 1,
            Some(_) => return Err(reader.bad("',' or ';' or the end")),
        }
        reader.space();
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn bad(&self, expected: &'static str) -> BadLinks {
        BadLinks { at: self.at, expected }
    }

    /// Optional white space (RFC 8288, section 3: OWS and BWS).
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), BadLinks> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.bad(expected))
        }
    }

    /// As many bytes as `fits` accepts.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> &str {
        let start = self.at;
        while self.peek().is_some_and(&fits) {
            self.at += 1;
        }
        // Only ASCII fits, so both ends are character boundaries.
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn link(&mut self) -> Result<Link, BadLinks> {
        self.take(b'<', "'<'")?;
        let target = self.target()?;
        self.take(b'>', "'>'")?;
        let mut attributes = Vec::new();
        loop {
            let before = self.at;
            self.space();
            if self.peek() != Some(b';') {
                self.at = before;
                return Ok(Link { target, attributes });
            }
            self.at += 1;
            self.space();
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(self.bad("no more than 32 attributes"));
            }
            let attribute = self.attribute()?;
            let known = |a: &Attribute| a.name == attribute.name;
            if matches!(attribute.name.as_str(), "rt" | "if" | "sz") && attributes.iter().any(known) {
                return Err(self.bad("one rt, if or sz a link"));
            }
            attributes.push(attribute);
        }
    }

    fn target(&mut self) -> Result<String, BadLinks> {
        let start = self.at;
        let target = self.run(is_uri_byte).to_owned();
        let bad = |at: usize, expected| Err(BadLinks { at: start + at, expected });
        let bytes = target.as_bytes();
        for (at, _) in target.match_indices('%') {
            if !bytes[at + 1..].iter().take(2).filter(|b| b.is_ascii_hexdigit()).count().eq(&2) {
                return bad(at, "two hexadecimal digits after '%'");
            }
        }
        let scheme = target.split_once(':').map(|(scheme, rest)| (scheme.as_bytes(), rest));
        let absolute = scheme.is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
        });
        let path = target.starts_with('/') && !target.starts_with("//");
        if path || absolute { Ok(target) } else { bad(0, "an absolute path or an absolute URI") }
    }

    fn attribute(&mut self) -> Result<Attribute, BadLinks> {
        let mut name = self.run(is_name_byte).to_ascii_lowercase();
        if name.is_empty() {
            return Err(self.bad("the name of an attribute"));
        }
        if self.peek() == Some(b'*') {
            self.at += 1;
            name.push('*');
        }
        let before = self.at;
        self.space();
        if self.peek() != Some(b'=') {
            self.at = before;
            return Ok(Attribute { name, value: None });
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b'"') {
            return Ok(Attribute { name, value: Some(self.quoted()?) });
        }
        let value = self.run(is_token_byte).to_owned();
        if value.is_empty() { Err(self.bad("a value")) } else { Ok(Attribute { name, value: Some(value) }) }
    }

    /// RFC 6690's quoted-string (RFC 2616, section 2.2): any UTF-8, a backslash quotes one character.
    fn quoted(&mut self) -> Result<String, BadLinks> {
        self.take(b'"', "'\"'")?;
        let mut value = String::new();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut characters = rest.char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, quoted)) if !quoted.is_control() => value.push(quoted),
                    _ => break,
                },
                c if c.is_control() => {
                    self.at += offset;
                    return Err(self.bad("no control character"));
                }
                c => value.push(c),
            }
        }
        self.at = self.text.len();
        Err(self.bad("a closing '\"'"))
    }
}

/// RFC 3986: unreserved, reserved and '%'.
const fn is_uri_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b':'
                | b'/'
                | b'?'
                | b'#'
                | b'['
                | b']'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b'%'
        )
}

/// RFC 6690: parmname, of RFC 5987's attr-char.
const fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 6690: ptokenchar.
const fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'/'
                | b':'
                | b'<'
                | b'='
                | b'>'
                | b'?'
                | b'@'
                | b'['
                | b']'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

#[cfg(test)]
mod tests;
