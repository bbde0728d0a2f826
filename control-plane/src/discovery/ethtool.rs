//! What a link's driver offers: offloads and speed, asked by ethtool's netlink family, which works
//! in any network namespace (kernel, networking/ethtool-netlink).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rtnetlink::packet_core::{
    NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NlaBuffer, NlasIterator,
};
use serde_json::Value;
use tracing::debug;

use super::netlink::{NetlinkError, Requests};

/// Facts of one link; what the driver does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether each offload is on.
    pub(super) features: BTreeMap<String, bool>,
    /// Mbit/s.
    pub(super) speed: Option<u32>,
}

/// By interface index.
pub(super) type SettingsByLink = HashMap<u32, Settings>;

impl Settings {
    pub(super) fn features_json(&self) -> Option<Value> {
        let all = || self.features.iter().map(|(name, on)| (name.clone(), Value::from(*on)));
        (!self.features.is_empty()).then(|| Value::Object(all().collect()))
    }
}

/// Asks the drivers of one network namespace.
pub(super) struct Ethtool {
    requests: Requests,
    /// The family's number, once it was asked for; `None` where the kernel has none.
    family: Option<Option<u16>>,
}

impl Ethtool {
    /// `requests` is of generic netlink.
    pub(super) fn new(requests: Requests) -> Self {
        Self { requests, family: None }
    }

    /// The settings of these links. A link that is gone, or whose driver tells nothing, has none.
    pub(super) async fn settings(
        &mut self,
        links: &BTreeSet<u32>,
    ) -> Result<SettingsByLink, NetlinkError> {
        let mut found = SettingsByLink::new();
        let Some(family) = self.family().await? else {
            return Ok(found);
        };
        let all = links.len() > ONE_BY_ONE;
        for command in [FEATURES_GET, LINKMODES_GET] {
            if all {
                self.ask(family, command, None, &mut found).await?;
            } else {
                for link in links {
                    self.ask(family, command, Some(*link), &mut found).await?;
                }
            }
        }
        found.retain(|link, _| links.contains(link));
        Ok(found)
    }

    async fn ask(
        &mut self,
        family: u16,
        command: u8,
        link: Option<u32>,
        found: &mut SettingsByLink,
    ) -> Result<(), NetlinkError> {
        let mut attributes = Vec::new();
        if let Some(link) = link {
            let index = attribute(HEADER_DEV_INDEX, &link.to_ne_bytes());
            attributes = attribute(HEADER | NLA_F_NESTED, &index);
        }
        let request = request(family, command, link.is_none(), &attributes);
        let asked = self.requests.ask(request, |frame| {
            read(frame.body, command, found);
        });
        unless_refused(asked.await)
    }

    async fn family(&mut self) -> Result<Option<u16>, NetlinkError> {
        if let Some(family) = self.family {
            return Ok(family);
        }
        let name = attribute(CTRL_FAMILY_NAME, b"ethtool\0");
        let mut family = None;
        let asked = self.requests.ask(request(CTRL, CTRL_GETFAMILY, false, &name), |frame| {
            let id = attributes(frame.body).find(|(kind, _)| *kind == CTRL_FAMILY_ID);
            family = id.and_then(|(_, id)| Some(u16::from_ne_bytes(*id.first_chunk()?)));
        });
        unless_refused(asked.await)?;
        self.family = Some(family);
        Ok(family)
    }
}

/// Drivers refuse what they do not know.
fn unless_refused(asked: Result<bool, NetlinkError>) -> Result<(), NetlinkError> {
    match asked {
        Err(NetlinkError::Refused(error)) => debug!(%error, "a link without such settings"),
        asked => {
            asked?;
        }
    }
    Ok(())
}

/// Takes over an answer.
fn read(body: &[u8], command: u8, found: &mut SettingsByLink) {
    let header = attributes(body).find(|(kind, _)| *kind == HEADER);
    let index = header.and_then(|(_, header)| {
        let mut parts = nested(header);
        let (_, index) = parts.find(|(kind, _)| *kind == HEADER_DEV_INDEX)?;
        number(index)
    });
    let Some(index) = index else {
        return;
    };
    let settings = found.entry(index).or_default();
    for (kind, value) in attributes(body) {
        match (command, kind) {
            // Every feature there is, marked where it can be changed.
            (FEATURES_GET, FEATURES_HW) => {
                for name in bits(value) {
                    settings.features.entry(name).or_insert(false);
                }
            }
            (FEATURES_GET, FEATURES_ACTIVE) => {
                settings.features.extend(bits(value).map(|name| (name, true)));
            }
            (LINKMODES_GET, LINKMODES_SPEED) => {
                settings.speed = number(value).filter(|speed| *speed != 0 && *speed != UNKNOWN);
            }
            _ => {}
        }
    }
}

