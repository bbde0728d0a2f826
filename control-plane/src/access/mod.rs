//! Who may do what on REST and WebSocket (Skydive API §1.1, §1.2): who a client is, what he may,
//! and from which pages.

mod apr1;
mod basic;
mod cookie;
mod origin;
mod password;
mod policy;
mod refusal;
mod secret;
mod tag;
mod throttle;
mod token;
mod users;
mod verified;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::basic::Basic;
use self::policy::{ADMIN, WEBSOCKET};
use crate::files;

pub use basic::UserSource;
pub use origin::{OriginError, Origins};
pub use password::HashError;
pub use policy::{Permission, Policy, PolicyError};
pub(crate) use refusal::{Refusal, seconds};
pub use secret::Secret;
pub(crate) use token::Credentials;
pub use users::{UserError, UsersError};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Config {
    /// How users prove who they are.
    pub backend: Backend,
    /// What they may.
    pub policy: Policy,
    /// Pages of other hosts that may do what our own may.
    pub origins: Origins,
    /// Whether clients are spoken to through TLS.
    pub tls: bool,
}

/// How users prove who they are.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Everybody is `admin`.
    NoAuth,
    /// By a name and a password.
    Basic(UserSource),
}

impl Default for Config {
    /// Everybody may everything.
    fn default() -> Self {
        Self {
            backend: Backend::NoAuth,
            policy: Policy::default(),
            origins: Origins::default(),
            tls: false,
        }
    }
}

/// Why nobody can be let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The users cannot be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

/// Decides who may. Clones are the same.
#[derive(Clone, Debug)]
pub struct Access(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    /// None: everybody is `admin`.
    basic: Option<Arc<Basic>>,
    policy: Policy,
    origins: Origins,
    tls: bool,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) object: &'static str,
    pub(crate) action: &'static str,
}

/// The answer to a log-in.
#[derive(Debug)]
pub(crate) struct Session {
    /// Empty when none is needed.
    pub(crate) token: Secret,
    pub(crate) permissions: Vec<Permission>,
}

impl Right {
    /// To open the WebSocket of that path.
    pub(crate) const fn socket(path: &'static str) -> Self {
        Self { object: WEBSOCKET, action: path }
    }
}

impl Access {
    /// Reads the users.
    pub fn open(config: Config) -> Result<Self, AccessError> {
        let Config { backend, policy, origins, tls } = config;
        let basic = match backend {
            Backend::NoAuth => None,
            Backend::Basic(source) => Some(Arc::new(Basic::open(source)?)),
        };
        Ok(Self(Arc::new(Guard { basic, policy, origins, tls })))
    }

    /// Reads the users again; when that fails, they stay as they are. It may wait for the disk.
    pub fn reload(&self) -> Result<(), UsersError> {
        self.0.basic.as_ref().map_or(Ok(()), |basic| basic.reload())
    }

    /// Reads the users again whenever their file changes.
    pub(crate) async fn follow(self) {
        if let Some(basic) = self.0.basic.clone() {
            files::follow(move || basic.refresh()).await;
        }
    }

    /// Lets a request pass, or says why not. `right`: what it wants; any user may when there is
    /// none.
    pub(crate) async fn admit(&self, parts: &Parts, right: Option<Right>) -> Result<(), Refusal> {
        // CORS says nothing about WebSockets: every page can open one.
        let socket = right.is_some_and(|right| right.object == WEBSOCKET);
        let found = token::find(parts);
        // The browser sends a cookie along whoever asks it to; all else a page has to know.
        let by_cookie =
            self.0.basic.is_some() && found.as_ref().is_some_and(|found| found.by_cookie);
        if socket || by_cookie && !is_safe(&parts.method) {
            self.check_origin(parts)?;
        }
        let user = match &self.0.basic {
            None => ADMIN.into(),
            Some(basic) => {
                let credentials = found.and_then(|found| Credentials::of_token(&found.token));
                basic.authenticate(credentials.ok_or(Refusal::Wrong)?, address(parts)).await?
            }
        };
        match right {
            Some(Right { object, action }) if !self.0.policy.allows(&user, object, action) => {
                Err(Refusal::Denied { user: user.to_string(), object, action })
            }
            _ => Ok(()),
        }
    }

    /// Logs in.
    pub(crate) async fn log_in(
        &self,
        parts: &Parts,
        credentials: &Credentials,
    ) -> Result<Session, Refusal> {
        let Some(basic) = &self.0.basic else {
            let permissions = self.0.policy.permissions(ADMIN);
            return Ok(Session { token: Secret::new(""), permissions });
        };
        let token = credentials.token();
        // As the requests to come will be read.
        let credentials = Credentials::of_token(&token).ok_or(Refusal::Wrong)?;
        let user = basic.authenticate(credentials, address(parts)).await?;
        Ok(Session { token, permissions: self.0.policy.permissions(&user) })
    }

    /// The cookies of a log-in: the token, which pages cannot read, and `permissions` in JSON.
    pub(crate) fn cookies(&self, token: &Secret, permissions: &[u8]) -> Vec<HeaderValue> {
        let (token, tls) = (token.expose(), self.0.tls);
        let permissions = STANDARD.encode(permissions);
        let token = (!token.is_empty()).then(|| cookie::set(cookie::AUTH_TOKEN, token, true, tls));
        let permissions = cookie::set(cookie::PERMISSIONS, &permissions, false, tls);
        token.flatten().into_iter().chain(permissions).collect()
    }

    /// Whether clients are spoken to through TLS.
    pub(crate) fn tls(&self) -> bool {
        self.0.tls
    }

    fn check_origin(&self, parts: &Parts) -> Result<(), Refusal> {
        match self.0.origins.foreign(&parts.headers, self.0.tls) {
            None => Ok(()),
            Some(origin) => Err(Refusal::Foreign(String::from_utf8_lossy(origin).into_owned())),
        }
    }
}

/// Whether a request of that method changes nothing.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where a request comes from.
fn address(parts: &Parts) -> IpAddr {
    let peer: Option<&ConnectInfo<SocketAddr>> = parts.extensions.get();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip())
}
