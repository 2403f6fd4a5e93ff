//! What a query selects (RFC 9535, sections 2.3 to 2.5), and what that costs.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::{Comparison, Inner, Logical, Operand, Segment, Selector};

/// How many values a query may look at, each time it does.
pub const MAX_STEPS: u64 = 10_000_000;
/// How many values it may have selected at once.
pub const MAX_NODES: usize = 1_000_000;
/// What reading a regular expression costs, in steps; a read one is kept.
const PATTERN_STEPS: u64 = 100_000;
/// How large a regular expression may become in memory, in bytes.
const PATTERN_SIZE: usize = 256 * 1024;
/// How many bytes of text are compared or matched for one step.
const BYTES_A_STEP: u64 = 16;

/// What is selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Node<'a> {
    /// The array of all things.
    Root,
    /// One whole thing: its place among them.
    Thing(usize),
    /// A part of one.
    Value(&'a Value),
}

/// The query costs more than a query may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More than [`MAX_STEPS`].
    #[error("it looks at more than {MAX_STEPS} values")]
    Steps,
    /// More than [`MAX_NODES`].
    #[error("it selects more than {MAX_NODES} values at once")]
    Nodes,
    /// More than [`crate::discovery::MAX_FOUND`].
    #[error("its answer has more than {} bytes", crate::discovery::MAX_FOUND)]
    Answer,
}

type Walked<T> = Result<T, TooMuch>;

pub(super) fn find<'a>(segments: &'a [Segment], things: &'a [&'a Value]) -> Walked<Vec<Node<'a>>> {
    let walk = Walk { things, left: Cell::new(MAX_STEPS), patterns: RefCell::default() };
    walk.select(Node::Root, segments)
}

struct Walk<'a> {
    things: &'a [&'a Value],
    left: Cell<u64>,
    patterns: RefCell<HashMap<(bool, String), Option<Regex>>>,
}

/// A value that is compared; a number that a function counted is none of a thing's.
#[derive(Clone, Copy)]
enum Compared<'a> {
    Node(Node<'a>),
    Number(u64),
}

/// Gives the element at an index.
type Element<'a> = Box<dyn Fn(usize) -> Node<'a> + 'a>;

impl<'a> Walk<'a> {
    fn pay(&self, steps: u64) -> Walked<()> {
        let left = self.left.get().checked_sub(steps).ok_or(TooMuch::Steps)?;
        self.left.set(left);
        Ok(())
    }

