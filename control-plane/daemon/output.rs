//! Flows on stdout, one form after the other.

use std::io::{BufWriter, ErrorKind, Write};

use sonde_proto::flow::{Flow, FlowProtocol};

use crate::cli::Output;

/// Writes flows as they come; holds none of them.
pub(crate) struct Printer<W: Write> {
    output: Output,
    out: BufWriter<W>,
    flows: u64,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(output: Output, out: W) -> Self {
        Self { output, out: BufWriter::with_capacity(1 << 16, out), flows: 0 }
    }

    /// What comes before the first flow.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        match self.output {
            Output::Json => self.out.write_all(b"[")?,
            Output::Table => writeln!(self.out, "{HEADER}")?,
            Output::Ndjson | Output::None => {}
        }
        Ok(())
    }

    /// One flow, which is made if it is to be seen.
    pub(crate) fn flow(&mut self, make: impl FnOnce() -> Flow) -> anyhow::Result<()> {
        let first = self.flows == 0;
        self.flows += 1;
        match self.output {
            Output::Json => {
                self.out.write_all(if first { b"\n" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, &make())?;
            }
            Output::Ndjson => {
                serde_json::to_writer(&mut self.out, &make())?;
                self.out.write_all(b"\n")?;
            }
            Output::Table => self.row(&make())?,
            Output::None => {}
        }
        Ok(())
    }

    /// What comes after the last flow.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        if self.output == Output::Json {
            self.out.write_all(b"\n]\n")?;
        }
        Ok(self.out.flush()?)
    }

    /// Flows so far.
    pub(crate) fn flows(&self) -> u64 {
        self.flows
    }

    fn row(&mut self, flow: &Flow) -> anyhow::Result<()> {
        let metric = flow.metric.unwrap_or_default();
        writeln!(
            self.out,
            "{:16}  {:42}  {:42}  {:>10}  {:>14}  {:>10}  {:>14}  {}",
            flow.uuid,
            end(flow, true),
            end(flow, false),
            metric.ab_packets,
            metric.ab_bytes,
            metric.ba_packets,
            metric.ba_bytes,
            flow.layers_path,
        )?;
        Ok(())
    }
}

/// Whether the reader of stdout went away (`sonde read ... | head`): no error of ours.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json =
            cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(ErrorKind::BrokenPipe)
    })
}

/// The innermost address of an end that the flow has, with its port.
fn end(flow: &Flow, a: bool) -> String {
    let pick = |layer: &sonde_proto::flow::FlowLayer| {
        if a { layer.a.clone() } else { layer.b.clone() }
    };
    let Some(network) = &flow.network else {
        return flow.link.as_ref().map(pick).unwrap_or_default();
    };
    let address = pick(network);
    match &flow.transport {
        None => address,
        Some(transport) => {
            let port = if a { transport.a } else { transport.b };
            match network.protocol() {
                FlowProtocol::Ipv6 => format!("[{address}]:{port}"),
                _ => format!("{address}:{port}"),
            }
        }
    }
}

const HEADER: &str = "UUID              A                                           \
B                                           AB packets        AB bytes  BA packets        \
BA bytes  Layers";

#[cfg(test)]
mod tests {
    use super::{Output, Printer};
    use sonde_proto::flow::Flow;

    fn print(output: Output, flows: usize) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(output, &mut out);
        printer.begin().unwrap();
        for _ in 0..flows {
            printer.flow(|| Flow { uuid: "1f".into(), ..Flow::default() }).unwrap();
        }
        printer.finish().unwrap();
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_array() {
        for n in [0, 1, 3] {
            let value: serde_json::Value = serde_json::from_str(&print(Output::Json, n)).unwrap();
            assert_eq!(value.as_array().unwrap().len(), n);
        }
    }

    #[test]
    fn ndjson_and_table_are_lines() {
        assert_eq!(print(Output::Ndjson, 2).lines().count(), 2);
        assert_eq!(print(Output::Table, 2).lines().count(), 3);
        assert_eq!(print(Output::None, 2), "");
    }
}
