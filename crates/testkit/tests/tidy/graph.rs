//! The crate graph: arrows point one way, and only those that ARCHITECTURE.md draws exist.

use crate::tree;

/// Rooms that know `model` and nothing else of ours: no arrow between siblings.
const SIBLINGS: &[&str] =
    &["transaction", "directory", "access", "vault", "audit", "ledgers", "adapters", "ilp", "market", "sdk"];

/// Whether the picture has an arrow from room `from` to room `to`.
fn allowed(from: &str, to: &str) -> bool {
    let sibling = |room| SIBLINGS.contains(&room) && room != "sdk";
    match from {
        "model" | "xtask" => false,
        "node" => to == "model" || sibling(to),
        "testkit" => to == "model" || to == "node" || sibling(to),
        "sofie" => to == "model" || to == "node" || to == "testkit" || sibling(to),
        // No room, but a program such as others would write: it knows the formats and nothing of the product.
        "custodian-example" => to == "model",
        room if SIBLINGS.contains(&room) => to == "model",
        _ => false,
    }
}

/// Arrows of one manifest that the picture lacks. Development dependencies are not arrows of the product.
fn stray_arrows(manifest: &toml::Table) -> Vec<String> {
    let name = manifest["package"]["name"].as_str().expect("a package has a name");
    let from = name.strip_prefix("sofie-").unwrap_or(name);
    arrows(manifest)
        .into_iter()
        .filter(|to| !allowed(from, to))
        .map(|to| format!("{from} → {to} is not an arrow of ARCHITECTURE.md"))
        .collect()
}

/// The rooms that a manifest's `[dependencies]` and `[target.*.dependencies]` name.
fn arrows(manifest: &toml::Table) -> Vec<String> {
    let mut tables = vec![manifest.get("dependencies")];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().map(|target| target.get("dependencies")));
    }
    let tables = tables.into_iter().flatten().filter_map(toml::Value::as_table);
    tables
        .flat_map(toml::Table::keys)
        .filter_map(|key| if key == "sofie" { Some("sofie") } else { key.strip_prefix("sofie-") })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_arrow_of_the_crate_graph_is_in_the_picture() {
    let manifests = tree::manifests();
    assert!(manifests.len() > 5, "the members were not found");
    let stray: Vec<String> = manifests.iter().flat_map(|(_, manifest)| stray_arrows(manifest)).collect();
    tree::none(&stray, "a dependency points the wrong way:");
}

#[test]
fn an_arrow_that_the_picture_lacks_is_found() {
    let cases = [
        ("[package]\nname='sofie-model'\n[dependencies]\nsofie-audit.workspace=true", 1),
        ("[package]\nname='sofie-transaction'\n[dependencies]\nsofie-ledgers={path='x'}\nsofie-model={}", 1),
        ("[package]\nname='sofie-access'\n[target.'cfg(unix)'.dependencies]\nsofie-audit={}", 1),
        ("[package]\nname='sofie-node'\n[dependencies]\nsofie-testkit={}\nsofie={}", 2),
        ("[package]\nname='sofie-node'\n[dependencies]\nsofie-peers={}", 1),
        ("[package]\nname='sofie-newroom'\n[dependencies]\nsofie-model={}", 1),
        (
            "[package]\nname='sofie-audit'\n[dependencies]\nsofie-model={}\n[dev-dependencies]\nsofie-testkit={}",
            0,
        ),
        ("[package]\nname='sofie'\n[dependencies]\nsofie-node={}\nsofie-testkit={}", 0),
    ];
    for (text, expected) in cases {
        let manifest: toml::Table = text.parse().expect("the case is TOML");
        assert_eq!(stray_arrows(&manifest).len(), expected, "{text}");
    }
}