    fn select(&self, from: Node<'a>, segments: &'a [Segment]) -> Walked<Vec<Node<'a>>> {
        let mut nodes = vec![from];
        for segment in segments {
            let mut next = Vec::new();
            for node in nodes {
                if segment.descendant {
                    self.descend(node, &segment.selectors, &mut next)?;
                } else {
                    self.choose(node, &segment.selectors, &mut next)?;
                }
            }
            nodes = next;
        }
        Ok(nodes)
    }

    /// Section 2.5.2: the node itself first, then what is below it, each in its order.
    fn descend(&self, from: Node<'a>, selectors: &'a [Selector], out: &mut Vec<Node<'a>>) -> Walked<()> {
        let mut waiting = vec![from];
        while let Some(node) = waiting.pop() {
            self.choose(node, selectors, out)?;
            let begun = waiting.len();
            self.each(node, |child| {
                waiting.push(child);
                Ok(())
            })?;
            waiting[begun..].reverse();
        }
        Ok(())
    }

    fn choose(&self, node: Node<'a>, selectors: &'a [Selector], out: &mut Vec<Node<'a>>) -> Walked<()> {
        for selector in selectors {
            self.pay(1)?;
            match selector {
                Selector::Name(name) => out.extend(self.member(node, name)),
                Selector::Index(index) => out.extend(self.element(node, *index)),
                Selector::Slice { start, end, step } => self.slice(node, (*start, *end, *step), out)?,
                Selector::Wildcard => self.each(node, |child| keep(out, child))?,
                Selector::Filter(logical) => {
                    self.each(
                        node,
                        |child| {
                            if self.holds(logical, child)? { keep(out, child) } else { Ok(()) }
                        },
                    )?
                }
            }
            if out.len() > MAX_NODES {
                return Err(TooMuch::Nodes);
            }
        }
        Ok(())
    }

    fn value(&self, node: Node<'a>) -> Option<&'a Value> {
        match node {
            Node::Root => None,
            Node::Thing(index) => self.things.get(index).copied(),
            Node::Value(value) => Some(value),
        }
    }

    fn member(&self, node: Node<'a>, name: &str) -> Option<Node<'a>> {
        self.value(node)?.as_object()?.get(name).map(Node::Value)
    }

    /// How many elements an array has, and how to have one.
    fn elements(&self, node: Node<'a>) -> Option<(usize, Element<'a>)> {
        match (node, self.value(node)) {
            (Node::Root, _) => Some((self.things.len(), Box::new(Node::Thing))),
            (_, Some(Value::Array(items))) => Some((items.len(), Box::new(|at| Node::Value(&items[at])))),
            _ => None,
        }
    }

    fn element(&self, node: Node<'a>, index: i64) -> Option<Node<'a>> {
        let (count, at) = self.elements(node)?;
        let from_the_end = || count.checked_sub(usize::try_from(index.unsigned_abs()).ok()?);
        let place = if index < 0 { from_the_end()? } else { usize::try_from(index).ok()? };
        (place < count).then(|| at(place))
    }

    /// Section 2.3.4.2.2.
    fn slice(
        &self,
        node: Node<'a>,
        (start, end, step): (Option<i64>, Option<i64>, i64),
        out: &mut Vec<Node<'a>>,
    ) -> Walked<()> {
        let Some((count, at)) = self.elements(node) else { return Ok(()) };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let normal = |index: i64| if index < 0 { count + index } else { index };
        let (first, last) = if step < 0 { (count - 1, -count - 1) } else { (0, count) };
        let (start, end) = (normal(start.unwrap_or(first)), normal(end.unwrap_or(last)));
        let mut place = if step < 0 { start.clamp(-1, count - 1) } else { start.clamp(0, count) };
        let end = if step < 0 { end.clamp(-1, count - 1) } else { end.clamp(0, count) };
        while step != 0 && if step < 0 { place > end } else { place < end } {
            self.pay(1)?;
            keep(out, at(usize::try_from(place).expect("it was clamped to the array")))?;
            place = place.saturating_add(step);
        }
        Ok(())
    }

    fn each(&self, node: Node<'a>, mut seen: impl FnMut(Node<'a>) -> Walked<()>) -> Walked<()> {
        let mut one = |child| self.pay(1).and_then(|()| seen(child));
        match (node, self.value(node)) {
            (Node::Root, _) => (0..self.things.len()).try_for_each(|index| one(Node::Thing(index))),
            (_, Some(Value::Array(items))) => items.iter().try_for_each(|item| one(Node::Value(item))),
            (_, Some(Value::Object(members))) => members.values().try_for_each(|item| one(Node::Value(item))),
            _ => Ok(()),
        }
    }

    fn holds(&self, logical: &'a Logical, node: Node<'a>) -> Walked<bool> {
        self.pay(1)?;
        match logical {
            Logical::Any(all) => {
                all.iter().try_fold(false, |held, one| if held { Ok(true) } else { self.holds(one, node) })
            }
            Logical::All(all) => {
                all.iter().try_fold(true, |held, one| if held { self.holds(one, node) } else { Ok(false) })
            }
            Logical::Not(one) => self.holds(one, node).map(|held| !held),
            Logical::Exists(inner) => Ok(!self.inner(inner, node)?.is_empty()),
            Logical::Compare(left, comparison, right) => {
                let (left, right) = (self.operand(left, node)?, self.operand(right, node)?);
                self.compare(left, *comparison, right)
            }
            Logical::Matches { whole, text, pattern } => {
                let (text, pattern) = (self.operand(text, node)?, self.operand(pattern, node)?);
                match (self.text(text), self.text(pattern)) {
                    (Some(text), Some(pattern)) => self.matches(*whole, text, pattern),
                    _ => Ok(false),
                }
            }
        }
    }

    fn inner(&self, inner: &'a Inner, node: Node<'a>) -> Walked<Vec<Node<'a>>> {
        self.select(if inner.absolute { Node::Root } else { node }, &inner.segments)
    }

    /// The value, or nothing.
    fn operand(&self, operand: &'a Operand, node: Node<'a>) -> Walked<Option<Compared<'a>>> {
        Ok(match operand {
            Operand::Literal(value) => Some(Compared::Node(Node::Value(value))),
            Operand::Singular(inner) | Operand::Value(inner) => match self.inner(inner, node)?[..] {
                [one] => Some(Compared::Node(one)),
                _ => None,
            },
            Operand::Count(inner) => Some(Compared::Number(self.inner(inner, node)?.len() as u64)),
            Operand::Length(of) => self.operand(of, node)?.and_then(|of| self.length(of)),
        })
    }

    fn length(&self, of: Compared<'a>) -> Option<Compared<'a>> {
        let Compared::Node(node) = of else { return None };
        let length = match (node, self.value(node)) {
            (Node::Root, _) => self.things.len(),
            (_, Some(Value::String(text))) => text.chars().count(),
            (_, Some(Value::Array(items))) => items.len(),
            (_, Some(Value::Object(members))) => members.len(),
            _ => return None,
        };
        Some(Compared::Number(length as u64))
    }

    fn text(&self, of: Option<Compared<'a>>) -> Option<&'a str> {
        let Some(Compared::Node(node)) = of else { return None };
        self.value(node)?.as_str()
    }

    /// Section 2.3.5.2.2: nothing is equal to nothing, and less than nothing is nothing.
    fn compare(
        &self,
        left: Option<Compared<'a>>,
        comparison: Comparison,
        right: Option<Compared<'a>>,
    ) -> Walked<bool> {
        Ok(match comparison {
            Comparison::Equal => self.equal(left, right)?,
            Comparison::Unequal => !self.equal(left, right)?,
            Comparison::Less => self.less(left, right)?,
            Comparison::Greater => self.less(right, left)?,
            Comparison::LessOrEqual => self.less(left, right)? || self.equal(left, right)?,
            Comparison::GreaterOrEqual => self.less(right, left)? || self.equal(left, right)?,
        })
    }

    fn equal(&self, left: Option<Compared<'a>>, right: Option<Compared<'a>>) -> Walked<bool> {
        match (left, right) {
            (None, None) => Ok(true),
            (Some(Compared::Number(a)), Some(Compared::Number(b))) => Ok(a == b),
            (Some(Compared::Node(node)), Some(Compared::Number(n)))
            | (Some(Compared::Number(n)), Some(Compared::Node(node))) => Ok(self
                .value(node)
                .and_then(Value::as_number)
                .is_some_and(|number| order(number, &n.into()).is_some_and(Ordering::is_eq))),
            (Some(Compared::Node(left)), Some(Compared::Node(right))) => match (left, right) {
                (Node::Root, Node::Root) => Ok(true),
                (left, right) => match (self.value(left), self.value(right)) {
                    (Some(left), Some(right)) => self.same(left, right),
                    // The array of all things is not written down anywhere else.
                    _ => Ok(false),
                },
            },
            _ => Ok(false),
        }
    }

    fn same(&self, left: &Value, right: &Value) -> Walked<bool> {
        self.pay(1)?;
        match (left, right) {
            (Value::Number(a), Value::Number(b)) => Ok(order(a, b).is_some_and(Ordering::is_eq)),
            (Value::String(a), Value::String(b)) => {
                self.pay(a.len().min(b.len()) as u64 / BYTES_A_STEP)?;
                Ok(a == b)
            }
            (Value::Array(a), Value::Array(b)) => {
                let mut pairs = a.iter().zip(b);
                Ok(a.len() == b.len()
                    && pairs.try_fold(true, |so, (a, b)| if so { self.same(a, b) } else { Ok(false) })?)
            }
            (Value::Object(a), Value::Object(b)) => {
                let mut members = a.iter();
                Ok(a.len() == b.len()
                    && members.try_fold(true, |so, (name, a)| match b.get(name) {
                        Some(b) if so => self.same(a, b),
                        _ => Ok(false),
                    })?)
            }
            (left, right) => Ok(left == right),
        }
    }

    fn less(&self, left: Option<Compared<'a>>, right: Option<Compared<'a>>) -> Walked<bool> {
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        if let (Some(a), Some(b)) = (self.number(left), self.number(right)) {
            return Ok(order(&a, &b).is_some_and(Ordering::is_lt));
        }
        let (Some(a), Some(b)) = (self.text(Some(left)), self.text(Some(right))) else { return Ok(false) };
        self.pay(a.len().min(b.len()) as u64 / BYTES_A_STEP)?;
        Ok(a < b)
    }

    fn number(&self, of: Compared<'a>) -> Option<Number> {
        match of {
            Compared::Number(number) => Some(number.into()),
            Compared::Node(node) => self.value(node)?.as_number().cloned(),
        }
    }

    /// Sections 2.4.6 and 2.4.7. What is no regular expression matches nothing.
    fn matches(&self, whole: bool, text: &str, pattern: &str) -> Walked<bool> {
        self.pay(1 + (text.len() + pattern.len()) as u64 / BYTES_A_STEP)?;
        let key = (whole, pattern.to_owned());
        if !self.patterns.borrow().contains_key(&key) {
            self.pay(PATTERN_STEPS)?;
            self.patterns.borrow_mut().insert(key.clone(), regex(whole, pattern));
        }
        let patterns = self.patterns.borrow();
        Ok(patterns.get(&key).and_then(Option::as_ref).is_some_and(|regex| regex.is_match(text)))
    }
}

fn keep<'a>(out: &mut Vec<Node<'a>>, node: Node<'a>) -> Walked<()> {
    out.push(node);
    if out.len() > MAX_NODES { Err(TooMuch::Nodes) } else { Ok(()) }
}

/// Integers as integers, everything else as doubles.
fn order(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// RFC 9485: a dot is any character but the two that end a line.
fn regex(whole: bool, pattern: &str) -> Option<Regex> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_SIZE).build().ok();
    let mut dotted = String::with_capacity(pattern.len());
    let (mut escaped, mut class) = (false, false);
    for c in pattern.chars() {
        match c {
            '.' if !escaped && !class => dotted.push_str("[^\\n\\r]"),
            _ => dotted.push(c),
        }
        class = if escaped { class } else { (class || c == '[') && c != ']' };
        escaped = c == '\\' && !escaped;
    }
    // By itself first, so that no bracket of its own closes the one that is put around it.
    let alone = build(&dotted)?;
    if whole { build(&format!("\\A(?:{dotted})\\z")) } else { Some(alone) }
}
