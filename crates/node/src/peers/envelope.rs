//! The signature that a message between nodes must have (docs/specs/node-messages.md, "Signature"), and with a tag and paths
//! of their own requests to a shared calendar (docs/specs/shared-calendar.md). Pure: keys, time and the own name are arguments.
//!
//! A request covers its method, its audience, its path and its body; it says when it was made, when it ends, which key
//! made it and what for, and carries a nonce. A response covers its status, its body, and the signature of the request
//! that it answers. What is not exactly this is refused: there is nothing to negotiate.

use ed25519_dalek::{SigningKey, VerifyingKey};
use sofie_model::{Span, Timestamp};

use super::digest;
use super::signature::{Fault, Head, Message, Params, Sent, only, sign};

/// The path of all messages.
pub const PATH: &str = "/api/v1/peers/messages";
/// The media type of a message and of its answer.
pub const MEDIA_TYPE: &str = "application/vnd.sofie.node-message";
/// For how long a signature counts.
pub const LIFETIME: Span = Span::from_seconds(60);
/// The longest lifetime that is taken: for so long a nonce must be remembered.
pub const MAX_LIFETIME: Span = Span::from_seconds(120);
/// How far another node's clock may be ahead.
pub const MAX_AHEAD: Span = Span::from_seconds(30);

const METHOD: &str = "POST";
const LABEL: &str = "sofie";
/// What the signatures of messages are for.
pub(crate) const TAG: &str = "sofie-node-1";
const ALGORITHM: &str = "ed25519";
/// Whose message it is: the node that it goes to, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// Host and port in lower case.
    pub authority: &'a str,
    /// The absolute path.
    pub path: &'a str,
    /// The tag of the signature: one that was made for one purpose counts for no other.
    pub tag: &'static str,
}

impl<'a> Address<'a> {
    /// Of messages between nodes.
    #[must_use]
    pub const fn messages(authority: &'a str) -> Self {
        Self { authority, path: PATH, tag: TAG }
    }

    fn head(&self, fields: super::signature::Fields<'a>) -> Head<'a> {
        Head { method: METHOD, authority: self.authority, path: self.path, fields }
    }
}

const REQUEST: [&str; 4] = ["\"@method\"", "\"@authority\"", "\"@path\"", "\"content-digest\""];
const RESPONSE: [&str; 3] = ["\"@status\"", "\"content-digest\"", "\"signature\";req;key=\"sofie\""];
/// The digits of a nonce: 128 bits.
const NONCE_DIGITS: usize = 32;

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its signature is none.
    #[error(transparent)]
    Signature(#[from] Fault),
    /// Not what is signed here.
    #[error("the signature's {what} is {got:?}; expected {expected:?}")]
    Unfit {
        /// Which part.
        what: &'static str,
        /// What it is.
        got: String,
        /// What it must be.
        expected: String,
    },
    /// It was made for another node.
    #[error("the message is for {got}, this node is {own}")]
    Audience {
        /// For whom it is.
        got: String,
        /// Who this is.
        own: String,
    },
    /// Nobody of that key is known.
    #[error("no [[peer]] has the key {keyid}")]
    Stranger {
        /// The key, as the message names it.
        keyid: String,
    },
    /// The body is not the one that was signed.
    #[error("the body is not the one that its content-digest names")]
    Body,
    /// It came too late, or too early.
    #[error("the signature counts from {from} to {until}, it is {now} (seconds since 1970)")]
    Time {
        /// From when on.
        from: i64,
        /// Until when.
        until: i64,
        /// The time here.
        now: i64,
    },
}

/// The three fields that make a message a signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// `Content-Digest`
    pub digest: String,
    /// `Signature-Input`
    pub input: String,
    /// `Signature`
    pub signature: String,
}

impl Fields {
    /// Names in lower case and values.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [("content-digest", &self.digest), ("signature-input", &self.input), ("signature", &self.signature)]
    }
}

/// A request whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genuine {
    /// The signer's key, in hexadecimal digits.
    pub keyid: String,
    /// Its nonce: with the key, it must not have been seen before.
    pub nonce: String,
    /// Until when the nonce must be remembered.
    pub until: Timestamp,
}

