// Whether two nodes are connected in layer 2: the shortest path, what is down on it, and where the
// MTU changes.
async function CheckConnectivity(source, destination) {
    const shown = ({ ID, Host, Metadata: { Name, Type, State, MTU } }) =>
        ({ ID, Host, Name, Type, State, MTU });

    const from = await findNode("source", source);
    const to = await findNode("destination", destination);
    const path = await layer2Path(from, to);
    if (path === undefined) {
        const ends = from.Metadata.Name + " and " + to.Metadata.Name;
        return { Connected: false, Faults: ["no layer 2 path between " + ends], Path: [] };
    }

    const nodes = path.map(shown);
    const down = nodes.filter(({ State }) => State !== undefined && State !== "UP");
    const faults = down.map(({ Name, State }) => Name + " is " + State);
    const sized = nodes.filter(({ MTU }) => MTU !== undefined);
    sized.slice(1).forEach(({ Name, MTU }, at) => {
        const before = sized[at];
        if (before.MTU !== MTU) {
            faults.push(
                "MTU " + before.MTU + " of " + before.Name + ", " + MTU + " of " + Name);
        }
    });
    return { Connected: down.length === 0, Faults: faults, Path: nodes };
}
