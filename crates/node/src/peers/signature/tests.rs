//! The vectors of RFC 9421 itself, and what is refused.

use super::*;

/// Section B.1.4, `test-key-ed25519`: the last 32 bytes of its PKCS #8 form.
const SECRET: &str = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
/// Section B.1.4: the last 32 bytes of its SubjectPublicKeyInfo.
const PUBLIC: &str = "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb";

/// Section B.2, `test-request`, without its Content-Digest, which B.2.6 does not cover.
const FIELDS: Fields<'static> = &[
    ("host", "example.com"),
    ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
    ("content-type", "application/json"),
    ("content-length", "18"),
];
/// Section B.2.6.
const INPUT_B26: &str = "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
    \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
/// Section B.2.6.
const SIGNATURE_B26: &str =
    "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
/// Section B.2.6: the signature base.
const BASE_B26: &str = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
    \"@authority\": example.com\n\"content-type\": application/json\n\"content-length\": 18\n\
    \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
    ;created=1618884473;keyid=\"test-key-ed25519\"";

fn key(hexed: &str) -> [u8; 32] {
    hex::decode(hexed).unwrap().try_into().unwrap()
}

fn public() -> VerifyingKey {
    VerifyingKey::from_bytes(&key(PUBLIC)).unwrap()
}

fn with(fields: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let own = FIELDS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    own.chain(fields.iter().cloned()).collect()
}

