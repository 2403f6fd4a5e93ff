//! Reads a query: the grammar of RFC 9535, appendix A, by recursive descent that never goes back further than one name.

use serde_json::Value;

use super::{
    BadQuery, Comparison, Inner, JsonPath, Logical, MAX_DEPTH, MAX_QUERY, Operand, Segment, Selector,
};

type Read<T> = Result<T, BadQuery>;

/// Section 2.1: integers are those of I-JSON (RFC 7493).
const MAX_INTEGER: i64 = (1 << 53) - 1;

pub(super) fn query(text: &str) -> Read<JsonPath> {
    if text.len() > MAX_QUERY {
        return Err(BadQuery { at: MAX_QUERY, expected: "a query of at most 1,024 bytes" });
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.demand("$", "$")?;
    let segments = reader.segments()?;
    if reader.peek().is_some() {
        return Err(reader.bad("a segment, or the end,"));
    }
    Ok(JsonPath { segments })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// What may stand in a filter before it is known whether it is compared.
enum Term {
    Literal(Value),
    Query(Inner),
    Value(Operand),
    Logical(Logical),
}

impl<'t> Reader<'t> {
    fn bad(&self, expected: &'static str) -> BadQuery {
        BadQuery { at: self.at, expected }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, expected: &str) -> bool {
        let taken = self.rest().starts_with(expected);
        if taken {
            self.at += expected.len();
        }
        taken
    }

    fn demand(&mut self, token: &str, expected: &'static str) -> Read<()> {
        if self.take(token) { Ok(()) } else { Err(self.bad(expected)) }
    }

    fn while_(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn space(&mut self) {
        self.while_(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth == MAX_DEPTH {
            return Err(self.bad("no more than 16 levels of nesting"));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    /// `segments = *(S segment)`: white space that no segment follows is given back.
    fn segments(&mut self) -> Read<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.space();
            if self.take("..") {
                let selectors =
                    if self.peek() == Some('[') { self.bracketed()? } else { vec![self.shorthand()?] };
                segments.push(Segment { descendant: true, selectors });
            } else if self.take(".") {
                segments.push(Segment { descendant: false, selectors: vec![self.shorthand()?] });
            } else if self.peek() == Some('[') {
                segments.push(Segment { descendant: false, selectors: self.bracketed()? });
            } else {
                self.at = before;
                return Ok(segments);
            }
        }
    }

    /// `*` or a member's name without quotes.
    fn shorthand(&mut self) -> Read<Selector> {
        if self.take("*") {
            return Ok(Selector::Wildcard);
        }
        let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        if !self.peek().is_some_and(first) {
            return Err(self.bad("a member's name, or *,"));
        }
        Ok(Selector::Name(self.while_(|c| first(c) || c.is_ascii_digit()).to_owned()))
    }

    fn bracketed(&mut self) -> Read<Vec<Selector>> {
        self.demand("[", "[")?;
        let mut selectors = Vec::new();
        loop {
            self.space();
            selectors.push(self.selector()?);
            self.space();
            if self.take("]") {
                return Ok(selectors);
            }
            self.demand(",", "] or ,")?;
        }
    }

    fn selector(&mut self) -> Read<Selector> {
        match self.peek() {
            Some('\'' | '"') => self.string().map(Selector::Name),
            Some('*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some('?') => {
                self.at += 1;
                self.space();
                self.deeper(Self::any).map(Selector::Filter)
            }
            Some(':' | '-' | '0'..='9') => self.index_or_slice(),
            _ => Err(self.bad("a name in quotes, an index, a slice, * or ?")),
        }
    }

    fn index_or_slice(&mut self) -> Read<Selector> {
        let start = if self.peek() == Some(':') { None } else { Some(self.integer()?) };
        let before = self.at;
        self.space();
        if !self.take(":") {
            self.at = before;
            return start.map(Selector::Index).ok_or_else(|| self.bad("an index"));
        }
        let end = self.optional_integer()?;
        let step = if self.take(":") { self.optional_integer()? } else { None };
        Ok(Selector::Slice { start, end, step: step.unwrap_or(1) })
    }

    fn optional_integer(&mut self) -> Read<Option<i64>> {
        self.space();
        let there = matches!(self.peek(), Some('-' | '0'..='9'));
        let integer = if there { Some(self.integer()?) } else { None };
        self.space();
        Ok(integer)
    }

    /// `int = "0" / (["-"] DIGIT1 *DIGIT)`
    fn integer(&mut self) -> Read<i64> {
        let begun = self.at;
        self.take("-");
        let digits = self.while_(|c| c.is_ascii_digit());
        let written = &self.text[begun..self.at];
        let plain = !digits.is_empty() && (written == "0" || !digits.starts_with('0'));
        let read = written.parse().ok().filter(|n: &i64| plain && n.abs() <= MAX_INTEGER);
        read.ok_or(BadQuery { at: begun, expected: "an integer without leading zeroes, below 2^53," })
    }

    /// `logical-or-expr`
    fn any(&mut self) -> Read<Logical> {
        let mut all = vec![self.all()?];
        while self.operator("||") {
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Logical::Any(all) })
    }

    /// `logical-and-expr`
    fn all(&mut self) -> Read<Logical> {
        let mut all = vec![self.basic()?];
        while self.operator("&&") {
            all.push(self.basic()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Logical::All(all) })
    }

    /// An operator with white space around it; none where it does not stand.
    fn operator(&mut self, operator: &str) -> bool {
        let before = self.at;
        self.space();
        let there = self.take(operator);
        if there {
            self.space();
        } else {
            self.at = before;
        }
        there
    }

    fn basic(&mut self) -> Read<Logical> {
        if self.take("!") {
            self.space();
            let negated = if self.peek() == Some('(') { self.parenthesised()? } else { self.test()? };
            return Ok(Logical::Not(Box::new(negated)));
        }
        if self.peek() == Some('(') {
            return self.parenthesised();
        }
        let begun = self.at;
        let left = self.term()?;
        match (self.comparison(), left) {
            (Some(comparison), left) => {
                let left = operand(left, begun)?;
                let begun = self.at;
                let right = self.term()?;
                Ok(Logical::Compare(left, comparison, operand(right, begun)?))
            }
            (None, left) => tested(left, begun),
        }
    }

    fn parenthesised(&mut self) -> Read<Logical> {
        self.demand("(", "(")?;
        self.space();
        let inner = self.deeper(Self::any)?;
        self.space();
        self.demand(")", ")")?;
        Ok(inner)
    }

    fn test(&mut self) -> Read<Logical> {
        let begun = self.at;
        tested(self.term()?, begun)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let known = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        known.into_iter().find(|(token, _)| self.operator(token)).map(|(_, comparison)| comparison)
    }

    fn term(&mut self) -> Read<Term> {
        match self.peek() {
            Some('\'' | '"') => self.string().map(|text| Term::Literal(text.into())),
            Some('-' | '0'..='9') => self.number().map(Term::Literal),
            Some('@' | '$') => self.inner().map(Term::Query),
            Some('a'..='z') => self.word(),
            _ => Err(self.bad("@, $, a literal or a function")),
        }
    }

    fn inner(&mut self) -> Read<Inner> {
        let absolute = self.take("$");
        if !absolute {
            self.demand("@", "@ or $")?;
        }
        let segments = self.segments()?;
        Ok(Inner { absolute, segments })
    }

    /// A literal of letters, or a function with its arguments (section 2.4.3: each in its place).
    fn word(&mut self) -> Read<Term> {
        let begun = self.at;
        let word = self.while_(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        match word {
            "true" => return Ok(Term::Literal(true.into())),
            "false" => return Ok(Term::Literal(false.into())),
            "null" => return Ok(Term::Literal(Value::Null)),
            "length" | "count" | "value" | "match" | "search" => {}
            _ => {
                let expected = "true, false, null, length, count, value, match or search";
                return Err(BadQuery { at: begun, expected });
            }
        }
        self.demand("(", "(")?;
        self.space();
        let function = self.deeper(|reader| reader.arguments(word))?;
        self.space();
        self.demand(")", ")")?;
        Ok(function)
    }

    fn arguments(&mut self, function: &str) -> Read<Term> {
        Ok(match function {
            "length" => Term::Value(Operand::Length(Box::new(self.argument()?))),
            "count" => Term::Value(Operand::Count(self.inner()?)),
            "value" => Term::Value(Operand::Value(self.inner()?)),
            _ => {
                let text = self.argument()?;
                self.space();
                self.demand(",", ", and a pattern")?;
                self.space();
                let pattern = self.argument()?;
                Term::Logical(Logical::Matches { whole: function == "match", text, pattern })
            }
        })
    }

    fn argument(&mut self) -> Read<Operand> {
        let begun = self.at;
        operand(self.term()?, begun)
    }

    /// `number = (int / "-0") [ frac ] [ exp ]`
    fn number(&mut self) -> Read<Value> {
        let begun = self.at;
        let bad = BadQuery { at: begun, expected: "a number as JSON has it" };
        self.take("-");
        let whole = self.while_(|c| c.is_ascii_digit());
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(bad);
        }
        if self.take(".") && self.while_(|c| c.is_ascii_digit()).is_empty() {
            return Err(bad);
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if self.while_(|c| c.is_ascii_digit()).is_empty() {
                return Err(bad);
            }
        }
        serde_json::from_str(&self.text[begun..self.at]).map_err(|_| bad)
    }

    fn string(&mut self) -> Read<String> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' {
            self.demand("\"", "a string in quotes")?;
        }
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else { return Err(self.bad("the closing quote")) };
            if c < ' ' {
                return Err(self.bad("a control character's escape"));
            }
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(out),
                '\\' => out.push(self.escape(quote)?),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Read<char> {
        let Some(c) = self.peek() else { return Err(self.bad("an escape")) };
        let plain = match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '/' | '\\' => c,
            c if c == quote => c,
            'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.bad("an escape of JSON, or the quote,")),
        };
        self.at += c.len_utf8();
        Ok(plain)
    }

    fn unicode(&mut self) -> Read<char> {
        let first = self.hexadecimal()?;
        let bad = self.bad("a character, or a whole surrogate pair,");
        let code = match first {
            0xd800..0xdc00 => {
                self.demand("\\u", "the second half of a surrogate pair")?;
                match self.hexadecimal()? {
                    low @ 0xdc00..0xe000 => 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(bad),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(bad)
    }

    fn hexadecimal(&mut self) -> Read<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.bad("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }
}

/// What has a value: it is compared, or given to a function.
fn operand(term: Term, at: usize) -> Read<Operand> {
    match term {
        Term::Literal(value) => Ok(Operand::Literal(value)),
        Term::Value(operand) => Ok(operand),
        Term::Query(inner) if inner.is_singular() => Ok(Operand::Singular(inner)),
        Term::Query(_) => Err(BadQuery { at, expected: "a query of one value at most" }),
        Term::Logical(_) => Err(BadQuery { at, expected: "a value, not a function that is true or false," }),
    }
}

/// What is true or false by itself.
fn tested(term: Term, at: usize) -> Read<Logical> {
    match term {
        Term::Query(inner) => Ok(Logical::Exists(inner)),
        Term::Logical(logical) => Ok(logical),
        Term::Literal(_) | Term::Value(_) => Err(BadQuery { at, expected: "a test, or a comparison," }),
    }
}
