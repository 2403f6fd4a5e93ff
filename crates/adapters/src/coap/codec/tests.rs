//! The CoAP codec (RFC 7252): both ways, its limits, and bytes that are no message.

use proptest::prelude::*;

use super::*;

fn get(path: &str) -> Body {
    Body::Request(Request { path: vec![path.into()], ..Request::default() })
}

fn content(payload: &str) -> Body {
    Body::Response(Response::new(Code::CONTENT, payload.into()))
}

/// The exchanges of RFC 7252, appendix A, byte by byte.
#[test]
fn the_examples_of_appendix_a() {
    use Kind::{Acknowledgement, Confirmable, NonConfirmable, Reset};
    const PATH: &[u8] = b"\xbbtemperature";
    const CELSIUS: &[u8] = b"\xff22.3 C";
    for (figure, head, rest, kind, id, token, body) in [
        (16, &[0x40, 0x01, 0x7d, 0x34][..], PATH, Confirmable, 0x7d34, &[][..], get("temperature")),
        (16, &[0x60, 0x45, 0x7d, 0x34], CELSIUS, Acknowledgement, 0x7d34, &[], content("22.3 C")),
        (17, &[0x41, 0x01, 0x7d, 0x35, 0x20], PATH, Confirmable, 0x7d35, &[0x20], get("temperature")),
        (17, &[0x61, 0x45, 0x7d, 0x35, 0x20], CELSIUS, Acknowledgement, 0x7d35, &[0x20], content("22.3 C")),
        (20, &[0x41, 0x01, 0x7d, 0x38, 0x53], PATH, Confirmable, 0x7d38, &[0x53], get("temperature")),
        (20, &[0x60, 0x00, 0x7d, 0x38], b"", Acknowledgement, 0x7d38, &[], Body::Empty),
        (20, &[0x41, 0x45, 0xad, 0x7b, 0x53], CELSIUS, Confirmable, 0xad7b, &[0x53], content("22.3 C")),
        (20, &[0x60, 0x00, 0xad, 0x7b], b"", Acknowledgement, 0xad7b, &[], Body::Empty),
        (21, &[0x70, 0x00, 0xad, 0x7b], b"", Reset, 0xad7b, &[], Body::Empty),
        (22, &[0x51, 0x01, 0x7d, 0x40, 0x75], PATH, NonConfirmable, 0x7d40, &[0x75], get("temperature")),
        (22, &[0x51, 0x45, 0xad, 0x7c, 0x75], CELSIUS, NonConfirmable, 0xad7c, &[0x75], content("22.3 C")),
    ] {
        let bytes = [head, rest].concat();
        let message = Message { kind, id, token: token.to_vec(), body };
        assert_eq!(decode(&bytes).as_ref(), Ok(&message), "figure {figure}");
        assert_eq!(encode(&message), Ok(bytes), "figure {figure}");
    }
}

