//! Server-sent events (WHATWG HTML, section 9.2.6), pure: the data of each event out of the pieces of a stream. Its name, its
//! number and the pause that it asks for are passed over: what is observed is one property, and after a loss it is read anew.

/// The longest line, and the longest data of one event, in bytes.
pub const MAX_EVENT: usize = 64 * 1024;

/// A stream that says more in one event than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MAX_EVENT} bytes")]
pub struct TooLong;

/// A stream that is being read.
///
/// ```
/// use sofie_adapters::wot::events::Events;
///
/// let mut events = Events::default();
/// assert_eq!(events.feed(b"data: 1\n\nda")?, [b"1"]);
/// assert_eq!(events.feed(b"ta: a\r\ndata: b\r\n\r\n")?, [b"a\nb"]);
/// # Ok::<(), sofie_adapters::wot::events::TooLong>(())
/// ```
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return: a line feed belongs to it.
    returned: bool,
    /// Something was read: a byte order mark stands before it only.
    begun: bool,
}

const BOM: &[u8] = "\u{feff}".as_bytes();

impl Events {
    /// Reads on. What has ended with a blank line is an event; what has none when the stream ends is not.
    ///
    /// # Errors
    /// [`TooLong`]: the stream is of no use any more.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for byte in piece {
            let after_return = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ if self.line.len() == MAX_EVENT => return Err(TooLong),
                other => self.line.push(*other),
            }
        }
        Ok(events)
    }

    /// A whole line: a blank one ends an event.
    fn end_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) if data.len() + value.len() < MAX_EVENT => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                Some(_) => return Err(TooLong),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &[u8]) -> Vec<String> {
        let events = Events::default().feed(stream).expect("it is short");
        events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect()
    }

    #[test]
    fn the_streams_of_the_standard_are_read() {
        for (stream, events) in [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &["YHOO\n+2\n10"][..]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
                &["first event", "second event"],
            ),
            ("data\n\ndata\ndata\n\ndata:", &["", "\n"]),
            ("data:test\n\ndata: test\n\n", &["test", "test"]),
            ("\u{feff}data: 1\r\rdata: \u{feff}2\r\n\r\n", &["1", "\u{feff}2"]),
            ("event: change\nretry: 10\n\nother: 1\n\n", &[]),
        ] {
            assert_eq!(all(stream.as_bytes()), events, "{stream:?}");
        }
    }

    #[test]
    fn a_stream_without_an_end_of_lines_or_events_is_left() {
        assert_eq!(Events::default().feed(&[b'x'; MAX_EVENT + 1]), Err(TooLong));
        let mut events = Events::default();
        let line = [b"data:".as_slice(), &[b'x'; 1000], b"\n"].concat();
        assert!((0..100).any(|_| events.feed(&line) == Err(TooLong)));
    }

    proptest::proptest! {
        #[test]
        fn it_is_the_same_stream_however_it_is_cut(
            lines in proptest::collection::vec("(data: ?[a-z:]{0,3}|:x|id: 1|)(\n|\r|\r\n)", 0..20),
            cuts in proptest::collection::vec(1_usize..9, 0..40),
        ) {
            let stream = lines.concat().into_bytes();
            let (mut events, mut rest, mut got) = (Events::default(), stream.as_slice(), Vec::new());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                got.extend(events.feed(piece).expect("it is short"));
                rest = after;
            }
            got.extend(events.feed(rest).expect("it is short"));
            proptest::prop_assert_eq!(got, Events::default().feed(&stream).expect("it is short"));
        }
    }
}
