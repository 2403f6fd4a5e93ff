//! Application messages (MQTT 3.1.1, section 3.3), pure: the bytes of a PUBLISH packet to a typed message and back.
//!
//! The frame is read by `rumqttc`; this module adds what the standard demands and that leaves open: topics without
//! wildcards and U+0000 (3.3.2.1, 1.5.3), no DUP at QoS 0 (3.3.1.1), nothing behind the packet; and our own limits. The
//! other packets are `rumqttc`'s affair. Left out: version 5.

use bytes::{Bytes, BytesMut};
use rumqttc::{Packet, QoS};

/// The longest payload that is taken.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// The longest topic that is taken (the standard allows 65,535 bytes).
pub const MAX_TOPIC: usize = 1024;
/// The longest packet for which the connection is kept; a longer one ends it, because 3.1.1 cannot skip a packet.
pub const MAX_PACKET: usize = 256 * 1024;

/// A message as the broker delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// The broker kept it from an earlier time (3.3.1.3): not a message of now.
    pub retained: bool,
    /// It may have been delivered before (3.3.1.1).
    pub redelivered: bool,
    /// Delivery: at most once, at least once, exactly once.
    pub qos: u8,
    /// The packet's identifier; 0 at QoS 0.
    pub id: u16,
}

/// Why a packet was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than a limit of ours.
    #[error("a {what} of {got} bytes, at most {limit} are taken")]
    TooLong {
        /// `payload`, `topic` or `packet`.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Not a PUBLISH packet as section 3.3 says.
    #[error("not an MQTT message: {0}")]
    Malformed(String),
}

