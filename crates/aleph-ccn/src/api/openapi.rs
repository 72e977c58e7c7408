//! The document of the API, made of the routes themselves: a route can't be served without being in it.

pub(super) mod params;
pub(super) mod shapes;

use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::options;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{Components, ContentBuilder, Info, License, OpenApi, Ref, RefOr, Tag, schema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::Api;
use super::cors::preflight;
use super::errors::{ApiError, json_answer};

/// Routes with their documentation.
pub(super) struct Routes {
    router: Router<Arc<Api>>,
    paths: Paths,
    schemas: Vec<(String, RefOr<schema::Schema>)>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), paths: Paths::new(), schemas: Vec::new() }
    }

    /// Adds the handlers of one path, as `utoipa_axum::routes!` collects them, and the answer to
    /// preflights. A last segment such as `{address}.json` is given to the handler whole.
    pub(super) fn add(self, routes: UtoipaMethodRouter<Arc<Api>>) -> Self {
        let path = routes.1.paths.keys().next().cloned().unwrap_or_default();
        let served = match path.strip_suffix("}.json") {
            Some(start) => format!("{start}}}"),
            None => path,
        };
        self.add_at(&served, routes)
    }

    /// The same with an answer to OPTIONS of their own, which has to know preflights.
    pub(super) fn add_with_options<H, T>(mut self, options: H, routes: UtoipaMethodRouter<Arc<Api>>) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        let (schemas, paths, methods) = routes;
        let path = paths.paths.keys().next().cloned().unwrap_or_default();
        self.router = self.router.route(&path, methods.options(options));
        self.schemas.extend(schemas);
        self.paths.paths.extend(paths.paths);
        self
    }

    /// The same for a path that fits the pattern of another route's GET as well, where its last word is no
    /// hash: GET answers so, as in the reference.
    pub(super) fn add_beside(mut self, no_hash: &'static str, routes: UtoipaMethodRouter<Arc<Api>>) -> Self {
        let (schemas, paths, methods) = routes;
        let path = paths.paths.keys().next().cloned().unwrap_or_default();
        let allowed = paths.paths.values().flat_map(methods_of).collect();
        let methods = methods.get(move || ready(ApiError::text(StatusCode::BAD_REQUEST, no_hash)));
        self.router = self.router.route(&path, with_preflight(methods, allowed));
        self.schemas.extend(schemas);
        self.paths.paths.extend(paths.paths);
        self
    }

    /// The same, where the router's path is not the one of the document.
    pub(super) fn add_at(mut self, served: &str, routes: UtoipaMethodRouter<Arc<Api>>) -> Self {
        let (schemas, paths, methods) = routes;
        let allowed = paths.paths.values().flat_map(methods_of).collect();
        self.router = self.router.route(served, with_preflight(methods, allowed));
        self.schemas.extend(schemas);
        self.paths.paths.extend(paths.paths);
        self
    }

    /// Serves the same handlers under a second path.
    pub(super) fn add_also(mut self, alias: &str, routes: UtoipaMethodRouter<Arc<Api>>) -> Self {
        let (_, paths, methods) = routes;
        let mut items: Vec<PathItem> = paths.paths.into_values().collect();
        let allowed = items.iter().flat_map(methods_of).collect();
        let word: String =
            alias.chars().map(|sign| if sign.is_alphanumeric() { sign } else { '_' }).collect();
        for item in &mut items {
            for operation in operations_mut(item) {
                operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_{word}"));
            }
        }
        self.router = self.router.route(alias, with_preflight(methods, allowed));
        self.paths.paths.extend(items.into_iter().map(|item| (alias.to_owned(), item)));
        self
    }

    /// The router, and the document as JSON.
    pub(super) fn finish(self) -> (Router<Arc<Api>>, Document) {
        let Self { router, paths, schemas } = self;
        (router, Document::of(paths, schemas))
    }
}

fn with_preflight(
    methods: axum::routing::MethodRouter<Arc<Api>>,
    allowed: Vec<Method>,
) -> axum::routing::MethodRouter<Arc<Api>> {
    let allowed: Arc<[Method]> = allowed.into();
    methods.merge(options(move |headers: HeaderMap| ready(preflight(&headers, &allowed))))
}

fn methods_of(item: &PathItem) -> Vec<Method> {
    let PathItem { get, post, patch, delete, head, put, .. } = item;
    [
        (get.is_some(), Method::GET),
        (post.is_some(), Method::POST),
        (put.is_some(), Method::PUT),
        (patch.is_some(), Method::PATCH),
        (delete.is_some(), Method::DELETE),
        (head.is_some(), Method::HEAD),
    ]
    .into_iter()
    .filter_map(|(there, method)| there.then_some(method))
    .collect()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete, &mut item.head]
        .into_iter()
        .filter_map(Option::as_mut)
}

