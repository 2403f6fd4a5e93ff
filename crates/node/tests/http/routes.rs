//! Every route answers as the API says, and what cannot be answered is a problem.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::world::{Server, offer, problem};

const ID: &str = "0707070707070707070707070707070707070707070707070707070707070707";

#[tokio::test]
async fn what_is_there_is_answered() {
    let server = Server::start().await;
    for (path, member, value) in [
        ("/api/v1/status", "/started_at", json!("2025-11-24T22:18:18.007Z")),
        ("/api/v1/status", "/ledgers/0/classes", json!(["verifying"])),
        ("/api/v1/ledgers", "/0/id", json!("evm")),
        ("/api/v1/ledgers/evm/balances", "/balances/renter", json!("1180591620717411303424")),
        ("/api/v1/ledgers/evm/fees?from=2&to=9", "/fees", json!("7")),
        ("/api/v1/parties", "/0/account", json!("0x0101010101010101010101010101010101010101")),
        ("/api/v1/parties/renter", "/ledgers/0/coins/worth", json!("7")),
        ("/api/v1/platforms", "", json!([])),
        ("/api/v1/platforms/a%20b", "/id", json!("a b")),
        ("/api/v1/contracts", "/0/price", json!("340282366920938463463374607431768211455")),
        (&format!("/api/v1/contracts/{ID}"), "/state", json!("preparing")),
        (&format!("/api/v1/contracts/{ID}"), "/reason", json!(null)),
        ("/api/v1/transactions", "", json!([])),
        (&format!("/api/v1/transactions/0x{ID}"), "/decision", json!("commit")),
        ("/.well-known/wot", "/@type", json!("ThingDirectory")),
        ("/things", "", json!([])),
        ("/openapi.json", "/openapi", json!("3.1.0")),
    ] {
        assert_eq!(server.json(path).await.pointer(member), Some(&value), "{path} {member}");
    }
    assert_eq!(server.get("/healthz").await.text().await.unwrap(), "ok\n");
    assert_eq!(server.get("/readyz").await.text().await.unwrap(), "ready\n");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let server = Server::start().await;
    let other = ID.replace('7', "8");
    for (method, path, status, detail) in [
        ("GET", "/nowhere", 404, "/nowhere is nothing that this node serves"),
        ("GET", "/api/v1/parties/x", 404, "the double has no such party"),
        ("GET", "/api/v1/platforms/x", 404, "the double has no such platform"),
        ("GET", "/api/v1/ledgers/gold/balances", 404, "the double has no such ledger"),
        ("GET", "/api/v1/ledgers/Gold/balances", 400, "the path: \"Gold\" is not a ledger name"),
        ("GET", "/api/v1/ledgers/evm/fees?from=1", 400, "missing field `to`"),
        ("GET", "/api/v1/ledgers/evm/fees?from=1&to=2&of=me", 400, "unknown field `of`"),
        ("GET", &format!("/api/v1/contracts/{other}"), 404, "the double has no such contract"),
        ("GET", "/api/v1/contracts/77", 400, "\"77\" is not a digest"),
        ("GET", &format!("/api/v1/contracts/{ID}/receipt"), 409, "the contract still runs"),
        ("GET", &format!("/api/v1/contracts/{other}/events"), 404, "the double has no such contract"),
        ("GET", &format!("/api/v1/contracts/{ID}/events?after=x"), 400, "invalid digit"),
        ("GET", "/things/urn:none", 404, "the double has no such thing"),
        ("GET", "/things/none", 400, "\"none\" is not a thing id"),
        ("GET", "/things?limit=0", 400, "limit must be at least 1"),
        ("GET", "/things?format=xml", 400, "format must be"),
        ("GET", "/search/jsonpath", 400, "missing field `query`"),
        ("GET", "/search/jsonpath?query=$&sort=1", 400, "unknown field `sort`"),
        ("GET", "/.well-known/core?rt=a&ct=b", 400, "one attribute at a time"),
        ("GET", "/.well-known/core?page=x", 400, "page must be a number"),
        ("GET", "/api/v1/directory/entries?after=x", 400, "is not a digest"),
        ("GET", "/events/thing_stolen", 400, "the types are thing_created"),
        ("DELETE", "/api/v1/status", 405, "DELETE is not done on /api/v1/status"),
        ("DELETE", "/things/urn:none", 404, "the double has no such thing"),
    ] {
        let response = server.request(method.parse().unwrap(), path).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        if status == 405 {
            assert_eq!(response.headers()["allow"], "GET,HEAD");
        }
        let problem = problem(response).await;
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{method} {path}: {problem}");
    }
    server.double.end();
    let response = server.get("/readyz").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await["type"], "urn:sofie:problem:unavailable");
}

