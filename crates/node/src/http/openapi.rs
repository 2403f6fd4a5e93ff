//! The OpenAPI 3.1 description, made from the handlers' own attributes.

use std::sync::LazyLock;

use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        Content, ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    calendars, console, contracts, directory, events, ledgers, metrics, node, offers, peers, platforms,
    problem, quorums, transactions,
};
use crate::api::{CloudEvent, Problem, Step, ThingEvent};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SOFIE node",
        description = "Federation of IoT platforms over many ledgers. Times are RFC 3339 in UTC with milliseconds; \
                       amounts are decimal texts in the ledger's smallest unit."
    ),
    paths(
        node::root,
        node::healthz,
        node::readyz,
        metrics::metrics,
        node::openapi,
        console::without_slash,
        console::page,
        console::file,
        directory::well_known,
        directory::well_known_core,
        directory::search,
        directory::anchored,
        directory::entries,
        directory::proof,
        directory::things,
        directory::create,
        directory::thing,
        directory::put,
        directory::patch,
        directory::delete,
        directory::events,
        directory::events_of_type,
        node::status,
        events::all,
        platforms::parties,
        platforms::party,
        platforms::platforms,
        platforms::join,
        platforms::introspect,
        platforms::platform,
        platforms::probe,
        platforms::read,
        platforms::write,
        contracts::contracts,
        contracts::open,
        contracts::contract,
        contracts::contract_events,
        contracts::bring_evidence,
        contracts::dispute,
        contracts::rule,
        contracts::sign,
        contracts::receipt,
        offers::cancel,
        offers::offers,
        offers::publish,
        offers::withdraw,
        offers::agree,
        transactions::transactions,
        transactions::submit,
        transactions::watch,
        transactions::transaction,
        transactions::manifest,
        transactions::receipt,
        transactions::resume,
        peers::agree,
        peers::decline,
        peers::withdraw,
        peers::peers,
        peers::message,
        quorums::ask,
        quorums::bundle,
        quorums::word,
        calendars::ask,
        calendars::published,
        calendars::extension,
        ledgers::ledgers,
        ledgers::balances,
        ledgers::fees,
    ),
    components(schemas(CloudEvent, Problem, Step, ThingEvent)),
    tags(
        (name = "node", description = "The node itself"),
        (name = "directory", description = "Things, by W3C WoT Discovery"),
        (name = "platforms", description = "Parties and the platforms that they own"),
        (name = "contracts", description = "Paid actuations"),
        (name = "transactions", description = "Transactions on several ledgers"),
        (name = "peers", description = "Other companies' nodes"),
        (name = "quorums", description = "Members of groups that decide"),
        (name = "calendars", description = "Calendars of this node that other nodes use, and their roots"),
        (name = "ledgers", description = "Ledgers and the money on them"),
        (name = "console", description = "The page for people"),
    ),
    modifiers(&Common)
)]
struct Description;

/// What all operations have in common: failures are problems, and changes may need the token.
struct Common;

/// The name of the token's security scheme.
const BEARER: &str = "bearer";

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        for item in document.paths.paths.values_mut() {
            let reads = [&mut item.get];
            let changes = [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in reads.into_iter().flatten() {
                fails_with_problems(operation);
            }
            for operation in changes.into_iter().flatten() {
                fails_with_problems(operation);
                // Either with the token or, on a node that has none, without.
                let none = SecurityRequirement::default();
                operation.security =
                    Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []), none]);
            }
        }
    }
}

fn fails_with_problems(operation: &mut Operation) {
    let schema = Ref::from_schema_name(Problem::name());
    let content: Content = ContentBuilder::new().schema(Some(schema)).build();
    let response: Response = ResponseBuilder::new()
        .description("A failure, as problem details (RFC 9457)")
        .content(problem::PROBLEM, content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
}

/// The description as JSON.
#[must_use]
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // Made of texts, lists and objects alone: it is always JSON.
        serde_json::to_string_pretty(&Description::openapi()).unwrap_or_default()
    });
    &TEXT
}
