//! The bearer token (RFC 6750) of the HTTP door: one secret, shared by all who may change something.

use std::{fmt, path::Path};

use sofie_model::Digest;
use zeroize::Zeroizing;

use super::secret_file::{self, SecretFileError};

/// What a client must show. Only its hash is kept, and hashes are compared: the time that takes tells nothing about the
/// token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Digest);

/// Shorter ones can be guessed.
const MIN_TOKEN: usize = 16;
/// Longer ones do not fit a header well.
const MAX_TOKEN: usize = 512;

impl Token {
    /// Reads the token from its file, or makes one (256 random bits) and the file when there is none.
    ///
    /// # Errors
    /// [`SecretFileError`].
    pub fn load_or_create(file: &Path) -> Result<Self, SecretFileError> {
        if let Some(text) = secret_file::read(file)? {
            return Self::parse(text.trim())
                .map_err(|what| SecretFileError::Odd { file: file.to_owned(), what });
        }
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|error| SecretFileError::Io {
            file: file.to_owned(),
            verb: "made",
            source: std::io::Error::other(error),
        })?;
        let text = Zeroizing::new(hex::encode(*bytes));
        secret_file::create(file, &text)?;
        Ok(Self::of(&text))
    }

    /// A token as text.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let b64token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if (MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(b64token) {
            Ok(Self::of(text))
        } else {
            Err(format!("is no token: one line of {MIN_TOKEN} to {MAX_TOKEN} letters, digits and -._~+/="))
        }
    }

    /// Whether `shown` is this token.
    #[must_use]
    pub fn accepts(&self, shown: &str) -> bool {
        *self == Self::of(shown)
    }

    fn of(text: &str) -> Self {
        Self(Digest::of("sofie.bearer-token.v1", &[text.as_bytes()]))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_accepts_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let made = Token::load_or_create(&file).unwrap();
        assert_eq!(Token::load_or_create(&file).unwrap(), made);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(made.accepts(&text) && !made.accepts(&text[1..]) && !made.accepts(""));
        assert_eq!(format!("{made:?}"), "Token(…)");
    }

    #[test]
    fn weak_tokens_are_refused() {
        for bad in ["", "short", "fifteen letters", "sixteen letters, spaced", &"x".repeat(513)] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
        assert!(Token::parse("0123456789abcdef").is_ok());
    }
}