#[tokio::test]
async fn a_contract_is_opened_followed_and_proven() {
    let server = Server::start().await;
    let opened = server.request(Method::POST, "/api/v1/contracts").json(&offer()).send().await.unwrap();
    assert_eq!(opened.status(), StatusCode::ACCEPTED);
    let location = opened.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/contracts/{ID}"));
    assert_eq!(server.json(&location).await["id"], ID);
    let attestation = json!({
        "attestation": {
            "chain_id": 1337, "contract": "0x0101010101010101010101010101010101010101", "txid": ID, "leg": 0,
            "observation": ID, "fulfilled": true, "observed_at": 1_764_022_698_000_u64,
        },
        "signature": "00".repeat(65),
    });
    let evidence = json!({ "attestation": attestation });
    let bring = || server.request(Method::POST, &format!("{location}/evidence")).json(&evidence).send();
    assert_eq!(bring().await.unwrap().status(), 200);
    server.double.end();
    assert_eq!(problem(bring().await.unwrap()).await["status"], 403);
    let receipt = server.get(&format!("{location}/receipt")).await;
    assert_eq!(receipt.headers()["content-type"], "application/vnd.sofie.receipt");
    assert_eq!(receipt.bytes().await.unwrap().as_ref(), [0x80, 0, 0xff]);
    let resumed = server
        .request(Method::POST, &format!("/api/v1/transactions/{ID}/resume"))
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(resumed.status(), 200);
}

/// What is wrong with a body is said with its place.
#[tokio::test]
async fn a_bad_body_is_a_problem() {
    let server = Server::start().await;
    for (member, value, detail) in [
        ("/price", json!(1000), "invalid type: integer `1000`, expected a string"),
        ("/price", json!("1e3"), "\"1e3\" is not an amount"),
        ("/price", json!("-1"), "\"-1\" is not an amount"),
        ("/thing", json!("locker"), "\"locker\" is not a thing id"),
        ("/ledger", json!(""), "\"\" is not a ledger name"),
        ("/open_for_s", json!(-1), "invalid value: integer `-1`, expected u64"),
        ("/evidence/equals", json!({}), "data did not match any variant"),
        (
            "/evidence",
            json!({ "thing": "urn:x", "property": "p", "equals": 1, "more": 1 }),
            "unknown field `more`",
        ),
    ] {
        let mut body = offer();
        *body.pointer_mut(member).unwrap() = value;
        let answer = server.request(Method::POST, "/api/v1/contracts").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{member}");
        let problem = problem(answer).await;
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{member}: {problem}");
    }
    for body in [&b""[..], b"{", b"[]", b"{\"renter\":\"\xff\"}", b"{\"renter\":\"a\",\"renter\":\"b\"}"] {
        let request = server.request(Method::POST, "/api/v1/contracts").body(body.to_vec());
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        assert_eq!(problem(answer).await["status"], 400, "{body:?}");
    }
}

