// Who talks to whom: a row for each pair of addresses and each port that the B end listens on, the
// row with the most bytes first. A flow that is seen in several places counts once.
async function FlowMatrix(protocol, limit) {
    const most = limit || 10000;
    const query = protocol ? G.Flows().Has("Transport.Protocol", protocol) : G.Flows();
    const flows = await query.Dedup("TrackingID").Limit(most);

    const names = new Map();
    for (const { Host, Metadata: { Name, IPV4, IPV6 } } of await G.V()) {
        for (const address of [].concat(IPV4 || [], IPV6 || [])) {
            // An address says where it is once; loopbacks are everywhere.
            names.set(address.split("/")[0], Host || Name);
        }
    }
    const name = (address) => /^(127\.|::1$)/.test(address) ? undefined : names.get(address);

    // The programs behind the ends, where nodes know their sockets.
    const programs = new Map();
    const end = (protocol, address, port) => [protocol, address, port].join(" ");
    for (const [, sockets] of Object.entries(await G.V().Sockets())) {
        for (const { Protocol, LocalAddress, LocalPort, Name, Process } of sockets) {
            programs.set(end(Protocol, LocalAddress, LocalPort), Name || Process);
        }
    }

    const rows = new Map();
    for (const { Application, Network, Transport, Metric } of flows) {
        if (!Network || !Transport) {
            continue;
        }
        const key = [Network.A, Network.B, Transport.Protocol, Transport.B].join(" ");
        if (!rows.has(key)) {
            rows.set(key, {
                A: Network.A,
                AHost: name(Network.A),
                AProgram: undefined,
                B: Network.B,
                BHost: name(Network.B),
                BProgram: programs.get(end(Transport.Protocol, Network.B, Transport.B)),
                Protocol: Transport.Protocol,
                Port: Transport.B,
                Application,
                Flows: 0,
                ABPackets: 0,
                ABBytes: 0,
                BAPackets: 0,
                BABytes: 0,
            });
        }
        const row = rows.get(key);
        row.AProgram = row.AProgram || programs.get(end(Transport.Protocol, Network.A, Transport.A));
        row.Flows += 1;
        for (const counter of ["ABPackets", "ABBytes", "BAPackets", "BABytes"]) {
            row[counter] += Metric[counter];
        }
    }
    const bytes = ({ ABBytes, BABytes }) => ABBytes + BABytes;
    const sorted = [...rows.values()].sort((one, other) => bytes(other) - bytes(one));
    return { Flows: flows.length, Complete: flows.length < most, Rows: sorted };
}
