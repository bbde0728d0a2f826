//! Who may do what on REST and WebSocket (Skydive API §1.1, §1.2): who a client is, what he may,
//! and from which pages.

mod apr1;
mod basic;
mod cookie;
mod host;
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
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::task::yield_now;

use self::basic::{Basic, Read};
use self::policy::{ADMIN, WEBSOCKET};
use crate::files;
use crate::live::Live;

pub use basic::UserSource;
pub use host::{HostError, Hosts};
pub use origin::{OriginError, Origins};
pub use password::HashError;
pub use policy::{Permission, Policy, PolicyError};
pub use refusal::Refusal;
pub(crate) use refusal::seconds;
pub use secret::Secret;
pub(crate) use token::{Credentials, in_form};
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
    /// Names we may be asked under when nobody has to prove who he is.
    pub hosts: Hosts,
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
            hosts: Hosts::default(),
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
pub struct Access {
    guard: Live<Guard>,
    /// Counts up when users and guard begin to change, and again when they have: odd between.
    changes: Arc<AtomicU64>,
}

/// Another configuration, whose users were read.
#[derive(Debug)]
pub struct Renewal {
    guard: Guard,
    /// In place of those of its backend.
    users: Option<Read>,
}

#[derive(Debug)]
struct Guard {
    /// None: everybody is `admin`.
    basic: Option<Arc<Basic>>,
    policy: Policy,
    origins: Origins,
    hosts: Hosts,
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
        Ok(Self { guard: Renewal::new(config, None)?.guard.into(), changes: Arc::default() })
    }

    /// Reads the users of another configuration, and changes nothing yet. It may wait for the disk.
    pub fn renewal(&self, config: Config) -> Result<Renewal, AccessError> {
        Renewal::new(config, self.guard.get().basic.as_ref())
    }

    /// Goes by another configuration from now on. Failures to log in are not forgotten.
    pub fn renew(&self, renewal: Renewal) {
        let Renewal { guard, users } = renewal;
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some((basic, users)) = guard.basic.as_ref().zip(users) {
            basic.replace(users);
        }
        self.guard.set(guard);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// The guard, while neither it nor its users change, and how often they have. What it decides
    /// holds if they have not by then: new users are nobody's under an old policy.
    async fn steady(&self) -> (u64, Arc<Guard>) {
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            if changes.is_multiple_of(2) {
                return (changes, self.guard.get());
            }
            yield_now().await;
        }
    }

    fn changed_since(&self, changes: u64) -> bool {
        self.changes.load(Ordering::SeqCst) != changes
    }

    /// Reads the users again whenever their file changes.
    pub(crate) async fn follow(self) {
        files::follow(move || match &self.guard.get().basic {
            Some(basic) => basic.refresh(),
            None => Ok(()),
        })
        .await;
    }

    /// Whether the body of a request has to be looked at for a token: there is none elsewhere.
    pub(crate) fn lacks_token(&self, parts: &Parts) -> bool {
        self.guard.get().basic.is_some() && token::find(parts).is_none()
    }

    /// Lets a request pass, or says why not. `form`: the token of its body. `right`: what it wants;
    /// any user may when there is none.
    pub(crate) async fn admit(
        &self,
        parts: &Parts,
        form: Option<Secret>,
        right: Option<Right>,
    ) -> Result<(), Refusal> {
        loop {
            let (changes, guard) = self.steady().await;
            let admitted = guard.admit(parts, form.as_ref(), right).await;
            if !self.changed_since(changes) {
                return admitted;
            }
        }
    }

    /// Logs in.
    pub(crate) async fn log_in(
        &self,
        parts: &Parts,
        credentials: &Credentials,
    ) -> Result<Session, Refusal> {
        loop {
            let (changes, guard) = self.steady().await;
            let session = guard.log_in(parts, credentials).await;
            if !self.changed_since(changes) {
                return session;
            }
        }
    }

    /// The cookies of a log-in: the token, which pages cannot read, and `permissions` in JSON.
    pub(crate) fn cookies(&self, token: &Secret, permissions: &[u8]) -> Vec<HeaderValue> {
        let (token, tls) = (token.expose(), self.tls());
        let permissions = STANDARD.encode(permissions);
        let token = (!token.is_empty()).then(|| cookie::set(cookie::AUTH_TOKEN, token, true, tls));
        let permissions = cookie::set(cookie::PERMISSIONS, &permissions, false, tls);
        token.flatten().into_iter().chain(permissions).collect()
    }

    /// Whether clients are spoken to through TLS.
    pub(crate) fn tls(&self) -> bool {
        self.guard.get().tls
    }
}

