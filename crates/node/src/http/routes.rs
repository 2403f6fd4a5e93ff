//! The table of routes. The router is made of it alone, and a test compares it with the OpenAPI description.

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    http::Method,
    middleware,
    routing::{MethodFilter, MethodRouter, get, on},
};

use super::{
    calendars, console, contracts, directory, events, guard, ledgers, metrics, node, offers, peers,
    platforms, problem::no_such_path, quorums, state::Shared, transactions,
};
use crate::api::{ApiError, ErrorKind};

/// One method of one path.
pub(super) struct Route {
    /// The method. (HEAD goes with GET.)
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler knows it; the test below compares it"))]
    pub(super) method: Method,
    /// The path's pattern, as axum writes it.
    pub(super) path: &'static str,
    handler: MethodRouter<Shared>,
}

/// All routes.
pub(super) fn table() -> Vec<Route> {
    fn read<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
        Route { method: Method::GET, path, handler: get(handler) }
    }
    fn change<T: 'static>(
        filter: MethodFilter,
        path: &'static str,
        handler: impl Handler<T, Shared>,
    ) -> Route {
        let method = match filter {
            MethodFilter::PUT => Method::PUT,
            MethodFilter::PATCH => Method::PATCH,
            MethodFilter::DELETE => Method::DELETE,
            _ => Method::POST,
        };
        Route { method, path, handler: on(filter, handler) }
    }
    vec![
        read("/", node::root),
        read("/healthz", node::healthz),
        read("/readyz", node::readyz),
        read("/metrics", metrics::metrics),
        read("/openapi.json", node::openapi),
        read("/console", console::without_slash),
        read("/console/", console::page),
        read("/console/{*path}", console::file),
        read("/.well-known/wot", directory::well_known),
        read("/.well-known/core", directory::well_known_core),
        read("/search/jsonpath", directory::search),
        read("/things", directory::things),
        change(MethodFilter::POST, "/things", directory::create),
        read("/things/{id}", directory::thing),
        change(MethodFilter::PUT, "/things/{id}", directory::put),
        change(MethodFilter::PATCH, "/things/{id}", directory::patch),
        change(MethodFilter::DELETE, "/things/{id}", directory::delete),
        read("/events", directory::events),
        read("/events/{type}", directory::events_of_type),
        read("/api/v1/directory/anchored", directory::anchored),
        read("/api/v1/directory/entries", directory::entries),
        read("/api/v1/directory/proofs/{id}", directory::proof),
        read("/api/v1/status", node::status),
        read("/api/v1/events", events::all),
        read("/api/v1/parties", platforms::parties),
        read("/api/v1/parties/{name}", platforms::party),
        read("/api/v1/platforms", platforms::platforms),
        change(MethodFilter::POST, "/api/v1/platforms", platforms::join),
        change(MethodFilter::POST, "/api/v1/platforms/introspect", platforms::introspect),
        read("/api/v1/platforms/{id}", platforms::platform),
        change(MethodFilter::POST, "/api/v1/platforms/{id}/probe", platforms::probe),
        read("/api/v1/things/{id}/properties/{name}", platforms::read),
        change(MethodFilter::PUT, "/api/v1/things/{id}/properties/{name}", platforms::write),
        read("/api/v1/contracts", contracts::contracts),
        change(MethodFilter::POST, "/api/v1/contracts", contracts::open),
        read("/api/v1/contracts/{id}", contracts::contract),
        read("/api/v1/contracts/{id}/events", contracts::contract_events),
        change(MethodFilter::POST, "/api/v1/contracts/{id}/evidence", contracts::bring_evidence),
        change(MethodFilter::POST, "/api/v1/contracts/{id}/dispute", contracts::dispute),
        change(MethodFilter::POST, "/api/v1/contracts/{id}/ruling", contracts::rule),
        change(MethodFilter::POST, "/api/v1/rulings", contracts::sign),
        read("/api/v1/contracts/{id}/receipt", contracts::receipt),
        change(MethodFilter::POST, "/api/v1/contracts/{id}/cancel", offers::cancel),
        read("/api/v1/offers", offers::offers),
        change(MethodFilter::POST, "/api/v1/offers", offers::publish),
        change(MethodFilter::DELETE, "/api/v1/offers/{id}", offers::withdraw),
        change(MethodFilter::POST, "/api/v1/offers/{id}/agree", offers::agree),
        read("/api/v1/transactions", transactions::transactions),
        change(MethodFilter::POST, "/api/v1/transactions", transactions::submit),
        change(MethodFilter::POST, "/api/v1/transactions/watch", transactions::watch),
        read("/api/v1/transactions/{txid}", transactions::transaction),
        read("/api/v1/transactions/{txid}/manifest", transactions::manifest),
        read("/api/v1/transactions/{txid}/receipt", transactions::receipt),
        change(MethodFilter::POST, "/api/v1/transactions/{txid}/resume", transactions::resume),
        change(MethodFilter::POST, "/api/v1/transactions/{txid}/agree", peers::agree),
        change(MethodFilter::POST, "/api/v1/transactions/{txid}/decline", peers::decline),
        change(MethodFilter::POST, "/api/v1/transactions/{txid}/withdraw", peers::withdraw),
        read("/api/v1/peers", peers::peers),
        change(MethodFilter::POST, peers::PATH, peers::message),
        change(MethodFilter::POST, "/api/v1/quorums/{group}/asks/{nonce}", quorums::ask),
        change(MethodFilter::POST, "/api/v1/quorums/{group}/bundles", quorums::bundle),
        read("/api/v1/quorums/{group}/words/{txid}/{nonce}", quorums::word),
        change(MethodFilter::POST, "/api/v1/calendars/{id}/asks", calendars::ask),
        read("/api/v1/calendars/{id}/published", calendars::published),
        read("/api/v1/calendars/{id}/extension", calendars::extension),
        read("/api/v1/ledgers", ledgers::ledgers),
        read("/api/v1/ledgers/{id}/balances", ledgers::balances),
        read("/api/v1/ledgers/{id}/fees", ledgers::fees),
    ]
}

/// The router, with all that stands before the routes.
pub(super) fn router(door: Shared) -> Router {
    let mut router = Router::new();
    for Route { path, handler, .. } in table() {
        router = router.route(path, handler);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(Shared::clone(&door), guard::bound))
        .layer(middleware::from_fn_with_state(Shared::clone(&door), guard::admit))
        .layer(middleware::from_fn_with_state(Shared::clone(&door), guard::observe))
        .with_state(door)
}

async fn not_found(request: Request) -> ApiError {
    no_such_path(request.uri().path())
}

async fn not_allowed(request: Request) -> ApiError {
    let detail = format!("{} is not done on {}", request.method(), request.uri().path());
    ApiError::new(ErrorKind::MethodNotAllowed, "no such method here", detail)
        .next("see the Allow header, and /openapi.json")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::openapi;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let served: BTreeSet<_> = table()
            .iter()
            .map(|route| (route.method.as_str().to_lowercase(), route.path.replace("{*", "{")))
            .collect();
        let document: serde_json::Value = serde_json::from_str(openapi::document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().expect("methods").keys().map(|method| (method.clone(), path.clone()))
            })
            .collect();
        assert_eq!(served, described);
        assert_eq!(served.len(), table().len(), "a route is in the table twice");
    }
}
