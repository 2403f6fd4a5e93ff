//! `sofie verify` on receipts of real stories: true ones, and all sorts of lies.

mod common;

use common::{accepted, sofie, story, tamper, verify};

#[test]
fn true_receipts_pass_and_no_tampered_one_does() {
    let (one, other) = (story(&[]), story(&[]));
    accepted(&one, "settled");
    accepted(&other, "settled");
    let read = |story: &common::Story| std::fs::read(story.receipt()).expect("it was written");
    let (own, foreign) = (read(&one), read(&other));
    let mut lies = tamper::damaged(&own);
    lies.extend(tamper::spliced(&own, &foreign));
    tamper::refused(&one, &lies);

    // A new operator who signs everything is consistent; the anchors know better.
    let usurped = tamper::usurped(&own, one.folder.path());
    let (code, said) = verify(&usurped, Some(&one.anchors()));
    assert!(code == 1 && said.contains("refused: "), "{code}: {said}");
    // The anchors of another run know other blocks, keys and parties.
    let (code, said) = verify(&one.receipt(), Some(&other.anchors()));
    assert!(code == 1 && said.contains("refused: "), "{code}: {said}");
}

#[test]
fn files_that_are_none_are_told_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let (receipt, anchors) = (file("not.cbor", "no receipt"), file("not.toml", "[[chain]]\nblok = 1\n"));
    let missing = folder.path().join("missing.cbor").display().to_string();
    for (args, code, expected) in [
        (vec!["verify", &receipt], 1, "refused: "),
        (vec!["verify", &missing], 2, "missing.cbor"),
        (vec!["verify", &receipt, "--anchors", &anchors], 2, "not.toml"),
    ] {
        let output = sofie(&args).output().expect("it runs");
        let said = format!("{}{}", common::text(&output.stdout), common::text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