/// A key's name in signatures: its 64 hexadecimal digits.
#[must_use]
pub fn keyid(key: &VerifyingKey) -> String {
    hex::encode(key.as_bytes())
}

/// Signs a request with `body`.
///
/// # Errors
/// [`Fault`] when the address or `nonce` cannot be written in a field.
pub fn seal_request(
    to: &Address<'_>,
    body: &[u8],
    nonce: [u8; 16],
    now: Timestamp,
    key: &SigningKey,
) -> Result<Fields, Fault> {
    let digest = digest::of(body);
    let fields = [("content-digest", digest.as_str())];
    let message = Message::Request(to.head(&fields));
    let params = Params { nonce: Some(hex::encode(nonce)), ..params(to.tag, now, key) };
    let (input, signature) = sign(&message, LABEL, &REQUEST, &params, key)?;
    Ok(Fields { digest, input, signature })
}

/// Checks a request that came to `own`. `key_of` finds the pinned key of this name.
///
/// # Errors
/// [`Refused`], in the order: form, audience, time, key, body, signature.
pub fn open_request(
    request: &Head<'_>,
    body: &[u8],
    own: &Address<'_>,
    now: Timestamp,
    key_of: impl FnOnce(&str) -> Option<VerifyingKey>,
) -> Result<Genuine, Refused> {
    let message = Message::Request(*request);
    let sent = Sent::read(&message, LABEL)?;
    fits(&sent, &REQUEST, own.tag)?;
    same("method", request.method, METHOD)?;
    same("path", request.path, own.path)?;
    if request.authority != own.authority {
        return Err(Refused::Audience { got: request.authority.to_owned(), own: own.authority.to_owned() });
    }
    let until = in_time(sent.params(), now)?;
    let nonce = sent.params().nonce.clone().unwrap_or_default();
    let is_nonce = nonce.len() == NONCE_DIGITS && nonce.bytes().all(|b| b"0123456789abcdef".contains(&b));
    if !is_nonce {
        return Err(unfit("nonce", &nonce, "32 hexadecimal digits"));
    }
    let keyid = sent.params().keyid.clone().unwrap_or_default();
    let key = key_of(&keyid).ok_or_else(|| Refused::Stranger { keyid: keyid.clone() })?;
    if !digest::is_of(only(request.fields, "content-digest")?, body) {
        return Err(Refused::Body);
    }
    sent.verify(&message, &key)?;
    Ok(Genuine { keyid, nonce, until })
}

/// Signs the answer with `status` and `body` to `request`, for the purpose `tag`.
///
/// # Errors
/// [`Fault`] when the request was not signed.
pub fn seal_response(
    tag: &'static str,
    request: &Head<'_>,
    status: u16,
    body: &[u8],
    now: Timestamp,
    key: &SigningKey,
) -> Result<Fields, Fault> {
    let digest = digest::of(body);
    let fields = [("content-digest", digest.as_str())];
    let message = Message::Response { status, fields: &fields, to: *request };
    let (input, signature) = sign(&message, LABEL, &RESPONSE, &params(tag, now, key), key)?;
    Ok(Fields { digest, input, signature })
}

/// Checks that the node of `key` gave this answer to the request that was sent there with `asked`.
///
/// # Errors
/// [`Refused`].
pub fn open_response(
    sent_to: &Address<'_>,
    asked: &Fields,
    status: u16,
    fields: super::signature::Fields<'_>,
    body: &[u8],
    now: Timestamp,
    key: &VerifyingKey,
) -> Result<(), Refused> {
    let sent_fields = asked.pairs();
    let message = Message::Response { status, fields, to: sent_to.head(&sent_fields) };
    let sent = Sent::read(&message, LABEL)?;
    fits(&sent, &RESPONSE, sent_to.tag)?;
    in_time(sent.params(), now)?;
    same("keyid", sent.params().keyid.as_deref().unwrap_or_default(), &keyid(key))?;
    if !digest::is_of(only(fields, "content-digest")?, body) {
        return Err(Refused::Body);
    }
    Ok(sent.verify(&message, key)?)
}

