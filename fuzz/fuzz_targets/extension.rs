//! What puts a proof under a published root, and the root itself as somebody copied it: one encoding only, and no
//! stranger's bytes lead a proof to a root that they do not bring about.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sofie_model::Digest;
use sofie_model::proof::calendar::{Checkpoint, Extension, LogProof, PublishedRoot, SECONDS};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(root) = text.parse::<PublishedRoot>()
    {
        assert_eq!(root.to_string().parse(), Ok(root));
    }
    let Ok(extension) = Extension::from_bytes(bytes) else { return };
    assert_eq!(extension.to_bytes(), bytes);
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let log = "example.com/log".to_owned();
    let head = Checkpoint { origin: log.clone(), size: extension.size, root: extension.root };
    let proof = LogProof {
        key: Digest(key.verifying_key().to_bytes()),
        checkpoint: head.sign(&key),
        leaves: Vec::new(),
        published: None,
        cosigned: None,
    };
    let (size, root) = (12, Digest([9; 32]));
    // Signed as it must be, so that only the paths are left to lie.
    let checkpoint = Checkpoint { origin: format!("{log}{SECONDS}"), size, root }.sign(&key);
    let signed = Extension { checkpoint, ..extension.clone() };
    assert!(proof.under(&PublishedRoot { log, size, root }, &[extension, signed]).is_err());
});