/// Reads and verifies the test request with these two fields.
fn judged(input: &str, signature: &str, change: impl FnOnce(&mut Head<'_>)) -> Result<Params, Fault> {
    let fields = with(&[("signature-input", input.to_owned()), ("signature", signature.to_owned())]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut head = Head { method: "POST", authority: "example.com", path: "/foo", fields: &fields };
    change(&mut head);
    let message = Message::Request(head);
    let sent = Sent::read(&message, "sig-b26")?;
    sent.verify(&message, &public())?;
    Ok(sent.params().clone())
}

#[test]
fn the_vector_of_b_2_6_is_made_and_verified() {
    let head = Head { method: "POST", authority: "example.com", path: "/foo", fields: FIELDS };
    let message = Message::Request(head);
    let covered =
        ["\"date\"", "\"@method\"", "\"@path\"", "\"@authority\"", "\"content-type\"", "\"content-length\""];
    let params =
        Params { created: Some(1_618_884_473), keyid: Some("test-key-ed25519".into()), ..Params::default() };
    let secret = SigningKey::from_bytes(&key(SECRET));
    assert_eq!(secret.verifying_key(), public());
    let made = sign(&message, "sig-b26", &covered, &params, &secret).unwrap();
    assert_eq!(made, (INPUT_B26.to_owned(), SIGNATURE_B26.to_owned()));
    assert_eq!(judged(INPUT_B26, SIGNATURE_B26, |_| {}), Ok(params));
    let ListEntry::InnerList(list) =
        only_member(&[("signature-input", INPUT_B26)], INPUT, "sig-b26").unwrap()
    else {
        panic!("a list");
    };
    assert_eq!(base(&message, &list).unwrap(), BASE_B26);
}

#[test]
fn whatever_is_covered_and_changed_breaks_the_signature() {
    let cases: [fn(&mut Head<'_>); 3] =
        [|head| head.method = "PUT", |head| head.authority = "example.org", |head| head.path = "/foo/"];
    for (index, change) in cases.into_iter().enumerate() {
        assert_eq!(judged(INPUT_B26, SIGNATURE_B26, change), Err(Fault::Wrong), "case {index}");
    }
    for (from, to) in [("1618884473", "1618884474"), ("test-key-ed25519", "test-key-ed448")] {
        assert_eq!(judged(&INPUT_B26.replace(from, to), SIGNATURE_B26, |_| {}), Err(Fault::Wrong));
    }
    let other = SIGNATURE_B26.replace("wqcA", "wqcB");
    assert_eq!(judged(INPUT_B26, &other, |_| {}), Err(Fault::Wrong));
}

#[test]
fn only_the_canonical_form_is_read() {
    let short = "sig-b26=:AAAA:".to_owned();
    let twice = format!("{SIGNATURE_B26}, sig2=:AAAA:");
    for (input, signature, told) in [
        (INPUT_B26.replace("\" \"", "\"  \""), SIGNATURE_B26, "canonical form"),
        (format!(" {INPUT_B26}"), SIGNATURE_B26, "canonical form"),
        (INPUT_B26.replace("sig-b26", "sig"), SIGNATURE_B26, "called sig-b26"),
        (format!("{INPUT_B26}, sig2=()"), SIGNATURE_B26, "called sig-b26"),
        (INPUT_B26.into(), twice.as_str(), "called sig-b26"),
        (INPUT_B26.into(), short.as_str(), "64 bytes"),
        (INPUT_B26.into(), "sig-b26=(\"a\")", "byte sequence"),
        ("sig-b26=1".into(), SIGNATURE_B26, "list of components"),
        (format!("{INPUT_B26};context=\"x\""), SIGNATURE_B26, "context is not known"),
        (INPUT_B26.replace("1618884473", "\"1618884473\""), SIGNATURE_B26, "created is not known"),
        (INPUT_B26.replace("\"date\"", "\"date\" \"date\""), SIGNATURE_B26, "covered twice"),
        (INPUT_B26.replace("\"date\"", "\"@query\""), SIGNATURE_B26, "none of that name"),
        (INPUT_B26.replace("\"date\"", "\"@status\""), SIGNATURE_B26, "none of that name"),
        (INPUT_B26.replace("\"date\"", "\"date\";sf"), SIGNATURE_B26, "parameters are not known"),
        (INPUT_B26.replace("\"date\"", "\"date\";req"), SIGNATURE_B26, "answers no request"),
        (INPUT_B26.replace("\"date\"", "date"), SIGNATURE_B26, "not a string"),
        (INPUT_B26.replace("\"date\"", "\"server\""), SIGNATURE_B26, "no server field"),
        (INPUT_B26.replace("sig-b26=(", &"sig-b26=(\"a\" ".repeat(400)), SIGNATURE_B26, "at most 2048"),
        ("(".into(), SIGNATURE_B26, "signature-input: "),
    ] {
        let error = judged(&input, signature, |_| {}).unwrap_err().to_string();
        assert!(error.contains(told), "{input}: {error}");
    }
}

/// Section 2.4: the base of its first example, whose signature is of another algorithm.
#[test]
fn a_response_covers_what_it_answers() {
    let digest =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let asked = [("content-digest", digest), ("signature", "sig1=:AAAA:, sig2=:AQID:")];
    let to = Head { method: "POST", authority: "origin.host.internal.example", path: "/foo", fields: &asked };
    let fields = [("content-type", "application/json")];
    let message = Message::Response { status: 503, fields: &fields, to };
    let covered = [
        "\"@status\"",
        "\"content-type\"",
        "\"@authority\";req",
        "\"@method\";req",
        "\"@path\";req",
        "\"content-digest\";req",
        "\"signature\";req;key=\"sig2\"",
    ];
    let items = covered.iter().map(|text| component(text).unwrap()).collect();
    let params = written(&Params { created: Some(1_618_884_479), ..Params::default() }).unwrap();
    let base = base(&message, &InnerList::with_params(items, params)).unwrap();
    let expected = format!(
        "\"@status\": 503\n\"content-type\": application/json\n\
         \"@authority\";req: origin.host.internal.example\n\"@method\";req: POST\n\"@path\";req: /foo\n\
         \"content-digest\";req: {digest}\n\"signature\";req;key=\"sig2\": :AQID:\n\
         \"@signature-params\": ({});created=1618884479",
        covered.join(" ")
    );
    assert_eq!(base, expected);
    assert!(message.value(&component("\"@method\"").unwrap()).is_err(), "a response has no method");
}
