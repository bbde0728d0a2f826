// Whether what leaves one node arrives at the other: captures on both for some seconds, and compares
// the flows by their TrackingID. The captures are deleted at the end.
async function FlowValidation(source, destination, seconds, filter) {
    // Without MAC addresses in the key, a flow is the same behind a router.
    const capture = async (node) => {
        const created = await client.captures.create(new Capture({
            GremlinQuery: "G.V('" + node.ID + "')",
            BPFFilter: filter || "",
            LayerKeyMode: "L3",
            Name: "FlowValidation of " + node.Metadata.Name,
        }));
        return created.UUID;
    };
    const working = async (node, id) => {
        const [{ Metadata: { Captures } }] = await G.V(node.ID);
        const found = (Captures || []).find(({ ID }) => ID === id);
        if (found === undefined || found.State !== "active") {
            const why = found && found.Error || "it does not run";
            throw new Error("the capture on " + node.Metadata.Name + ": " + why);
        }
    };
    const flows = async (id) => {
        const seen = await G.Flows().Has("CaptureID", id);
        return new Map(seen.map((flow) => [flow.TrackingID, flow]));
    };
    const shown = ({ TrackingID, Application, Network, Transport, Metric }) =>
        ({ TrackingID, Application, Network, Transport, Metric });

    const from = await findNode("source", source);
    const to = await findNode("destination", destination);
    if (from.ID === to.ID) {
        throw new Error("source and destination are the same node");
    }
    const captures = [];
    try {
        for (const node of [from, to]) {
            captures.push(await capture(node));
        }
        await sleep(1000 * (seconds || 10));
        await working(from, captures[0]);
        await working(to, captures[1]);
        const [left, arrived] = [await flows(captures[0]), await flows(captures[1])];
        const missing = (here, there) =>
            [...here.values()].filter(({ TrackingID }) => !there.has(TrackingID)).map(shown);
        const both = [...left.values()].filter(({ TrackingID }) => arrived.has(TrackingID));
        const result = {
            Both: both.map((flow) => {
                const { Application, Network, Transport, TrackingID } = flow;
                const [source, destination] = [flow.Metric, arrived.get(TrackingID).Metric];
                return { TrackingID, Application, Network, Transport,
                    Source: source, Destination: destination };
            }),
            OnlySource: missing(left, arrived),
            OnlyDestination: missing(arrived, left),
        };
        const lost = result.OnlySource.length + result.OnlyDestination.length;
        return { Valid: lost === 0 && both.length > 0, ...result };
    } finally {
        for (const id of captures) {
            await client.captures.delete(id);
        }
    }
}
