//! Who may do what: the two roles that Skydive has, and the lines of `rbac.policy` (API §1.2).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

/// Roles, and what they and single users may do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The role of users that no `g` line names.
    default: String,
    /// The roles of those that one does.
    roles: BTreeMap<String, BTreeSet<String>>,
    lines: Vec<Line>,
}

/// A `p` line.
#[derive(Clone, Debug)]
struct Line {
    /// A user or a role.
    subject: String,
    object: String,
    action: String,
    allow: bool,
}

/// A row of what the answer to a log-in tells the user he may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Permission {
    /// What it is about; `websocket` for all WebSockets.
    pub object: String,
    /// What is done with it; the path of a WebSocket.
    pub action: String,
    /// Whether he may.
    pub allowed: bool,
}

/// What is wrong with the `[rbac]` section or the default role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A line is neither of the two kinds.
    #[error(
        "rbac.policy[{at}]: expected 'p, <user or role>, <object>, <action>, <allow or deny>' or \
         'g, <user>, <role>', found '{line}'"
    )]
    Form {
        /// The line, from 0.
        at: usize,
        /// Its text.
        line: String,
    },
    /// A line names an object that does not exist.
    #[error("rbac.policy[{at}]: expected one of {}, found '{object}'", objects())]
    Object {
        /// The line, from 0.
        at: usize,
        /// What it names.
        object: String,
    },
    /// A line names what cannot be done with its object.
    #[error(
        "rbac.policy[{at}]: expected one of {} for {object}, found '{action}'",
        actions(.object)
    )]
    Action {
        /// The line, from 0.
        at: usize,
        /// The object.
        object: String,
        /// What it names.
        action: String,
    },
    /// A role that no line says anything of.
    #[error("{place}: expected admin, guest or a role that a line 'p' names, found '{role}'")]
    Role {
        /// Where it stands.
        place: String,
        /// Its name.
        role: String,
    },
}

impl Policy {
    /// Reads the lines. `default` is the role of users that no line gives one.
    pub fn new(default: &str, lines: &[String]) -> Result<Self, PolicyError> {
        let mut policy =
            Self { default: default.to_owned(), roles: BTreeMap::new(), lines: Vec::new() };
        let mut named = vec![("auth.role".to_owned(), default)];
        for (at, line) in lines.iter().enumerate() {
            let words: Vec<_> = line.split(',').map(str::trim).collect();
            match *words.as_slice() {
                ["p", subject, object, action, verdict @ ("allow" | "deny")]
                    if !subject.is_empty() =>
                {
                    let (object, action) = right(at, object, action)?;
                    let allow = verdict == "allow";
                    let subject = subject.to_owned();
                    policy.lines.push(Line { subject, object, action, allow });
                }
                ["g", user, role] if !user.is_empty() => {
                    policy.roles.entry(user.to_owned()).or_default().insert(role.to_owned());
                    named.push((format!("rbac.policy[{at}]"), role));
                }
                _ => return Err(PolicyError::Form { at, line: line.clone() }),
            }
        }
        let known = |role: &str| {
            BUILT_IN.contains(&role) || policy.lines.iter().any(|line| line.subject == role)
        };
        match named.into_iter().find(|(_, role)| !known(role)) {
            Some((place, role)) => Err(PolicyError::Role { place, role: role.to_owned() }),
            None => Ok(policy),
        }
    }

    /// Whether the user may. Lines win over what the roles are built with, and among lines those
    /// that deny win.
    pub(super) fn allows(&self, user: &str, object: &str, action: &str) -> bool {
        let mut allowed = false;
        for line in
            self.lines.iter().filter(|line| (&*line.object, &*line.action) == (object, action))
        {
            if line.subject == user || self.has_role(user, &line.subject) {
                if !line.allow {
                    return false;
                }
                allowed = true;
            }
        }
        allowed
            || BUILT_IN
                .iter()
                .any(|role| self.has_role(user, role) && built_in(role, object, action))
    }

    /// Whether the user may, for all there is.
    pub(super) fn permissions(&self, user: &str) -> Vec<Permission> {
        let row = |(object, action): (&str, &str)| Permission {
            object: object.to_owned(),
            action: action.to_owned(),
            allowed: self.allows(user, object, action),
        };
        all().map(row).collect()
    }

    fn has_role(&self, user: &str, role: &str) -> bool {
        match self.roles.get(user) {
            Some(roles) => roles.contains(role),
            None => self.default == role,
        }
    }
}

impl Default for Policy {
    /// Everybody may everything.
    fn default() -> Self {
        Self { default: ADMIN.to_owned(), roles: BTreeMap::new(), lines: Vec::new() }
    }
}

/// The object and the action of a line, if there are such. Skydive's lines for WebSockets say
/// either `websocket, <path>` or `<path>, websocket`.
fn right(at: usize, object: &str, action: &str) -> Result<(String, String), PolicyError> {
    let (object, action) = if action == WEBSOCKET { (WEBSOCKET, object) } else { (object, action) };
    if !all().any(|(known, _)| known == object) {
        return Err(PolicyError::Object { at, object: object.to_owned() });
    }
    match all().any(|known| known == (object, action)) {
        true => Ok((object.to_owned(), action.to_owned())),
        false => Err(PolicyError::Action { at, object: object.into(), action: action.into() }),
    }
}