#[tokio::test]
async fn things_are_put_listed_by_page_and_forgotten() {
    let server = Server::start().await;
    let td = |method: Method, path: &str, kind: &'static str| {
        server.request(method, path).header("content-type", kind).body("{\"title\":\"x\"}")
    };
    for i in 0..5 {
        let path = format!("/things/urn:thing:{i}");
        let put = td(Method::PUT, &path, "application/td+json").send().await.unwrap();
        assert_eq!((put.status().as_u16(), &put.headers()["location"]), (201, &path.parse().unwrap()));
        let put = td(Method::PUT, &path, "application/td+json; charset=utf-8").send().await.unwrap();
        assert_eq!(put.status(), 204);
    }
    let made = td(Method::POST, "/things", "application/td+json").send().await.unwrap();
    assert_eq!(
        (made.status().as_u16(), &made.headers()["location"]),
        (201, &"/things/urn:made:1".parse().unwrap())
    );

    let mut pages = Vec::new();
    let mut next = Some("/things?limit=4".to_owned());
    while let Some(path) = next {
        let response = server.get(&path).await;
        assert_eq!(response.headers()["content-type"], "application/ld+json");
        let all = response.headers().get_all("link");
        let links: Vec<String> = all.iter().map(|link| link.to_str().unwrap().to_owned()).collect();
        // Twice five puts and one post: no page is of another list.
        assert_eq!(links[0], "</things>; rel=\"canonical\"; etag=\"11\"");
        pages.push(response.json::<Vec<serde_json::Value>>().await.unwrap().len());
        next = links.get(1).map(|link| {
            link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap().to_owned()
        });
    }
    assert_eq!(pages, [4, 2]);
    let collection = server.json("/things?offset=1&limit=2&format=collection").await;
    assert_eq!((&collection["total"], collection["members"].as_array().unwrap().len()), (&json!(6), 2));
    assert_eq!(collection["next"], "/things?offset=3&limit=2&format=collection");

    let path = "/things/coap:%2F%2F127.0.0.1%2Flocker";
    assert_eq!(td(Method::PUT, path, "application/json").send().await.unwrap().status(), 201);
    let thing = server.get(path).await;
    assert_eq!(thing.headers()["content-type"], "application/td+json");
    let patched = td(Method::PATCH, path, "application/merge-patch+json").send().await.unwrap();
    assert_eq!(patched.status(), 204);
    assert_eq!(server.request(Method::DELETE, path).send().await.unwrap().status(), 204);
    assert_eq!(server.get(path).await.status(), 404);
}

