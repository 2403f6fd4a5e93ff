//! Content-Digest (RFC 9530) with SHA-256: the field that binds a body to a signature. Exactly one digest is read; other
//! algorithms and `Repr-Digest` are left out.

use sfv::{BareItem, Dictionary, FieldType, Item, Key};
use sofie_model::Digest;

const ALGORITHM: &str = "sha-256";

/// The field's value for `content`.
///
/// ```
/// use sofie_node::peers::digest;
/// let field = digest::of(b"{\"hello\": \"world\"}");
/// assert_eq!(field, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
/// assert!(digest::is_of(&field, b"{\"hello\": \"world\"}") && !digest::is_of(&field, b""));
/// ```
#[must_use]
pub fn of(content: &[u8]) -> String {
    let item = Item::new(BareItem::ByteSequence(Digest::sha256(content).as_bytes().to_vec()));
    let key = Key::from_string(ALGORITHM.to_owned()).expect("sha-256 is a key of a dictionary");
    Dictionary::from_iter([(key, item.into())]).serialize().expect("it has a member")
}

/// Whether `field` is the digest of `content`, and nothing besides.
#[must_use]
pub fn is_of(field: &str, content: &[u8]) -> bool {
    // A digest has one canonical form, so nothing need be parsed.
    field == of(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530, section B.1 (a body with a line feed at its end) and RFC 9421, section B.2 (one without).
    #[test]
    fn the_published_digests_are_made() {
        for (content, field) in [
            ("{\"hello\": \"world\"}\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
            ("{\"hello\": \"world\"}", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ] {
            assert_eq!(of(content.as_bytes()), field);
            assert!(is_of(field, content.as_bytes()));
        }
    }

    #[test]
    fn another_body_another_form_and_a_second_digest_are_refused() {
        let field = of(b"a");
        let padded = format!("{field}, sha-512=:AAAA:");
        for (field, content) in
            [(field.as_str(), "b"), (padded.as_str(), "a"), ("", "a"), (" sha-256=:AAAA:", "a")]
        {
            assert!(!is_of(field, content.as_bytes()), "{field}");
        }
    }
}