/// The parameters of a signature for the purpose `tag`, but for a nonce.
pub(crate) fn params(tag: &str, now: Timestamp, key: &SigningKey) -> Params {
    let seconds = |at: Timestamp| i64::try_from(at.as_seconds()).ok();
    Params {
        created: seconds(now),
        expires: seconds(now + LIFETIME),
        alg: Some(ALGORITHM.into()),
        keyid: Some(keyid(&key.verifying_key())),
        tag: Some(tag.into()),
        nonce: None,
    }
}

/// It covers exactly what it must, by the one algorithm, and for this purpose.
fn fits(sent: &Sent, covered: &[&str], tag: &str) -> Result<(), Refused> {
    same("coverage", &sent.components().join(" "), &covered.join(" "))?;
    same("alg", sent.params().alg.as_deref().unwrap_or_default(), ALGORITHM)?;
    same("tag", sent.params().tag.as_deref().unwrap_or_default(), tag)
}

fn in_time(params: &Params, now: Timestamp) -> Result<Timestamp, Refused> {
    let (Some(from), Some(until)) = (params.created, params.expires) else {
        return Err(unfit("time", "not there", "created and expires"));
    };
    let clock = i64::try_from(now.as_seconds()).unwrap_or(i64::MAX);
    let span = |span: Span| i64::try_from(span.as_millis() / 1000).unwrap_or(i64::MAX);
    let fresh = from.saturating_sub(span(MAX_AHEAD)) <= clock && clock < until;
    let short = from < until && until.saturating_sub(from) <= span(MAX_LIFETIME);
    match u64::try_from(until) {
        Ok(end) if fresh && short => Ok(Timestamp::from_seconds(end)),
        _ => Err(Refused::Time { from, until, now: clock }),
    }
}

fn same(what: &'static str, got: &str, expected: &str) -> Result<(), Refused> {
    if got == expected { Ok(()) } else { Err(unfit(what, got, expected)) }
}

