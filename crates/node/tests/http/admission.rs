//! Who is let in: foreign names, foreign pages and strangers are not.

use reqwest::Method;
use sofie_node::{http::Options, keys::Token};

use crate::world::{Server, offer, problem};

/// DNS rebinding: a foreign name that leads here comes with a foreign Host header.
#[tokio::test]
async fn only_our_own_names_are_answered() {
    let server =
        Server::with(Options { hosts: vec!["node.example.org".to_owned()], ..Options::default() }).await;
    let port = server.address.port();
    for (head, status) in [
        (format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"), "200"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned(), "200"),
        ("GET /healthz HTTP/1.1\r\nHost: LocalHost:1\r\n".to_owned(), "200"),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n".to_owned(), "200"),
        ("GET /healthz HTTP/1.1\r\nHost: Node.Example.org\r\n".to_owned(), "200"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned(), "200"),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example.org\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost.evil.example.org\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1.evil.example.org\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: 192.0.2.1\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: user@evil.example.org@localhost\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: \r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.org\r\n".to_owned(), "421"),
        ("GET http://evil.example.org/healthz HTTP/1.1\r\nHost: localhost\r\n".to_owned(), "421"),
        ("GET /nowhere HTTP/1.1\r\nHost: evil.example.org\r\n".to_owned(), "421"),
        ("GET /healthz HTTP/1.0\r\nHost: localhost\r\n".to_owned(), "200"),
        ("GET /healthz HTTP/1.0\r\n".to_owned(), "421"),
    ] {
        let answer = server.raw(&format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head}{answer}");
        assert!(!answer.contains("access-control-"), "{answer}");
    }
}

/// CSRF: a page of another site can send only what needs no preflight, and none is ever granted.
#[tokio::test]
async fn a_foreign_page_changes_nothing() {
    let server = Server::start().await;
    let ours = format!("http://{}", server.address);
    for (header, value, status) in [
        ("content-type", "application/json", 202),
        ("content-type", "Application/JSON;charset=utf-8", 202),
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-type", "multipart/form-data", 415),
        ("content-type", "text/plain; application/json", 415),
        ("content-type", "", 415),
        ("origin", &ours, 202),
        ("origin", "http://localhost", 403),
        ("origin", "https://evil.example.org", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-origin", 202),
        ("sec-fetch-site", "none", 202),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "cross-site", 403),
    ] {
        let mut request = server.request(Method::POST, "/api/v1/contracts").body(offer().to_string());
        if header != "content-type" {
            request = request.header("content-type", "application/json");
        }
        let answer = request.header(header, value).send().await.unwrap();
        assert_eq!(answer.status(), status, "{header}: {value}");
    }
    let preflight =
        server.request(Method::OPTIONS, "/api/v1/contracts").header("origin", "https://evil.example.org");
    let answer = preflight.header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[tokio::test]
async fn changes_need_the_token_and_reading_does_not_but_of_what_things_say() {
    const TOKEN: &str = "0123456789abcdef";
    let token = Some(Token::parse(TOKEN).unwrap());
    let server = Server::with(Options { token, ..Options::default() }).await;
    for (shown, status) in [
        (None, 401),
        (Some("Bearer 0123456789abcdef"), 202),
        (Some("bearer 0123456789abcdef"), 202),
        (Some("Bearer 0123456789abcdeF"), 401),
        (Some("Bearer 0123456789abcde"), 401),
        (Some("Bearer "), 401),
        (Some("Basic 0123456789abcdef"), 401),
        (Some("0123456789abcdef"), 401),
    ] {
        let mut request = server.request(Method::POST, "/api/v1/contracts").json(&offer());
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{shown:?}");
        if status == 401 {
            assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"sofie\"");
            assert!(!problem(answer).await.to_string().contains(TOKEN));
        }
    }
    assert_eq!(server.request(Method::DELETE, "/things/urn:x").send().await.unwrap().status(), 401);
    assert_eq!(server.get("/api/v1/contracts").await.status(), 200);
    // What a thing says is not everybody's.
    let property = "/api/v1/things/urn:x:lamp/properties/on";
    assert_eq!(server.get(property).await.status(), 401);
    let shown = format!("Bearer {TOKEN}");
    let read = server.request(Method::GET, property).header("authorization", shown).send().await.unwrap();
    assert_eq!(read.status(), 200);
}

#[tokio::test]
async fn every_answer_has_the_headers_of_a_careful_server() {
    let server = Server::start().await;
    for path in ["/", "/healthz", "/nowhere", "/api/v1/status", "/console/", "/metrics"] {
        let answer =
            server.request(Method::GET, path).header("x-request-id", "my-id.1").send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(header("x-request-id"), "my-id.1", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            header("cache-control"),
            if path == "/console/" { "no-cache" } else { "no-store" },
            "{path}"
        );
    }
    for bad in ["", "a b", "a\tb", &"x".repeat(65)] {
        let answer =
            server.request(Method::GET, "/healthz").header("x-request-id", bad).send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{bad:?} → {id}");
    }
}
