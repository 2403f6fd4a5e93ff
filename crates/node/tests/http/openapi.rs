//! The description keeps the rules of OpenAPI 3.1 that its schema cannot say, and its examples of types are true.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::world::{Server, offer};

fn walk<'v>(value: &'v Value, visit: &mut impl FnMut(&'v Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        _ => {}
    }
}

/// The judge is the standard's own schema.
#[tokio::test]
async fn the_description_is_openapi_3_1() {
    let judge: Value = serde_json::from_str(include_str!("oas-3.1/schema.json")).unwrap();
    let judge = jsonschema::validator_for(&judge).unwrap();
    let document = Server::start().await.json("/openapi.json").await;
    let errors: Vec<_> = judge.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    for (pointer, wrong) in [
        ("/openapi", "3.0.0".into()),
        ("/paths/~1healthz/get/responses", Value::Null),
        ("/paths/~1things/get/parameters/0/in", "body".into()),
    ] {
        let mut document = document.clone();
        *document.pointer_mut(pointer).expect(pointer) = wrong;
        assert!(!judge.is_valid(&document), "{pointer}");
    }
}

#[tokio::test]
async fn references_parameters_and_names_hold() {
    let document = Server::start().await.json("/openapi.json").await;
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    });
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let in_path: BTreeSet<_> =
            path.split('{').skip(1).map(|part| part.split('}').next().unwrap()).collect();
        for (method, operation) in item.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
            let declared: BTreeSet<_> = parameters
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(in_path, declared, "{method} {path}");
            assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object());
            assert_eq!(operation.get("security").is_some(), method != "get", "{method} {path}");
        }
    }
}

/// The schemas say the truth about what the server sends and takes.
#[tokio::test]
async fn answers_and_bodies_match_their_schemas() {
    let server = Server::start().await;
    server.double.step("offered");
    let document = server.json("/openapi.json").await;
    let check = |name: &str, value: &Value| {
        let schema = serde_json::json!({ "$ref": format!("#/components/schemas/{name}"), "components": document["components"] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
    };
    check("Status", &server.json("/api/v1/status").await);
    check("Contract", &server.json("/api/v1/contracts").await[0]);
    check("LedgerStatus", &server.json("/api/v1/ledgers").await[0]);
    check("Balances", &server.json("/api/v1/ledgers/evm/balances").await);
    check("Fees", &server.json("/api/v1/ledgers/evm/fees?from=0&to=1").await);
    check("Party", &server.json("/api/v1/parties").await[0]);
    check("Holder", &server.json("/api/v1/parties/renter").await);
    check("Problem", &server.get("/nowhere").await.json().await.unwrap());
    check("OpenContract", &offer());
    for equals in [Value::from(true), Value::from(3), Value::from("open")] {
        let mut body = offer();
        body["evidence"]["equals"] = equals;
        check("OpenContract", &body);
    }
}