fn unfit(what: &'static str, got: &str, expected: &str) -> Refused {
    let got = got.chars().take(200).collect();
    Refused::Unfit { what, got, expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "127.0.0.1:8431";
    const BODY: &[u8] = b"body";
    const TO: Address<'static> = Address::messages(OWN);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn sealed() -> Fields {
        seal_request(&TO, BODY, [7; 16], at(0), &key(1)).unwrap()
    }

    /// What becomes of `fields` at the node `own`, whose only peer is key 1.
    fn opened(fields: &Fields, own: &str, body: &[u8], now: Timestamp) -> Result<Genuine, Refused> {
        let pairs = fields.pairs();
        let request = TO.head(&pairs);
        let peer = key(1).verifying_key();
        let own = Address { authority: own, ..TO };
        open_request(&request, body, &own, now, |name| (name == keyid(&peer)).then_some(peer))
    }

    #[test]
    fn a_sealed_request_is_opened() {
        let genuine = opened(&sealed(), OWN, BODY, at(59)).unwrap();
        assert_eq!((genuine.nonce, genuine.until), ("07".repeat(16), at(60)));
        assert_eq!(genuine.keyid, keyid(&key(1).verifying_key()));
    }

    #[test]
    fn what_is_foreign_old_or_changed_is_refused() {
        let fields = sealed();
        let stranger = seal_request(&TO, BODY, [7; 16], at(0), &key(2)).unwrap();
        let forged = Fields { signature: stranger.signature.clone(), ..fields.clone() };
        let foreign = Refused::Audience { got: OWN.into(), own: "127.0.0.1:8432".into() };
        assert_eq!(opened(&fields, "127.0.0.1:8432", BODY, at(0)), Err(foreign));
        assert_eq!(opened(&fields, OWN, b"other", at(0)), Err(Refused::Body));
        assert!(matches!(opened(&stranger, OWN, BODY, at(0)), Err(Refused::Stranger { .. })));
        assert_eq!(opened(&forged, OWN, BODY, at(0)), Err(Refused::Signature(Fault::Wrong)));
        assert!(matches!(opened(&fields, OWN, BODY, at(60)), Err(Refused::Time { .. })), "expired");
        let early = Timestamp::from_seconds(1_800_000_000 - 31);
        assert!(matches!(opened(&fields, OWN, BODY, early), Err(Refused::Time { .. })), "not yet made");
    }

    /// Each with a right signature over what it says: the rule itself is what refuses.
    #[test]
    fn a_signature_of_another_form_is_refused() {
        let digest = digest::of(BODY);
        let own = Params { nonce: Some("07".repeat(16)), ..params(TAG, at(0), &key(1)) };
        let signed = |covered: &[&str], params: &Params| {
            let fields = [("content-digest", digest.as_str())];
            let (input, signature) =
                sign(&Message::Request(TO.head(&fields)), LABEL, covered, params, &key(1)).unwrap();
            opened(&Fields { digest: digest.clone(), input, signature }, OWN, BODY, at(0))
        };
        assert!(signed(&REQUEST, &own).is_ok());
        let text = |text: &str| Some(text.to_owned());
        for (what, params) in [
            ("alg", Params { alg: text("hmac-sha256"), ..own.clone() }),
            ("alg", Params { alg: None, ..own.clone() }),
            ("tag", Params { tag: text("another"), ..own.clone() }),
            ("nonce", Params { nonce: None, ..own.clone() }),
            ("nonce", Params { nonce: text("07"), ..own.clone() }),
            ("time", Params { expires: None, ..own.clone() }),
        ] {
            let refused = signed(&REQUEST, &params);
            assert!(matches!(&refused, Err(Refused::Unfit { what: got, .. }) if *got == what), "{refused:?}");
        }
        let long = Params { expires: own.created.map(|from| from + 121), ..own.clone() };
        assert!(matches!(signed(&REQUEST, &long), Err(Refused::Time { .. })));
        for covered in [&REQUEST[..3], &REQUEST[1..], &[]] {
            let refused = signed(covered, &own);
            assert!(matches!(&refused, Err(Refused::Unfit { what: "coverage", .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_signature_for_one_purpose_or_path_counts_for_no_other() {
        let calendar = Address { path: "/api/v1/calendars/a/asks", tag: "sofie-calendar-1", ..TO };
        let opened = |sealed_for: &Address<'_>, sent_to: &Address<'_>, own: &Address<'_>| {
            let fields = seal_request(sealed_for, BODY, [7; 16], at(0), &key(1)).unwrap();
            let peer = key(1).verifying_key();
            open_request(&sent_to.head(&fields.pairs()), BODY, own, at(0), |_| Some(peer)).map(drop)
        };
        assert_eq!(opened(&calendar, &calendar, &calendar), Ok(()));
        let other = Address { path: "/api/v1/calendars/b/asks", ..calendar };
        assert_eq!(opened(&calendar, &other, &other), Err(Refused::Signature(Fault::Wrong)));
        for (sealed, own, what) in [(TO, calendar, "tag"), (calendar, TO, "tag"), (calendar, other, "path")] {
            let refused = opened(&sealed, &sealed, &own);
            assert!(matches!(&refused, Err(Refused::Unfit { what: got, .. }) if *got == what), "{refused:?}");
        }
    }

    #[test]
    fn an_answer_belongs_to_one_request() {
        let asked = sealed();
        let pairs = asked.pairs();
        let answer = seal_response(TAG, &TO.head(&pairs), 200, b"yes", at(1), &key(3)).unwrap();
        let fields = answer.pairs();
        let open = |asked: &Fields, status, body: &[u8], key: &SigningKey| {
            open_response(&TO, asked, status, &fields, body, at(2), &key.verifying_key())
        };
        assert_eq!(open(&asked, 200, b"yes", &key(3)), Ok(()));
        let other = seal_request(&TO, BODY, [8; 16], at(0), &key(1)).unwrap();
        assert_eq!(open(&other, 200, b"yes", &key(3)), Err(Refused::Signature(Fault::Wrong)));
        assert_eq!(open(&asked, 403, b"yes", &key(3)), Err(Refused::Signature(Fault::Wrong)));
        assert_eq!(open(&asked, 200, b"no", &key(3)), Err(Refused::Body));
        assert!(matches!(open(&asked, 200, b"yes", &key(4)), Err(Refused::Unfit { what: "keyid", .. })));
    }
}