impl Renewal {
    /// `before`: users there were, who are replaced.
    fn new(config: Config, before: Option<&Arc<Basic>>) -> Result<Self, AccessError> {
        let Config { backend, policy, origins, hosts, tls } = config;
        let read = match backend {
            Backend::NoAuth => None,
            Backend::Basic(source) => Some(Read::new(source)?),
        };
        let (basic, users) = match (read, before) {
            (None, _) => (None, None),
            (Some(read), Some(basic)) => (Some(basic.clone()), Some(read)),
            (Some(read), None) => (Some(Arc::new(Basic::new(read)?)), None),
        };
        Ok(Self { guard: Guard { basic, policy, origins, hosts, tls }, users })
    }
}

impl Guard {
    async fn admit(
        &self,
        parts: &Parts,
        form: Option<&Secret>,
        right: Option<Right>,
    ) -> Result<(), Refusal> {
        self.check_host(parts)?;
        // CORS says nothing about WebSockets: every page can open one.
        let socket = right.is_some_and(|right| right.object == WEBSOCKET);
        let found = token::find(parts);
        // The browser sends a cookie along whoever asks it to; all else a page has to know.
        let by_cookie = self.basic.is_some() && found.as_ref().is_some_and(|found| found.by_cookie);
        if socket || by_cookie && !is_safe(&parts.method) {
            self.check_origin(parts)?;
        }
        let user = match &self.basic {
            None => ADMIN.into(),
            Some(basic) => {
                let token = found.as_ref().map(|found| &found.token).or(form);
                let credentials = token.and_then(Credentials::of_token);
                basic.authenticate(credentials.ok_or(Refusal::Wrong)?, address(parts)).await?
            }
        };
        match right {
            Some(Right { object, action }) if !self.policy.allows(&user, object, action) => {
                Err(Refusal::Denied { user: user.to_string(), object, action })
            }
            _ => Ok(()),
        }
    }

    async fn log_in(&self, parts: &Parts, credentials: &Credentials) -> Result<Session, Refusal> {
        let Some(basic) = &self.basic else {
            let permissions = self.policy.permissions(ADMIN);
            return Ok(Session { token: Secret::new(""), permissions });
        };
        let token = credentials.token();
        // As the requests to come will be read.
        let credentials = Credentials::of_token(&token).ok_or(Refusal::Wrong)?;
        let user = basic.authenticate(credentials, address(parts)).await?;
        Ok(Session { token, permissions: self.policy.permissions(&user) })
    }

    fn check_origin(&self, parts: &Parts) -> Result<(), Refusal> {
        match self.origins.foreign(&parts.headers, self.tls) {
            None => Ok(()),
            Some(origin) => Err(Refusal::Foreign(String::from_utf8_lossy(origin).into_owned())),
        }
    }

    /// Who has to prove who he is, or to show the certificate of a name, is not led astray by one.
    fn check_host(&self, parts: &Parts) -> Result<(), Refusal> {
        // What scripts of alerts ask did not come through the network.
        if peer(parts).is_some() && host::lacks_host(parts) {
            return Err(Refusal::NoHost);
        }
        if self.basic.is_some() || self.tls {
            return Ok(());
        }
        match self.hosts.strange(parts, address(parts)) {
            None => Ok(()),
            Some(host) => Err(Refusal::Misdirected(String::from_utf8_lossy(host).into_owned())),
        }
    }
}

/// Whether a request of that method changes nothing.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where a request comes from.
fn address(parts: &Parts) -> IpAddr {
    peer(parts).map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip())
}

/// The other end of the connection that a request came by, if any.
pub(crate) fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| *peer)
}