/// What a role may without any line.
fn built_in(role: &str, object: &str, action: &str) -> bool {
    match role {
        ADMIN => true,
        GUEST => matches!(
            (object, action),
            ("status" | "topology", "read") | (WEBSOCKET, "/ws/subscriber")
        ),
        _ => false,
    }
}

/// Everything that there are permissions for.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let resources = RESOURCES.into_iter().flat_map(|object| [(object, "read"), (object, "write")]);
    let sockets = SOCKETS.into_iter().map(|path| (WEBSOCKET, path));
    resources.chain(OTHERS).chain(sockets)
}

fn objects() -> String {
    let names: BTreeSet<_> = all().map(|(object, _)| object).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn actions(object: &str) -> String {
    let actions: Vec<_> =
        all().filter(|(known, _)| *known == object).map(|(_, action)| action).collect();
    actions.join(", ")
}

/// May everything. Also the user that everybody is without authentication.
pub(super) const ADMIN: &str = "admin";

/// May look.
pub(super) const GUEST: &str = "guest";

const BUILT_IN: [&str; 2] = [ADMIN, GUEST];

/// The object that all WebSockets are.
pub(super) const WEBSOCKET: &str = "websocket";

const RESOURCES: [&str; 8] =
    ["alert", "capture", "edge", "edgerule", "injectpacket", "node", "noderule", "workflow"];

const OTHERS: [(&str, &str); 6] = [
    ("capture", "rawpackets"),
    ("config", "read"),
    ("pcap", "write"),
    ("status", "read"),
    ("topology", "read"),
    ("workflow.call", "write"),
];

const SOCKETS: [&str; 7] = [
    "/ws/agent/flow",
    "/ws/agent/topology",
    "/ws/publisher",
    "/ws/pubsub",
    "/ws/replication",
    "/ws/subscriber",
    "/ws/subscriber/flow",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(default: &str, lines: &[&str]) -> Policy {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        Policy::new(default, &lines).unwrap()
    }

    #[test]
    fn admin_may_everything_and_guest_may_look() {
        let policy = policy(ADMIN, &["g, bob, guest"]);
        let admin = policy.permissions("ann");
        assert_eq!(admin.len(), 29);
        assert!(admin.iter().all(|row| row.allowed));
        let guest = policy.permissions("bob");
        assert_eq!(guest.len(), 29);
        let may: Vec<_> = guest.iter().filter(|row| row.allowed).collect();
        let may: Vec<_> = may.iter().map(|row| (&*row.object, &*row.action)).collect();
        let expected = [("status", "read"), ("topology", "read"), ("websocket", "/ws/subscriber")];
        assert_eq!(may, expected);
    }

    #[test]
    fn lines_decide() {
        let policy = policy(
            GUEST,
            &[
                "p, operator, capture, write, allow",
                "p,operator,capture,read,allow",
                "g, ann, operator",
                "g, ann, guest",
                "p, bob, websocket, /ws/subscriber/flow, allow",
                "p, cid, /ws/subscriber/flow, websocket, allow",
                "p, guest, pcap, write, allow",
                "p, eve, topology, read, deny",
                "p, dan, pcap, write, deny",
                "g, root, admin",
                "p, root, config, read, deny",
            ],
        );
        for (user, object, action, allowed) in [
            ("ann", "capture", "write", true),
            ("ann", "capture", "read", true),
            ("ann", "node", "read", false),
            ("ann", "topology", "read", true),
            ("bob", "capture", "write", false),
            ("bob", WEBSOCKET, "/ws/subscriber/flow", true),
            ("cid", WEBSOCKET, "/ws/subscriber/flow", true),
            ("eve", WEBSOCKET, "/ws/subscriber/flow", false),
            ("eve", "pcap", "write", true),
            ("eve", "topology", "read", false),
            ("eve", "status", "read", true),
            ("dan", "pcap", "write", false),
            ("root", "capture", "write", true),
            ("root", "config", "read", false),
            // The name of a role makes no member of it.
            ("admin", "capture", "write", false),
        ] {
            assert_eq!(policy.allows(user, object, action), allowed, "{user} {object} {action}");
        }
    }

    #[test]
    fn wrong_lines_are_named() {
        let form = "rbac.policy[1]: expected 'p, <user or role>, <object>, <action>, <allow or \
            deny>' or 'g, <user>, <role>', found ";
        for (line, part) in [
            ("", form),
            ("p, ann, capture, read", form),
            ("p, ann, capture, read, maybe", form),
            ("p, , capture, read, allow", form),
            ("q, ann, admin", form),
            ("g, ann", form),
            ("p, ann, captures, read, allow", "[1]: expected one of alert, capture, config, edge,"),
            ("p, ann, pcap, read, allow", "[1]: expected one of write for pcap, found 'read'"),
            ("p, ann, websocket, /ws, allow", "for websocket, found '/ws'"),
            ("g, ann, operator", "[1]: expected admin, guest or a role that a line 'p' names"),
        ] {
            let lines = ["g, ann, guest".to_owned(), line.to_owned()];
            let error = Policy::new(ADMIN, &lines).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        let error = Policy::new("nobody", &[]).unwrap_err().to_string();
        assert!(error.starts_with("auth.role: expected admin"), "{error}");
    }
}