/// Reads one whole PUBLISH packet.
///
/// # Errors
/// [`CodecError`].
pub fn decode(bytes: &[u8]) -> Result<Publish, CodecError> {
    let malformed = |why: String| CodecError::Malformed(why);
    if bytes.len() > MAX_PACKET {
        return Err(CodecError::TooLong { what: "packet", got: bytes.len(), limit: MAX_PACKET });
    }
    // Other packets are not read here.
    match bytes.first() {
        Some(first) if first >> 4 == 3 => {}
        first => return Err(malformed(format!("a packet that starts with {first:?}"))),
    }
    let mut stream = BytesMut::from(bytes);
    match Packet::read(&mut stream, MAX_PACKET) {
        Ok(Packet::Publish(_)) if !stream.is_empty() => Err(malformed("bytes behind the packet".into())),
        Ok(Packet::Publish(publish)) => take(publish),
        Ok(other) => Err(malformed(format!("a packet of another type: {other:?}"))),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Checks a message that the client library took off the wire.
///
/// # Errors
/// [`CodecError`].
pub fn take(publish: rumqttc::Publish) -> Result<Publish, CodecError> {
    if publish.payload.len() > MAX_PAYLOAD {
        let got = publish.payload.len();
        return Err(CodecError::TooLong { what: "payload", got, limit: MAX_PAYLOAD });
    }
    if publish.topic.len() > MAX_TOPIC {
        return Err(CodecError::TooLong { what: "topic", got: publish.topic.len(), limit: MAX_TOPIC });
    }
    if !is_topic(&publish.topic) {
        return Err(CodecError::Malformed("its topic is empty, or holds a wildcard or U+0000".into()));
    }
    if publish.qos == QoS::AtMostOnce && publish.dup {
        return Err(CodecError::Malformed("delivered again, at QoS 0".into()));
    }
    Ok(Publish {
        topic: publish.topic,
        payload: publish.payload.to_vec(),
        retained: publish.retain,
        redelivered: publish.dup,
        qos: publish.qos as u8,
        id: publish.pkid,
    })
}

/// Writes a PUBLISH packet.
///
/// # Errors
/// [`CodecError`] for a message that [`decode`] would refuse.
pub fn encode(message: &Publish) -> Result<Vec<u8>, CodecError> {
    let qos = rumqttc::qos(message.qos).map_err(|e| CodecError::Malformed(e.to_string()))?;
    let publish = rumqttc::Publish {
        dup: message.redelivered,
        qos,
        retain: message.retained,
        topic: message.topic.clone(),
        pkid: message.id,
        payload: Bytes::copy_from_slice(&message.payload),
    };
    take(publish.clone())?;
    if (qos == QoS::AtMostOnce) != (message.id == 0) {
        return Err(CodecError::Malformed("an identifier goes with QoS 1 and 2, and only with them".into()));
    }
    let mut bytes = BytesMut::new();
    publish.write(&mut bytes).map_err(|e| CodecError::Malformed(e.to_string()))?;
    Ok(bytes.to_vec())
}

/// A topic to publish to (4.7.1, 4.7.3).
#[must_use]
pub fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= MAX_TOPIC && !topic.contains(['+', '#', '\0'])
}

/// A filter to subscribe to (4.7.1).
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let fits = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at == last,
        text => !text.contains(['+', '#', '\0']),
    };
    !filter.is_empty() && filter.len() <= MAX_TOPIC && levels.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(topic: &str, payload: &[u8]) -> Publish {
        let (topic, payload) = (topic.into(), payload.into());
        Publish { topic, payload, retained: false, redelivered: false, qos: 0, id: 0 }
    }

    /// Section 3.3, with the topic of figure 3.11 and packet identifier 10.
    #[test]
    fn the_layout_of_the_standard() {
        let live = message("a/b", b"x");
        let kept = Publish { retained: true, ..live.clone() };
        let sure = Publish { qos: 1, id: 10, redelivered: true, ..live.clone() };
        for (bytes, expected) in [
            (&b"\x30\x06\x00\x03a/bx"[..], &live),
            (b"\x31\x06\x00\x03a/bx", &kept),
            (b"\x3a\x08\x00\x03a/b\x00\x0ax", &sure),
        ] {
            assert_eq!(decode(bytes).as_ref(), Ok(expected));
            assert_eq!(encode(expected).as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for (what, bytes) in [
            ("nothing", &b""[..]),
            ("another packet", b"\xc0\x00"),
            ("a short packet", b"\x30\x06\x00\x03a/b"),
            ("bytes behind it", b"\x30\x05\x00\x03a/bx"),
            ("QoS 3 (3.3.1.2)", b"\x36\x08\x00\x03a/b\x00\x0ax"),
            ("DUP at QoS 0 (3.3.1.1)", b"\x38\x06\x00\x03a/bx"),
            ("identifier 0 (2.3.1)", b"\x32\x08\x00\x03a/b\x00\x00x"),
            ("a wildcard (3.3.2.1)", b"\x30\x06\x00\x03a/+x"),
            ("U+0000 (1.5.3)", b"\x30\x06\x00\x03a/\x00x"),
            ("no topic (4.7.3)", b"\x30\x03\x00\x00x"),
            ("a topic that is not UTF-8", b"\x30\x06\x00\x03a/\xffx"),
            ("a length that never ends (2.2.3)", b"\x30\xff\xff\xff\xff\x01"),
        ] {
            assert!(matches!(decode(bytes), Err(CodecError::Malformed(_))), "{what}: {:?}", decode(bytes));
        }
    }

    #[test]
    fn our_limits_are_refused_by_name() {
        let long = message("a", &vec![0; MAX_PAYLOAD + 1]);
        let error = CodecError::TooLong { what: "payload", got: MAX_PAYLOAD + 1, limit: MAX_PAYLOAD };
        assert_eq!(encode(&long), Err(error));
        assert!(encode(&message("a", &vec![0; MAX_PAYLOAD])).is_ok());
        let error = CodecError::TooLong { what: "topic", got: MAX_TOPIC + 1, limit: MAX_TOPIC };
        assert_eq!(encode(&message(&"t".repeat(MAX_TOPIC + 1), b"")), Err(error));
    }

    #[test]
    fn filters_and_topics_are_told_apart() {
        for (text, topic, filter) in [
            ("a/b", true, true),
            ("/", true, true),
            ("#", false, true),
            ("a/#", false, true),
            ("+/b/+", false, true),
            ("a#", false, false),
            ("#/a", false, false),
            ("a+/b", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_topic(text), is_filter(text)), (topic, filter), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            topic in "[a-zä/$ ]{1,40}",
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            retained: bool,
            delivery in prop_oneof![
                Just((0u8, 0u16, false)),
                (1u8..=2, 1u16.., any::<bool>()),
            ],
        ) {
            let (qos, id, redelivered) = delivery;
            let message = Publish { topic, payload, retained, redelivered, qos, id };
            let bytes = encode(&message).expect("it is within the limits");
            prop_assert_eq!(decode(&bytes), Ok(message));
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), publish: bool) {
            if publish && bytes.len() > 1 {
                bytes[0] = 0x30 | bytes[0] & 0xf;
                bytes[1] = (bytes.len() - 2) as u8;
            }
            if let Ok(message) = decode(&bytes) {
                let written = encode(&message).expect("what was read can be written");
                prop_assert_eq!(decode(&written), Ok(message));
            }
        }
    }
}
