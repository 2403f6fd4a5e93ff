//! The console's files over HTTP.

use reqwest::Method;
use sofie_node::http::Options;

use crate::world::{Server, problem};

#[tokio::test]
async fn the_page_and_its_files_are_served() {
    let server = Server::start().await;
    for path in ["/", "/console"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["location"]),
            (307, &"/console/".parse().unwrap())
        );
    }
    let answer = server.get("/console/").await;
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'"] {
        assert!(policy.split("; ").any(|found| found == rule), "{policy}");
    }
    let page = answer.text().await.unwrap();
    let linked = page.split('"').filter_map(|part| part.strip_prefix("./")).map(str::to_owned);
    let linked: Vec<_> = linked.collect();
    assert!(!linked.is_empty(), "{page}");
    for path in linked {
        assert_eq!(server.get(&format!("/console/{path}")).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let server = Server::start().await;
    let tag = server.get("/console/").await.headers()["etag"].to_str().unwrap().to_owned();
    for (known, status) in
        [(tag.clone(), 304), (format!("\"other\", {tag}"), 304), ("\"other\"".to_owned(), 200)]
    {
        let answer =
            server.request(Method::GET, "/console/").header("if-none-match", &known).send().await.unwrap();
        assert_eq!(answer.status(), status, "{known}");
    }
}

#[tokio::test]
async fn nothing_else_is_served_there() {
    let server = Server::start().await;
    for path in [
        "/console/none.js",
        "/console/%2e%2e/Cargo.toml",
        "/console/..%2FCargo.toml",
        "/console/%2Fetc%2Fpasswd",
    ] {
        let answer = server.get(path).await;
        assert_eq!(problem(answer).await["status"], 404, "{path}");
    }
    let without = Server::with(Options::default()).await;
    assert_eq!(problem(without.get("/console/").await).await["status"], 404);
}