/// What the whole API is, on top of its document.
const ABOUT: &str = "Messages, files and the state that they make, as every core node of Aleph Cloud \
serves them.\n\nParameters in camelCase are taken in snake_case too. Unknown parameters are ignored; of a \
repeated one the first counts. Lists are one text with commas.\n\nAnswers in JSON and text are compressed \
for clients that ask for it (zstd, gzip, deflate). GET answers carry an `ETag`; with `If-None-Match` they \
are 304 while nothing has changed. HEAD answers like GET.\n\nRefusals are plain text that says why; wrong \
parameters are listed as JSON objects. A client that asks too often is answered 429 with `Retry-After`.";

/// The document, written once.
#[derive(Debug, Clone)]
pub(super) struct Document {
    json: Bytes,
}

impl Document {
    fn of(mut paths: Paths, mut schemas: Vec<(String, RefOr<schema::Schema>)>) -> Self {
        schemas.sort_by(|(a, _), (b, _)| a.cmp(b));
        schemas.dedup_by(|(a, _), (b, _)| a == b);
        for (path, item) in &mut paths.paths {
            let reads = path.contains('{');
            for operation in operations_mut(item) {
                add_refusals(operation, reads);
            }
        }
        let mut components = Components::new();
        components.schemas.extend(schemas);
        for (name, what) in REFUSALS {
            let content = ContentBuilder::new()
                .schema(Some(schema::ObjectBuilder::new().schema_type(schema::Type::String)))
                .build();
            let mut answer = ResponseBuilder::new().description(what).content("text/plain", content);
            if LISTED.contains(&name) {
                // Some routes declare the list of what is wrong as JSON, as the reference does.
                answer = answer.content("application/json", ContentBuilder::new().build());
            }
            components.responses.insert(name.to_owned(), answer.build().into());
        }
        let mut info = Info::new("Aleph Cloud core node", env!("CARGO_PKG_VERSION"));
        info.description = Some(ABOUT.to_owned());
        let mut license = License::new("Apache-2.0");
        license.identifier = Some("Apache-2.0".to_owned());
        info.license = Some(license);
        let mut document = OpenApi::new(info, paths);
        document.components = Some(components);
        let tag = |(name, what): (&str, &str)| {
            let mut tag = Tag::new(name);
            tag.description = Some(what.to_owned());
            tag
        };
        document.tags = Some(TAGS.into_iter().map(tag).collect());
        let mut json = document.to_pretty_json().unwrap_or_default();
        json.push('\n');
        Self { json: json.into() }
    }

    /// The answer to a request for it.
    pub(super) fn answer(&self) -> Response {
        json_answer(StatusCode::OK, self.json.clone())
    }
}

/// The parts of the API, in the order of the page.
const TAGS: [(&str, &str); 8] = [
    ("messages", "Publishing and reading messages"),
    ("streams", "Messages and the node's status as they come"),
    ("posts", "Originals with their latest amendments"),
    ("aggregates", "Keys and values of owners, and who may act for them"),
    ("accounts", "What addresses have and did"),
    ("prices", "What resources cost"),
    ("storage", "Files on their way in and out"),
    ("node", "The node itself"),
];

/// Refusals that any route may give: name and meaning.
const REFUSALS: [(&str, &str); 5] = [
    ("NotFound", "There is no such thing here"),
    ("BadRequest", "The request can't be read; the text says why"),
    ("Unprocessable", "Parameters or a body that break a rule: a JSON list of what is wrong, or a text"),
    ("TooMany", "Too many requests; `Retry-After` says when to come back"),
    ("Unavailable", "The node can't answer now; `Retry-After` says when to come back"),
];

/// Of those, the refusals that may list what is wrong.
const LISTED: [&str; 2] = ["BadRequest", "Unprocessable"];

/// Adds the refusals that an operation does not describe itself.
fn add_refusals(operation: &mut Operation, has_path_parameter: bool) {
    let mut refuse = |status: &str, name: &str| {
        let answer = || RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_owned()).or_insert_with(answer);
    };
    refuse("400", "BadRequest");
    if has_path_parameter {
        refuse("404", "NotFound");
    }
    refuse("422", "Unprocessable");
    refuse("429", "TooMany");
    refuse("503", "Unavailable");
}
