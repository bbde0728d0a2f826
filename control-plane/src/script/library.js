// What scripts find in the global scope: the names of Skydive's JavaScript client (API §2.5), over
// the three functions of the host. Gives what the host needs of JavaScript, as it is before a script
// can change it.
(function (ask, log, pause) {
    "use strict";

    function define(names) {
        for (const name of Object.keys(names)) {
            const value = names[name];
            Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
        }
    }

    // REST. An answer of 400 and more is thrown.

    function request(path, method, data) {
        const text = ask(String(path), String(method), data === undefined ? "" : String(data));
        return text === "" ? null : JSON.parse(text);
    }

    function later(work) {
        return new Promise((resolve) => resolve(work()));
    }

    function kind(name) {
        return { [name]: class { constructor(members) { Object.assign(this, members); } } }[name];
    }

    function resource(name, Kind) {
        const path = "/api/" + name;
        const one = (id) => path + "/" + encodeURIComponent(id);
        const json = JSON.stringify;
        return {
            create: (object) => later(() => new Kind(request(path, "POST", json(object)))),
            list: () => later(() => {
                const all = request(path, "GET");
                return Object.fromEntries(
                    Object.entries(all).map(([id, object]) => [id, new Kind(object)]));
            }),
            get: (id) => later(() => new Kind(request(one(id), "GET"))),
            update: (id, patch) => later(() => new Kind(request(one(id), "PATCH", json(patch)))),
            delete: (id) => later(() => request(one(id), "DELETE")),
        };
    }

    const kinds = {};
    for (const name of ["Alert", "Capture", "Edge", "EdgeRule", "Node", "NodeRule",
        "PacketInjection", "Workflow"]) {
        kinds[name] = kind(name);
    }

    // Gremlin.

    function Gremlin(query) {
        return request("/api/topology", "POST", JSON.stringify({ GremlinQuery: String(query) }));
    }

    // A parameter as it stands in a query. Texts have no escapes there.
    function written(parameter) {
        if (typeof parameter !== "string") {
            return String(parameter);
        }
        if (/['"\0]/.test(parameter)) {
            throw new TypeError("a text in a query cannot hold a quote: " + parameter);
        }
        return "'" + parameter + "'";
    }

    function called(name) {
        return (...parameters) => name + "(" + parameters.map(written).join(", ") + ")";
    }

    // What stands in a query as it is, not as a text.
    function term(text) {
        return { toString: () => text };
    }

    function predicate(name) {
        return (...parameters) => term(called(name)(...parameters));
    }

    // These answer with one map in an array, and so does the graph.
    const maps = new Set(["Aggregates", "BPF", "G", "Metrics", "RawPackets", "Sockets", "Subgraph",
        "SubGraph", "At", "Context"]);

    function answered(name, answer) {
        return maps.has(name) && Array.isArray(answer) ? answer[0] || {} : answer || [];
    }

    // A query that grows with each step called on it, and is asked once somebody waits for it.
    function step(name, text) {
        return new Proxy({}, {
            get(_, next) {
                if (next === "toString") {
                    return () => text;
                }
                if (next === "then") {
                    const answer = () => {
                        const found = Gremlin(text);
                        return typeof found === "number" ? found : answered(name, found);
                    };
                    return (done, failed) => later(answer).then(done, failed);
                }
                if (typeof next !== "string" || !/^[A-Z][A-Za-z]*$/.test(next)) {
                    return undefined;
                }
                return (...parameters) => step(next, text + "." + called(next)(...parameters));
            },
        });
    }

    const G = step("G", "G");

    const client = {
        G,
        request: (path, method, data) => later(() => request(path, method, data)),
        login: () => Promise.resolve(),
        alerts: resource("alert", kinds.Alert),
        captures: resource("capture", kinds.Capture),
        edges: resource("edge", kinds.Edge),
        edgeRules: resource("edgerule", kinds.EdgeRule),
        nodes: resource("node", kinds.Node),
        nodeRules: resource("noderule", kinds.NodeRule),
        packetInjections: resource("injectpacket", kinds.PacketInjection),
        workflows: resource("workflow", kinds.Workflow),
        gremlin: { query: (text) => later(() => Gremlin(text)), G: () => G },
    };

    define(kinds);
    define({ G, Gremlin, client });
    for (const name of ["BETWEEN", "GT", "GTE", "INSIDE", "IPV4RANGE", "LT", "LTE", "Metadata", "NE",
        "NEE", "REGEX", "WITHIN", "WITHOUT"]) {
        define({ [name]: predicate(name) });
    }
    for (const name of ["ASC", "DESC", "FOREVER", "NOW"]) {
        define({ [name]: term(name) });
    }

    // What workflows ask again and again: a node by its TID, ID or name, and the shortest way between
    // two nodes, `undefined` when there is none.

    async function findNode(what, text) {
        const query = G.V().HasEither("TID", text, "@ID", text, "Name", text);
        const [node, another] = await query.Limit(2);
        if (node === undefined) {
            throw new Error(what + ": no node has the TID, ID or name '" + text + "'");
        }
        if (another !== undefined) {
            throw new Error(what + ": several nodes have the name '" + text + "', give the TID");
        }
        return node;
    }

    async function layer2Path(from, to) {
        const [path] = await G.V(from.ID)
            .ShortestPathTo(Metadata("@ID", to.ID), Metadata("RelationType", "layer2"));
        return path;
    }

    define({ findNode, layer2Path });

    // The log.

    function shown(value) {
        if (typeof value === "string" || value instanceof Error) {
            return String(value);
        }
        const text = JSON.stringify(value);
        return text === undefined ? String(value) : text;
    }

    const print = (...values) => log(values.map(shown).join(" "));
    define({ print, console: { debug: print, error: print, info: print, log: print, warn: print } });

    // Timers. One runs when nothing else does.

    const timers = new Map();
    let last = 0;

    function timer(again) {
        return (work, time, ...parameters) => {
            const every = Math.max(Number(time) || 0, 1);
            last += 1;
            timers.set(last, { work, parameters, every, again, at: Date.now() + every });
            return last;
        };
    }

    const clear = (id) => void timers.delete(id);
    const setTimeout = timer(false);
    define({ setTimeout, setInterval: timer(true), clearTimeout: clear, clearInterval: clear });
    define({ sleep: (time) => new Promise((resolve) => setTimeout(resolve, time)) });

    // Runs the timer that is due next; whether there was one.
    function timeout() {
        let due;
        for (const [id, { at }] of timers) {
            if (due === undefined || at < timers.get(due).at) {
                due = id;
            }
        }
        if (due === undefined) {
            return false;
        }
        const { work, parameters, every, again, at } = timers.get(due);
        pause(Math.max(at - Date.now(), 0));
        if (again) {
            timers.get(due).at = Date.now() + every;
        } else {
            timers.delete(due);
        }
        work(...parameters);
        return true;
    }

    return { timeout, shown, stringify: JSON.stringify };
})
