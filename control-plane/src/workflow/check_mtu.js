// Where the MTU changes: between the nodes on the path to another node, or between a node and its
// neighbours in layer 2.
async function CheckMTU(source, destination) {
    const shown = ({ ID, Host, Metadata: { Name, MTU } }) => ({ ID, Host, Name, MTU });
    const sized = ({ Metadata: { MTU } }) => MTU !== undefined;

    const from = await findNode("source", source);
    let pairs;
    if (destination) {
        const to = await findNode("destination", destination);
        const path = await layer2Path(from, to);
        if (path === undefined) {
            const ends = from.Metadata.Name + " and " + to.Metadata.Name;
            throw new Error("no layer 2 path between " + ends);
        }
        const known = path.filter(sized);
        pairs = known.slice(1).map((node, at) => [known[at], node]);
    } else {
        const near = await G.V(from.ID).Neighbors("RelationType", "layer2", 1);
        const others = near.filter((node) => node.ID !== from.ID && sized(node));
        pairs = sized(from) ? others.map((node) => [from, node]) : [];
    }
    const differences = pairs
        .filter(([a, b]) => a.Metadata.MTU !== b.Metadata.MTU)
        .map(([a, b]) => ({ A: shown(a), B: shown(b) }));
    return { Consistent: differences.length === 0, Compared: pairs.length, Differences: differences };
}