/// The names of a bitset's members.
fn bits(bitset: &[u8]) -> impl Iterator<Item = String> {
    let lists = nested(bitset).filter(|(kind, _)| *kind == BITSET_BITS);
    let bits = lists.flat_map(|(_, bits)| nested(bits)).filter(|(kind, _)| *kind == BITSET_BIT);
    bits.filter_map(|(_, bit)| {
        let (_, name) = nested(bit).find(|(kind, _)| *kind == BIT_NAME)?;
        let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// The attributes of a message, behind the header of generic netlink.
fn attributes(body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    nested(body.get(GENERIC_HEADER..).unwrap_or_default())
}

/// Kind and value of each attribute, up to one that is cut off.
fn nested(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute: NlaBuffer<&[u8]>| {
        (
            attribute.kind(),
            attribute.into_inner().get(4..usize::from(attribute.length())).unwrap_or_default(),
        )
    })
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message of generic netlink (`struct nlmsghdr`, `struct genlmsghdr`), without its sequence
/// number.
fn request(family: u16, command: u8, dump: bool, attributes: &[u8]) -> Vec<u8> {
    let flags = NLM_F_REQUEST | if dump { NLM_F_DUMP } else { NLM_F_ACK };
    let length = u32::try_from(16 + GENERIC_HEADER + attributes.len()).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&family.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[command, VERSION, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

/// More links than this are asked all at once.
const ONE_BY_ONE: usize = 16;

// linux/genetlink.h
const GENERIC_HEADER: usize = 4;
const VERSION: u8 = 1;
const CTRL: u16 = 0x10;
const CTRL_GETFAMILY: u8 = 3;
const CTRL_FAMILY_ID: u16 = 1;
const CTRL_FAMILY_NAME: u16 = 2;

// linux/ethtool_netlink.h
const LINKMODES_GET: u8 = 4;
const FEATURES_GET: u8 = 11;
const HEADER: u16 = 1;
const HEADER_DEV_INDEX: u16 = 1;
const FEATURES_HW: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const LINKMODES_SPEED: u16 = 5;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

/// The speed of a link with nothing plugged in.
const UNKNOWN: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bitset(names: &[&str]) -> Vec<u8> {
        let bit = |name: &&str| {
            let name = attribute(BIT_NAME, format!("{name}\0").as_bytes());
            attribute(BITSET_BIT | NLA_F_NESTED, &name)
        };
        let bits: Vec<u8> = names.iter().flat_map(bit).collect();
        attribute(BITSET_BITS | NLA_F_NESTED, &bits)
    }

    fn answer(parts: &[Vec<u8>]) -> Vec<u8> {
        let header = attribute(HEADER_DEV_INDEX, &7_u32.to_ne_bytes());
        let mut body = vec![0; GENERIC_HEADER];
        body.extend(attribute(HEADER | NLA_F_NESTED, &header));
        parts.iter().for_each(|part| body.extend(part));
        body
    }

    #[test]
    fn features_are_on_or_off() {
        let body = answer(&[
            attribute(FEATURES_HW | NLA_F_NESTED, &bitset(&["rx-gro", "tx-scatter-gather"])),
            attribute(FEATURES_ACTIVE | NLA_F_NESTED, &bitset(&["rx-gro", "highdma"])),
        ]);
        let mut found = SettingsByLink::new();
        read(&body, FEATURES_GET, &mut found);
        let features = json!({"rx-gro": true, "tx-scatter-gather": false, "highdma": true});
        assert_eq!(found[&7].features_json(), Some(features));
        assert_eq!(found[&7].speed, None);
        for end in 0..body.len() {
            read(&body[..end], FEATURES_GET, &mut SettingsByLink::new());
        }
    }

    #[test]
    fn an_unknown_speed_is_none() {
        for (speed, expected) in [(10_000, Some(10_000)), (0, None), (UNKNOWN, None)] {
            let body = answer(&[attribute(LINKMODES_SPEED, &u32::to_ne_bytes(speed))]);
            let mut found = SettingsByLink::new();
            read(&body, LINKMODES_GET, &mut found);
            assert_eq!(found[&7].speed, expected);
            assert_eq!(found[&7].features_json(), None);
        }
    }
}
