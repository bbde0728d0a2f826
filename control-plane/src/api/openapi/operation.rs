//! What one route takes, and what it answers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{
    ContentBuilder, Object, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    Type,
};

use super::refusal::{Refusal, text};
use crate::api::body::YAML;
use crate::api::routes::{Denial, Rule};

/// A route as the document has it. Who may use it, and its place, come from the table.
#[derive(Clone, Debug)]
pub(in crate::api) struct Operation {
    pub(super) summary: String,
    /// What the path of the route ends with, when its pattern cannot say it.
    pub(super) end: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) answers: BTreeMap<StatusCode, Response>,
    pub(super) refusals: BTreeMap<StatusCode, Refusal>,
    /// Where the ID of what it created stands in its answer.
    pub(super) created: Option<&'static str>,
    /// What its schemas refer to, by name.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Operation {
    /// One that takes nothing. Every route can fail for want of room, or by a defect.
    pub(super) fn new(summary: impl Into<String>) -> Self {
        let operation = Self {
            summary: summary.into(),
            end: "",
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            refusals: BTreeMap::new(),
            created: None,
            schemas: Vec::new(),
        };
        operation.refuses(&[
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::SERVICE_UNAVAILABLE,
        ])
    }

    /// The rest of the path. It may hold slashes, and must be UTF-8.
    pub(super) fn path(self, name: &str, what: &str) -> Self {
        let schema = string().min_length(Some(1));
        let rest = parameter(name, ParameterIn::Path, what).required(Required::True);
        let operation = self.parameter(rest.schema(Some(schema)));
        operation.refuses(&[StatusCode::BAD_REQUEST])
    }

    /// What follows all else in the path.
    pub(super) fn ends(mut self, end: &'static str) -> Self {
        self.end = end;
        self
    }

    pub(super) fn header(self, name: &str, what: &str) -> Self {
        self.parameter(parameter(name, ParameterIn::Header, what).schema(Some(string())))
    }

    /// A header that has one of some values.
    pub(super) fn choice(self, name: &str, values: &[&str], what: &str) -> Self {
        let schema = string().enum_values(Some(values.iter().copied()));
        self.parameter(parameter(name, ParameterIn::Header, what).schema(Some(schema)))
    }

    pub(super) fn query(self, name: &str, what: &str) -> Self {
        self.parameter(parameter(name, ParameterIn::Query, what).schema(Some(string())))
    }

    /// A body of JSON, which may have the name of another `kind` of it, or YAML; and what it is
    /// refused with.
    pub(super) fn takes<T: ToSchema>(self, kind: Option<&str>, example: Option<Value>) -> Self {
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let content = ContentBuilder::new().schema(Some(reference::<T>())).example(example).build();
        let kinds = kind.into_iter().chain(["application/json", YAML]);
        let body = kinds.fold(body, |body, kind| body.content(kind, content.clone()));
        self.knows::<T>().body(body.build()).refuses(&BODY)
    }

    /// It may come without its body.
    pub(super) fn or_nothing(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.required = Some(Required::False);
        }
        self
    }

    /// A body of any kind.
    pub(super) fn body(mut self, body: RequestBody) -> Self {
        self.body = Some(body);
        self
    }

    /// Answers JSON.
    pub(super) fn json<T: ToSchema>(self, status: StatusCode, what: &str) -> Self {
        self.knows::<T>().object(status, what, reference::<T>())
    }

    /// Answers JSON: an object of them, by ID.
    pub(super) fn json_by_id<T: ToSchema>(self, status: StatusCode, what: &str) -> Self {
        let schema = ObjectBuilder::new().additional_properties(Some(reference::<T>())).build();
        self.knows::<T>().object(status, what, Schema::Object(schema))
    }

    /// Answers text.
    pub(super) fn text(self, status: StatusCode, what: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(what).content("text/plain", text()))
    }

    /// Answers without a body.
    pub(super) fn empty(self, status: StatusCode, what: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(what))
    }

    pub(super) fn answer(mut self, status: StatusCode, response: ResponseBuilder) -> Self {
        self.answers.insert(status, response.build());
        self
    }

    /// Answers 201 with what was created; its ID stands there, a JSON Pointer.
    pub(super) fn creates<T: ToSchema>(mut self, id: &'static str) -> Self {
        self.created = Some(id);
        self.json::<T>(StatusCode::CREATED, "What was created.")
    }

    /// Refuses with a line of text.
    pub(super) fn refuses(self, statuses: &[StatusCode]) -> Self {
        statuses.iter().fold(self, |operation, status| operation.refusal(*status, true))
    }

    /// Refuses without a word.
    pub(super) fn refuses_silently(self, status: StatusCode) -> Self {
        self.refusal(status, false)
    }

    /// With what the guard of a route answers. Pages of other sites may not send a cookie along
    /// with a request that changes something.
    pub(super) fn guarded(self, rule: Rule, changes: bool) -> Self {
        let operation = match rule {
            Rule::Anyone => return self,
            Rule::User | Rule::Right(..) => self.refuses(&[
                StatusCode::BAD_REQUEST,
                StatusCode::UNAUTHORIZED,
                StatusCode::MISDIRECTED_REQUEST,
            ]),
        };
        let operation = match changes {
            true => operation.refuses(&[StatusCode::FORBIDDEN]),
            false => operation,
        };
        match rule {
            Rule::Anyone | Rule::User => operation,
            Rule::Right(_, Denial::Silent) => {
                operation.refuses_silently(StatusCode::METHOD_NOT_ALLOWED)
            }
            Rule::Right(_, Denial::Told) => operation.refuses(&[StatusCode::METHOD_NOT_ALLOWED]),
            Rule::Right(_, Denial::Closed) => operation.refuses(&[StatusCode::FORBIDDEN]),
        }
    }

    /// Takes up the schema of `T`, and those it refers to.
    pub(super) fn knows<T: ToSchema>(mut self) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self
    }

    fn object(self, status: StatusCode, what: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(what);
        self.answer(status, response.content("application/json", content))
    }

    fn parameter(mut self, parameter: ParameterBuilder) -> Self {
        self.parameters.push(parameter.build());
        self
    }

    /// Where there is a text at times, there is one.
    fn refusal(mut self, status: StatusCode, told: bool) -> Self {
        let refusal = self.refusals.entry(status).or_insert(Refusal { status, told });
        refusal.told |= told;
        self
    }
}

/// What stands for the schema of `T`.
pub(super) fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// The schema of a text.
pub(super) fn string() -> ObjectBuilder {
    Object::builder().schema_type(Type::String)
}

fn parameter(name: &str, place: ParameterIn, what: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(what))
}

/// What a body can be refused with.
pub(super) const BODY: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE];
