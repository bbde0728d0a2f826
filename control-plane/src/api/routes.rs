//! The table of routes: each is declared with the rule of who may use it and the description of what
//! it takes and answers, and cannot be without.

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, any, on};

use super::Error;
use super::guard::guard;
use super::openapi::{self, Operation};
use crate::access::{Access, Right};
use crate::state::State;

/// Routes, and at last the router of them.
#[derive(Debug)]
pub(super) struct Routes {
    access: Access,
    router: Router<State>,
    declared: Vec<Declared>,
}

/// A route as it is declared.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) rule: Rule,
    pub(super) operation: Operation,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everybody.
    Anyone,
    /// Every user.
    User,
    /// A user who has the right. The others are told so, or not.
    Right(Right, Denial),
}

/// How somebody is told that he may not (Skydive API §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// 405 without a word.
    Silent,
    /// 405 that says what is missing.
    Told,
    /// 403, and the connection ends.
    Closed,
}

/// What is done with a resource.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// `GET /api/<name>`.
    List,
    /// `POST /api/<name>`.
    Create,
    /// `GET /api/<name>/<ID>`.
    Show,
    /// `DELETE /api/<name>/<ID>`.
    Remove,
    /// `PATCH /api/<name>/<ID>`.
    Patch,
}

/// The routes of one resource.
#[derive(Debug)]
pub(super) struct ResourceRoutes {
    routes: Routes,
    name: &'static str,
}

impl Rule {
    /// A user who may read the object.
    pub(super) const fn read(object: &'static str) -> Self {
        Self::Right(Right { object, action: "read" }, Denial::Silent)
    }

    /// A user who may write the object.
    pub(super) const fn write(object: &'static str) -> Self {
        Self::Right(Right { object, action: "write" }, Denial::Silent)
    }

    /// The others are told what they lack.
    const fn told(self) -> Self {
        match self {
            Self::Right(right, _) => Self::Right(right, Denial::Told),
            Self::Anyone | Self::User => self,
        }
    }

    /// What is asked of a user.
    pub(super) const fn right(self) -> Option<Right> {
        match self {
            Self::Right(right, _) => Some(right),
            Self::Anyone | Self::User => None,
        }
    }

    /// How the others are told.
    pub(super) const fn denial(self) -> Denial {
        match self {
            Self::Right(_, denial) => denial,
            Self::Anyone | Self::User => Denial::Silent,
        }
    }
}

impl Routes {
    /// None, of users that `access` knows.
    pub(super) fn new(access: &Access) -> Self {
        Self { access: access.clone(), router: Router::new(), declared: Vec::new() }
    }

    pub(super) fn get<T: 'static>(
        self,
        path: &str,
        rule: Rule,
        operation: Operation,
        handler: impl Handler<T, State>,
    ) -> Self {
        self.on(Method::GET, MethodFilter::GET, path, rule, operation, handler)
    }

    pub(super) fn post<T: 'static>(
        self,
        path: &str,
        rule: Rule,
        operation: Operation,
        handler: impl Handler<T, State>,
    ) -> Self {
        self.on(Method::POST, MethodFilter::POST, path, rule, operation, handler)
    }

    /// A WebSocket, which there is a right for.
    pub(super) fn socket<T: 'static>(
        self,
        path: &'static str,
        operation: Operation,
        handler: impl Handler<T, State>,
    ) -> Self {
        self.get(path, Rule::Right(Right::socket(path), Denial::Closed), operation, handler)
    }

    /// `/api/<name>` and all below it; `name` is the object of its rights.
    pub(super) fn resource(self, name: &'static str) -> ResourceRoutes {
        ResourceRoutes { routes: self, name }
    }

    /// The router, which also leads from paths with a slash at their end to those without.
    pub(super) fn router(self) -> Router<State> {
        let lists = self.declared.iter().filter(|route| route.rule.denial() != Denial::Closed);
        let mut paths: Vec<_> = lists.map(|route| route.path.as_str()).collect();
        paths.retain(|path| !path.contains('{') && !path.ends_with('/'));
        paths.sort_unstable();
        paths.dedup();
        let slashed = |router: Router<State>, path: &str| {
            router.route(&format!("{path}/"), any(without_slash))
        };
        paths.into_iter().fold(self.router, slashed)
    }

    /// What is declared.
    pub(super) fn declared(&self) -> &[Declared] {
        &self.declared
    }

    fn on<T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &str,
        rule: Rule,
        operation: Operation,
        handler: impl Handler<T, State>,
    ) -> Self {
        let guarded = on(filter, handler);
        let guarded = match rule {
            Rule::Anyone => guarded,
            rule => guarded.route_layer(from_fn_with_state((self.access.clone(), rule), guard)),
        };
        self.router = self.router.route(path, guarded);
        self.declared.push(Declared { method, path: path.to_owned(), rule, operation });
        self
    }
}

impl ResourceRoutes {
    /// What does this with the resource.
    pub(super) fn on<T: 'static>(
        self,
        action: Action,
        operation: Operation,
        handler: impl Handler<T, State>,
    ) -> Self {
        let Self { routes, name } = self;
        let (method, filter, end, rule) = match action {
            Action::List => (Method::GET, MethodFilter::GET, "", Rule::read(name)),
            Action::Create => (Method::POST, MethodFilter::POST, "", Rule::write(name).told()),
            Action::Show => (Method::GET, MethodFilter::GET, ID, Rule::read(name).told()),
            Action::Remove => (Method::DELETE, MethodFilter::DELETE, ID, Rule::write(name).told()),
            Action::Patch => (Method::PATCH, MethodFilter::PATCH, ID, Rule::write(name)),
        };
        let path = |end| format!("/api/{name}{end}");
        let routes = routes.on(method.clone(), filter, &path(end), rule, operation, handler);
        let routes = match action {
            Action::Remove | Action::Patch => {
                routes.on(method, filter, &path("/"), rule, openapi::resource::no_id(), no_id)
            }
            Action::List | Action::Create | Action::Show => routes,
        };
        Self { routes, name }
    }

    /// That was all of it.
    pub(super) fn done(self) -> Routes {
        self.routes
    }
}

async fn without_slash(uri: Uri) -> Response {
    let path = uri.path().trim_end_matches('/');
    let location = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response()
}

async fn no_id() -> Error {
    Error::NoId
}

/// All that stands behind the prefix, slashes included.
const ID: &str = "/{*id}";