#[test]
fn what_the_rfc_forbids_is_refused() {
    let frame = |why: &str| CodecError::Frame(why.into());
    for (what, bytes, expected) in [
        ("version 2", &[0x80, 0x01, 0, 1][..], CodecError::Version(2)),
        ("an empty message with a token (4.1)", &[0x41, 0, 0, 1, 9], frame("an empty message with content")),
        (
            "an empty message with a payload",
            &[0x40, 0, 0, 1, 0xff, 1],
            frame("an empty message with content"),
        ),
        ("a marker and no payload (3)", &[0x40, 1, 0, 1, 0xff], frame("an end marker without a payload")),
        ("an empty NON (table 1)", &[0x50, 0, 0, 1], CodecError::CodeOfType(Code(0))),
        ("a request in an ACK (table 1)", &[0x60, 1, 0, 1], CodecError::CodeOfType(Code(1))),
        ("a reset with a code (table 1)", &[0x70, 0x45, 0, 1], CodecError::CodeOfType(Code::CONTENT)),
        ("class 1", &[0x40, 0x21, 0, 1], CodecError::CodeOfType(Code(0x21))),
        ("class 7", &[0x40, 0xe1, 0, 1], CodecError::CodeOfType(Code(0xe1))),
        ("method 0.31", &[0x40, 0x1f, 0, 1], CodecError::CodeOfType(Code(0x1f))),
        ("If-Match, critical, unknown here", &[0x40, 3, 0, 1, 0x10], CodecError::CriticalOption(1)),
        ("a Uri-Port of 3 bytes", &[0x40, 1, 0, 1, 0x73, 1, 2, 3], CodecError::CriticalOption(7)),
        ("two Uri-Port", &[0x40, 1, 0, 1, 0x71, 1, 0x01, 2], CodecError::CriticalOption(7)),
        ("a Uri-Path that is not UTF-8", &[0x40, 1, 0, 1, 0xb1, 0xff], CodecError::CriticalOption(11)),
        (
            "an unknown critical option in a response",
            &[0x60, 0x45, 0, 1, 0x90],
            CodecError::CriticalOption(9),
        ),
    ] {
        assert_eq!(decode(bytes), Err(expected), "{what}");
    }
    for short in
        [&[][..], &[0x40], &[0x40, 1, 0], &[0x49, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[0x42, 1, 0, 1, 1]]
    {
        assert!(matches!(decode(short), Err(CodecError::Frame(_))), "{short:?}");
    }
    let long = vec![0; MAX_MESSAGE + 1];
    assert_eq!(decode(&long), Err(CodecError::TooLong { got: MAX_MESSAGE + 1, limit: MAX_MESSAGE }));
}

#[test]
fn elective_options_that_nobody_knows_are_ignored() {
    // Option 2062 (elective), a second Content-Format (elective, not repeatable), an ETag of 9 bytes.
    for (bytes, format) in [
        (&[0x60, 0x45, 0, 1, 0xe1, 0x07, 0x01, 5][..], None),
        (&[0x60, 0x45, 0, 1, 0xc1, 50, 0x01, 40], Some(JSON)),
        (&[0x60, 0x45, 0, 1, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 9], None),
    ] {
        let Ok(Message { body: Body::Response(response), .. }) = decode(bytes) else { panic!("{bytes:?}") };
        assert_eq!(response.content_format, format, "{bytes:?}");
    }
}

#[test]
fn an_unsigned_option_may_have_leading_zeroes() {
    let Ok(Message { body: Body::Response(response), .. }) = decode(&[0x60, 0x45, 0, 1, 0xc2, 0, 50]) else {
        panic!("section 3.2 allows it")
    };
    assert_eq!(response.content_format, Some(JSON));
}

#[test]
fn too_much_is_refused_before_it_is_sent() {
    let payload = |length| Message {
        kind: Kind::Confirmable,
        id: 1,
        token: vec![],
        body: Body::Request(Request { method: Method::Post, payload: vec![0; length], ..Request::default() }),
    };
    assert!(encode(&payload(MAX_PAYLOAD)).is_ok());
    let error = CodecError::TooLong { got: MAX_PAYLOAD + 1, limit: MAX_PAYLOAD };
    assert_eq!(encode(&payload(MAX_PAYLOAD + 1)), Err(error));
    let path = vec!["x".repeat(255); 5];
    let body = Body::Request(Request { path, ..Request::default() });
    let message = Message { kind: Kind::Confirmable, id: 1, token: vec![], body };
    assert!(matches!(encode(&message), Err(CodecError::TooLong { .. })));
}

fn a_request() -> impl Strategy<Value = Body> {
    let method = prop_oneof![Just(Method::Get), Just(Method::Post), Just(Method::Put), Just(Method::Delete)];
    let texts = || proptest::collection::vec("[ -~äö]{0,20}", 0..5);
    let format = || proptest::option::of(any::<u16>());
    let host = proptest::option::of("[a-z.]{1,30}");
    let observe = proptest::option::of(0u32..2);
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (method, host, format(), texts(), texts(), format(), format(), observe, payload).prop_map(
        |(method, host, port, path, query, content_format, accept, observe, payload)| {
            Body::Request(Request {
                method,
                host,
                port,
                path,
                query,
                content_format,
                accept,
                observe,
                payload,
            })
        },
    )
}

fn a_response() -> impl Strategy<Value = Body> {
    let code = (prop_oneof![Just(2u8), Just(4), Just(5)], 0u8..32).prop_map(|(c, d)| Code::new(c, d));
    let etag = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..=8));
    let block = proptest::option::of((0u32..1 << 20, any::<bool>(), 0u8..8))
        .prop_map(|block| block.map(|(number, more, exponent)| Block { number, more, exponent }));
    let format = proptest::option::of(any::<u16>());
    let observe = proptest::option::of(0u32..1 << 24);
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (code, format, etag, proptest::option::of(any::<u32>()), observe, block, payload).prop_map(
        |(code, content_format, etag, max_age, observe, block, payload)| {
            Body::Response(Response { code, content_format, etag, max_age, observe, block, payload })
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        body in prop_oneof![a_request(), a_response()],
        confirmable: bool,
        id: u16,
        token in proptest::collection::vec(any::<u8>(), 0..=MAX_TOKEN),
    ) {
        let kind = if confirmable { Kind::Confirmable } else { Kind::NonConfirmable };
        let message = Message { kind, id, token, body };
        let bytes = encode(&message).expect("it is within the limits");
        prop_assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_is_read_is_stable(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        header in any::<bool>(),
    ) {
        if header && bytes.len() > 1 {
            bytes[0] = 0x40 | bytes[0] & 0x31;
            bytes[1] &= 0x45;
        }
        if let Ok(message) = decode(&bytes) && let Ok(written) = encode(&message) {
            prop_assert_eq!(decode(&written), Ok(message));
        }
    }

    #[test]
    fn a_changed_byte_never_makes_it_panic(body in a_response(), at: prop::sample::Index, to: u8) {
        let message = Message { kind: Kind::Acknowledgement, id: 7, token: vec![1, 2], body };
        let mut bytes = encode(&message).expect("it is within the limits");
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }
}
