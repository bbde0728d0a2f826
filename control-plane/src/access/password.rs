//! Hashes of passwords, as htpasswd files and the configuration hold them.

use std::str::FromStr;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use subtle::ConstantTimeEq as _;

use super::apr1;
use super::secret::Secret;

/// What a password is checked against.
#[derive(Clone, Debug)]
pub(super) struct Hash(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$`.
    Bcrypt { text: Secret, cost: u32 },
    /// `$argon2id$` and its kin (the PHC string format).
    Argon2 { text: Secret, memory: u32 },
    /// `$apr1$`.
    Apr1 { salt: Secret, sum: Opaque<16> },
    /// `{SHA}`.
    Sha1(Opaque<20>),
    /// The password itself.
    Plain(Secret),
}

/// Bytes that `Debug` does not show.
#[derive(Clone)]
struct Opaque<const N: usize>([u8; N]);

/// Why a text is no hash. It does not say what the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// None of the prefixes.
    #[error("expected a password hash that begins with $2y$, $argon2id$, $apr1$ or {{SHA}}")]
    Unknown,
    /// The prefix, and then something else.
    #[error("expected a {0} hash after its prefix")]
    Malformed(&'static str),
    /// Checking a password would take too long, or too much memory.
    #[error("{0}")]
    Costly(&'static str),
}

impl Hash {
    /// The hash that is written in `text`, or else the password that it is.
    pub(super) fn of_config(text: &Secret) -> Result<Self, HashError> {
        match text.expose().parse() {
            Err(HashError::Unknown) => Ok(Self(Kind::Plain(text.clone()))),
            hash => hash,
        }
    }

    /// Whether it is of that password. Takes as long as the hash wants, which may be a second, and
    /// no longer for one that is nearly right.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Bcrypt { text, .. } => bcrypt::verify(password, text.expose()).unwrap_or(false),
            Kind::Argon2 { text, .. } => {
                let checker = argon2::Argon2::default();
                let hash = PasswordHash::new(text.expose());
                hash.is_ok_and(|hash| checker.verify_password(password, &hash).is_ok())
            }
            Kind::Apr1 { salt, sum } => {
                apr1::digest(password, salt.expose().as_bytes()).ct_eq(&sum.0).into()
            }
            Kind::Sha1(sum) => sha1(password).ct_eq(&sum.0).into(),
            // The length of a password is no secret to be kept either.
            Kind::Plain(text) => sha1(password).ct_eq(&sha1(text.expose().as_bytes())).into(),
        }
    }

    /// Whether it is the password itself.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.0, Kind::Plain(_))
    }

    /// How long [`Self::verify`] takes, compared with others.
    pub(super) fn cost(&self) -> u64 {
        match &self.0 {
            Kind::Plain(_) => 0,
            Kind::Sha1(_) => 1,
            Kind::Apr1 { .. } => 1_000,
            // In rounds of the cipher, and in KiB, which happen to take about as long.
            Kind::Bcrypt { cost, .. } => 1_000 + (1 << cost.min(&MAX_BCRYPT_COST)) * 32,
            Kind::Argon2 { memory, .. } => 1_000 + u64::from(*memory),
        }
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let kind = if let Some(rest) = text.strip_prefix("$apr1$") {
            let malformed = HashError::Malformed("$apr1$");
            let (salt, sum) = rest.split_once('$').ok_or(malformed)?;
            if salt.len() > MAX_SALT {
                return Err(malformed);
            }
            let sum = Opaque(apr1::decode(sum).ok_or(malformed)?);
            Kind::Apr1 { salt: Secret::new(salt), sum }
        } else if let Some(rest) = text.strip_prefix("{SHA}") {
            let sum = STANDARD.decode(rest).ok().and_then(|sum| sum.try_into().ok());
            Kind::Sha1(Opaque(sum.ok_or(HashError::Malformed("{SHA}"))?))
        } else if text.starts_with("$argon2") {
            argon2_kind(text)?
        } else if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            bcrypt_kind(text)?
        } else {
            return Err(HashError::Unknown);
        };
        Ok(Self(kind))
    }
}

impl<const N: usize> std::fmt::Debug for Opaque<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

fn bcrypt_kind(text: &str) -> Result<Kind, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed("bcrypt"))?;
    let cost = parts.get_cost();
    match cost {
        4..=MAX_BCRYPT_COST => Ok(Kind::Bcrypt { text: Secret::new(text), cost }),
        _ => Err(HashError::Costly("expected a bcrypt hash of a cost between 4 and 16")),
    }
}

fn argon2_kind(text: &str) -> Result<Kind, HashError> {
    let malformed = HashError::Malformed("argon2");
    let hash = PasswordHash::new(text).map_err(|_| malformed)?;
    argon2::Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| malformed)?;
    let number = |name: &str| hash.params.get_decimal(name).ok_or(malformed);
    let (memory, passes) = (number("m")?, number("t")?);
    argon2::Params::try_from(&hash).map_err(|_| malformed)?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(malformed);
    }
    if memory > MAX_ARGON2_MEMORY || passes > MAX_ARGON2_PASSES {
        return Err(HashError::Costly(
            "expected an argon2 hash of 262144 KiB (m) and 64 passes (t) at most",
        ));
    }
    let memory = memory.saturating_mul(passes);
    Ok(Kind::Argon2 { text: Secret::new(text), memory })
}

fn sha1(password: &[u8]) -> [u8; 20] {
    let mut sum = [0; 20];
    sum.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref());
    sum
}

/// Longest salt of `$apr1$`.
const MAX_SALT: usize = 8;

/// Of 2^16 rounds, some seconds.
const MAX_BCRYPT_COST: u32 = 16;

const MAX_ARGON2_MEMORY: u32 = 256 << 10;

const MAX_ARGON2_PASSES: u32 = 64;
