//! Compiles the published `.proto` files, without protoc, and gives each message Skydive's JSON
//! form: members named exactly as the fields, and left out or written as the tables below say.

use prost_build::Config;

const FILES: [&str; 3] = ["flow.proto", "layers.proto", "websocket.proto"];

/// Members, and messages of which all members, are written even when they are zero or empty; all
/// others are left out then.
const ALWAYS: [&str; 22] = [
    ".flow.FlowLayer.Protocol",
    ".flow.FlowLayer.ID",
    ".flow.TransportLayer",
    ".flow.ICMPLayer.Type",
    ".flow.FlowMetric.ABPackets",
    ".flow.FlowMetric.ABBytes",
    ".flow.FlowMetric.BAPackets",
    ".flow.FlowMetric.BABytes",
    ".flow.FlowMetric.Start",
    ".flow.FlowMetric.Last",
    ".flow.RawPacket",
    ".flow.IPMetric",
    ".flow.TCPMetric",
    ".flow.Flow.Start",
    ".flow.Flow.Last",
    ".flow.Flow.ParentUUID",
    ".flow.Flow.RawPacketsCaptured",
    ".flow.Stats.FlowCount",
    ".flow.Stats.FlowDropped",
    ".flow.Stats.KernelFlowDropped",
    ".flow.Stats.PacketsDropped",
    ".flow.Stats.PacketsReceived",
];

/// Exceptions to [`ALWAYS`], where it names a whole message.
const OMITTED: [&str; 2] = [".flow.TCPMetric.ABSynTTL", ".flow.TCPMetric.BASynTTL"];

/// Members that are not plain serde: enumerations written as their names, bytes as base64.
const WITH: [(&str, &str); 7] = [
    (".flow.FlowLayer.Protocol", "crate::flow::json::protocol"),
    (".flow.TransportLayer.Protocol", "crate::flow::json::protocol"),
    (".flow.ICMPLayer.Type", "crate::flow::json::icmp_type"),
    (".flow.RawPacket.Data", "crate::flow::json::base64"),
    (".layers.DHCPv4.server_name", "crate::flow::json::base64"),
    (".layers.DHCPv4.file", "crate::flow::json::base64"),
    (".layers.DNS.timestamp", "crate::flow::json::timestamp"),
];

/// Members that JSON never holds.
const SKIPPED: [&str; 7] = [
    ".flow.Flow.LastRawPackets",
    ".flow.RawPacket.Length",
    ".flow.RawPacket.Nanoseconds",
    ".layers.DHCPv4.contents",
    ".layers.DHCPv4.payload",
    ".layers.VRRPv2.contents",
    ".layers.VRRPv2.payload",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let set = protox::compile(FILES, ["."])?;
    let mut config = Config::new();
    config.default_package_filename("root");
    config.type_attribute(".", "#[allow(missing_docs)]");
    // A packet is shared by all states of its flow.
    config.bytes([".flow.RawPacket.Data"]);
    for file in &set.file {
        let package = file.package();
        if !["flow", "layers"].contains(&package) {
            continue;
        }
        for message in &file.message_type {
            let name = format!(".{package}.{}", message.name());
            config.message_attribute(
                &name,
                "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default)]",
            );
            for field in &message.field {
                let path = format!("{name}.{}", field.name());
                config.field_attribute(&path, format!("#[serde({})]", serde(&path, field.name())));
            }
        }
    }
    config.compile_fds(set)?;
    Ok(())
}

/// The serde attributes of one field.
fn serde(path: &str, name: &str) -> String {
    if SKIPPED.contains(&path) {
        return "skip".into();
    }
    let mut attributes = format!("rename = \"{name}\"");
    let message = path.strip_suffix(name).map_or(path, |message| message.trim_end_matches('.'));
    let always = ALWAYS.contains(&path) || ALWAYS.contains(&message);
    if OMITTED.contains(&path) || !always {
        attributes += ", skip_serializing_if = \"crate::flow::json::is_default\"";
    }
    if let Some((_, with)) = WITH.iter().find(|(field, _)| *field == path) {
        attributes += &format!(", with = \"{with}\"");
    }
    attributes
}