#[tokio::test]
async fn things_are_searched_and_linked() {
    let server = Server::start().await;
    let found = server.get("/search/jsonpath?query=%24%5B%3F%40.title%3D%3D'%C3%BC'%5D").await;
    assert_eq!(found.headers()["content-type"], "application/json");
    assert_eq!(found.text().await.unwrap(), r#"["$[?@.title=='ü']"]"#);
    for (path, text, next) in [
        ("", "AskedLinks { filter: None, page: 0, count: 100 }", "page=1&count=100"),
        (
            "?href=%2Fthings%2Fa%20b*&count=7",
            "Filter { name: \"href\", value: \"/things/a b\", open: true }), page: 0, count: 7 }",
            "href=%2Fthings%2Fa%20b%2A&page=1&count=7",
        ),
        ("?page=1&count=1000", "page: 1, count: 100 }", ""),
    ] {
        let links = server.get(&format!("/.well-known/core{path}")).await;
        assert_eq!(links.headers()["content-type"], "application/link-format");
        let link = links.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let expected = format!("</.well-known/core?{next}>; rel=\"next\"");
        assert_eq!(link, (!next.is_empty()).then_some(expected));
        let found = links.text().await.unwrap();
        assert!(found.contains(text), "{path}: {found}");
    }
}

#[tokio::test]
async fn what_is_anchored_of_the_directory_is_shown() {
    let server = Server::start().await;
    for (path, text) in [
        ("anchored".to_owned(), "anchored".to_owned()),
        ("proofs/urn:a%2Fb".to_owned(), "urn:a/b".to_owned()),
        ("entries".to_owned(), "None".to_owned()),
        (format!("entries?after={ID}"), format!("Some({ID})")),
    ] {
        let shown = server.get(&format!("/api/v1/directory/{path}")).await;
        assert_eq!(shown.headers()["content-type"], "application/vnd.sofie.directory");
        assert_eq!(shown.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_joined_platform_has_a_url() {
    let server = Server::start().await;
    server.double.gate.add_permits(1);
    let body = json!({ "owner": "locker-co", "kind": "coap", "url": "coap://127.0.0.1" });
    let joined = server.request(Method::POST, "/api/v1/platforms").json(&body).send().await.unwrap();
    assert_eq!(joined.status(), 201);
    let location = joined.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(server.json(&location).await["id"], "a b");
}

#[tokio::test]
async fn what_joining_would_register_is_shown() {
    let server = Server::start().await;
    let path = "/api/v1/platforms/introspect";
    let body = json!({ "owner": "locker-co", "kind": "coap", "url": "coap://127.0.0.1" });
    let found = server.request(Method::POST, path).json(&body).send().await.unwrap();
    assert_eq!(found.status(), 200);
    let expected = json!({ "kind": "coap", "url": "coap://127.0.0.1", "things": [{ "title": "locker-co" }] });
    assert_eq!(found.json::<serde_json::Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn a_joined_platform_is_probed() {
    let server = Server::start().await;
    let probe = async |id: &str| {
        let request = server.request(Method::POST, &format!("/api/v1/platforms/{id}/probe"));
        request.json(&json!({})).send().await.unwrap()
    };
    let probed = probe("a%20b").await;
    assert_eq!(probed.status(), 200);
    let expected = json!({ "platform": "a b", "drift": [{
        "thing": "urn:x:lamp", "kind": "changed", "affordance": "property on",
        "was": "boolean of /on, json", "is": "integer of /on, json",
    }] });
    assert_eq!(probed.json::<serde_json::Value>().await.unwrap(), expected);
    assert_eq!(probe("nobody").await.status(), 404);
}

#[tokio::test]
async fn a_property_is_read_kept_or_fresh() {
    let server = Server::start().await;
    for (query, value) in [("", false), ("?fresh=false", false), ("?fresh=true", true)] {
        let read = server.json(&format!("/api/v1/things/urn:x:lamp/properties/a%2Fb{query}")).await;
        let expected = json!({
            "thing": "urn:x:lamp", "property": "a/b", "value": value, "unit": "Cel",
            "observed_at": "1970-01-01T00:00:01.000Z", "arrived": "1970-01-01T00:00:01.000Z", "retained": false,
        });
        assert_eq!(read, expected, "{query}");
    }
}

#[tokio::test]
async fn a_property_is_written_under_the_clients_own_key() {
    let server = Server::start().await;
    let path = "/api/v1/things/urn:x:lamp/properties/a%2Fb";
    let put = |path: &str, body: serde_json::Value| {
        server.request(Method::PUT, path).json(&body).header("idempotency-key", "\"k\"").send()
    };
    let answer = put(path, json!({ "value": "21.5", "unit": "Cel" })).await.unwrap();
    assert_eq!(answer.status(), 200);
    let expected = json!({ "outcome": "unknown", "detail": "urn:x:lamp a/b 21.5 k" });
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), expected);
    for (path, body) in [
        (path, json!({ "value": 21.5 })),
        (path, json!({ "value": true, "units": "Cel" })),
        (path, json!({ "value": true, "idempotency_key": "another" })),
        ("/api/v1/things/lamp/properties/a", json!({ "value": true })),
    ] {
        assert_eq!(put(path, body.clone()).await.unwrap().status(), 400, "{path} {body}");
    }
}

#[tokio::test]
async fn a_draft_is_submitted_under_the_clients_own_key() {
    let server = Server::start().await;
    let draft = |key: Option<&str>| {
        let leg = json!({ "ledger": "evm", "kind": "transfer", "from": "a", "to": "b", "amount": "1" });
        let mut draft = json!({ "deadline": "20s", "legs": [leg] });
        key.iter().for_each(|key| draft["idempotency_key"] = json!(key));
        draft
    };
    let submit = |header: Option<&'static str>, draft: serde_json::Value| {
        let request = server.request(Method::POST, "/api/v1/transactions").json(&draft);
        match header {
            Some(header) => request.header("idempotency-key", header).send(),
            None => request.send(),
        }
    };
    for (header, key, seen) in [
        (None, None, ""),
        (None, Some("mine"), "mine"),
        (Some("mine"), None, "mine"),
        (Some("\"mine\""), None, "mine"),
        (Some("\"mine\""), Some("mine"), "mine"),
    ] {
        let answer = submit(header, draft(key)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{header:?} {key:?}");
        assert_eq!(answer.headers()["location"], format!("/api/v1/transactions/{ID}"));
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["phase"], seen);
    }
    let refused = submit(Some("other"), draft(Some("mine"))).await.unwrap();
    let told = "the header Idempotency-Key: \"other\" is not the body's idempotency_key \"mine\"";
    assert_eq!(problem(refused).await["detail"], told);
}

#[tokio::test]
async fn a_contract_is_opened_under_the_clients_own_key() {
    let server = Server::start().await;
    let open = || server.request(Method::POST, "/api/v1/contracts");
    let mut asked = offer();
    asked["idempotency_key"] = json!("mine");
    for request in [open().json(&asked), open().json(&offer()).header("idempotency-key", "\"mine\"")] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["reason"], "mine");
    }
    let refused = open().json(&asked).header("idempotency-key", "other").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_offer_is_taken_up_under_the_clients_own_key_and_a_contract_cancelled() {
    let server = Server::start().await;
    assert_eq!(server.json("/api/v1/offers").await, json!({ "offers": [], "silent": [] }));
    let path = format!("/api/v1/offers/{ID}/agree");
    let agree = |body| server.request(Method::POST, &path).json(&body);
    let agreed = agree(json!({ "payer": "alice" })).header("idempotency-key", "mine").send().await.unwrap();
    assert_eq!(agreed.status(), StatusCode::ACCEPTED);
    assert_eq!(agreed.headers()["location"], format!("/api/v1/contracts/{ID}"));
    assert_eq!(agreed.json::<serde_json::Value>().await.unwrap()["reason"], "mine");
    assert_eq!(agree(json!({ "payer": "alice", "price": "1" })).send().await.unwrap().status(), 400);

    let cancelled = server.request(Method::POST, &format!("/api/v1/contracts/{ID}/cancel"));
    let cancelled = cancelled.json(&json!({ "reason": "too dear" })).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::OK);
    let cancelled: serde_json::Value = cancelled.json().await.unwrap();
    assert_eq!((&cancelled["state"], &cancelled["reason"]), (&json!("cancelled"), &json!("too dear")));
    let gone = server.request(Method::DELETE, &format!("/api/v1/offers/{ID}")).send().await.unwrap();
    assert_eq!(problem(gone).await["detail"], "the double has no such offer");
}

/// Each names the field by its path.
#[tokio::test]
async fn a_draft_that_cannot_be_read_is_a_problem() {
    let server = Server::start().await;
    for (member, value, detail) in [
        (
            "/legs/0/kind",
            json!("swap"),
            "the body: legs[0].kind: unknown variant `swap`, expected one of `transfer`, `escrow`, `hashlock`, `record`",
        ),
        (
            "/legs/0/amount",
            json!(5),
            "the body: legs[0].amount: invalid type: integer `5`, expected a string",
        ),
        ("/legs/0/ledger", json!("E"), "the body: legs[0].ledger: \"E\" is not a ledger name"),
        ("/legs/0", json!({ "kind": "record" }), "the body: legs[0]: missing field `ledger`"),
        (
            "/legs/0",
            json!({ "ledger": "l", "kind": "record", "why": 1 }),
            "the body: legs[0].why: unknown field `why`",
        ),
        (
            "/legs/0/evidence",
            json!({ "by": "c", "until": "later" }),
            "the body: legs[0].evidence.until: \"later\" is not a span such as",
        ),
        (
            "/deadline",
            json!("soon"),
            "the body: deadline: \"soon\" is not a span such as \"30s\", or an instant such as",
        ),
        ("/rule", json!("most"), "the body: rule: unknown variant `most`, expected `all` or `at_least`"),
    ] {
        let leg = json!({ "ledger": "l", "kind": "transfer", "amount": "1", "evidence": null });
        let mut body = json!({ "deadline": "20s", "rule": "all", "legs": [leg] });
        *body.pointer_mut(member).unwrap() = value;
        let answer = server.request(Method::POST, "/api/v1/transactions").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{member}");
        let problem = problem(answer).await;
        assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{member}: {problem}");
    }
}
