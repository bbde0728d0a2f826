"""Every method of skydive-client's REST client, once, and its WebSocket client at each endpoint.

    client.py ADDRESS:PORT [USER PASSWORD]
"""

import json
import socket
import subprocess
import sys
import threading
import time

from skydive.rest.client import BadRequest, RESTClient
from skydive.websocket.client import (
    EdgeAddedMsgType,
    NodeAddedMsgType,
    NodeDeletedMsgType,
    NodeUpdatedMsgType,
    SyncRequestMsg,
    SyncRequestMsgType,
    WSClient,
    WSClientDefaultProtocol,
    WSMessage,
)

ADDRESS = sys.argv[1]
USER, PASSWORD = (sys.argv[2:4] + ["", ""])[:2]

LO = "G.V().Has('Name', 'lo')"


def refused(why, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except BadRequest as error:
        assert why in str(error), error
    else:
        raise AssertionError("expected: " + why)


def rest(client):
    """Resources, each created, listed and deleted."""
    assert client.lookup("G.V().Count()") >= 2
    (lo,) = client.lookup_nodes(LO)
    assert lo.metadata["Type"] == "device" and lo.metadata["TID"], lo.metadata
    (owned,) = client.lookup_edges(LO + ".InE('RelationType', 'ownership')")
    assert owned.child == lo.id, owned
    refused("Expected", client.lookup, "G.V(")

    capture = client.capture_create(
        LO, name="all", description="of it", extra_tcp_metric=True, ip_defrag=True,
        reassemble_tcp=True, layer_key_mode="L3", bpf_filter="tcp", capture_type="afpacket",
        raw_pkt_limit=3, header_size=128,
    )
    (listed,) = client.capture_list()
    assert (listed.uuid, listed.query) == (capture.uuid, LO)
    assert (listed.name, listed.bpf_filter, listed.layer_key_mode) == ("all", "tcp", "L3")
    refused("Not a valid Gremlin expression", client.capture_create, "G.V(")
    client.capture_delete(capture.uuid)
    assert client.capture_list() == []
    refused("Capture '%s' not found" % capture.uuid, client.capture_delete, capture.uuid)

    alert = client.alert_create("", "G.V().Has('Name', 'nobody')", trigger="duration:+5s")
    assert [one.uuid for one in client.alert_list()] == [alert.uuid]
    client.alert_delete(alert.uuid)
    assert client.alert_list() == []

    # Elements, which rules find.
    tor = client.node_create("tor", metadata={"Name": "tor", "Type": "switch"})
    assert (tor.id, tor.metadata["Name"]) == ("tor", "tor")
    refused("Type is required", client.node_create, metadata={"Name": "typeless"})
    port = client.node_create("port", metadata={"Name": "port", "Type": "switchport"})
    assert {"tor", "port", lo.id} <= {node.id for node in client.node_list()}
    edge = client.edge_create(tor.id, port.id, "edge", metadata={"RelationType": "layer2"})
    assert (edge.parent, edge.child) == ("tor", "port")
    assert "edge" in {one.id for one in client.edge_list()}
    set_speed = [{"op": "add", "path": "/Metadata/Speed", "value": 10}]
    assert client.node_update("tor", set_speed).metadata["Speed"] == 10
    refused("", client.node_update, "tor", set_speed)
    assert client.edge_update("edge", set_speed).metadata["Speed"] == 10

    rule = client.noderule_create("create", metadata={"Name": "made", "Type": "fabric"})
    assert [one.uuid for one in client.noderule_list()] == [rule.uuid]
    wait_for(client, "G.V().Has('Name', 'made').Count()", 1)
    mark = client.noderule_create("update", {"Rack": "r7"}, "G.V().Has('Name', 'tor')")
    wait_for(client, "G.V().Has('Rack', 'r7').Count()", 1)
    link = client.edgerule_create(
        "G.V().Has('Name', 'made')", "G.V().Has('Name', 'tor')", {"RelationType": "layer2"}
    )
    assert [one.uuid for one in client.edgerule_list()] == [link.uuid]
    wait_for(client, "G.V().Has('Name', 'made').Out().Has('Name', 'tor').Count()", 1)
    client.edgerule_delete(link.uuid)
    client.noderule_delete(mark.uuid)
    client.noderule_delete(rule.uuid)
    wait_for(client, "G.V().Has('Name', 'made').Count()", 0)
    wait_for(client, "G.V().Has('Rack', 'r7').Count()", 0)
    assert client.noderule_list() == [] and client.edgerule_list() == []

    client.edge_delete("edge")
    client.node_delete("port")
    client.node_delete("tor")
    refused("Node 'tor' does not exist", client.lookup, "G.V('tor')")

    ping = client.injection_create(
        src_query=LO, dst_ip="127.0.0.1", src_ip="127.0.0.1", count=2, interval=10, icmp_id=7
    )
    assert [one.uuid for one in client.injection_list()] == [ping.uuid]
    client.injection_delete(ping.uuid)
    assert client.injection_list() == []
    refused("No destination node and IP", client.injection_create, src_query=LO, src_ip="::1")


def wait_for(client, query, expected):
    deadline = time.time() + 20
    while client.lookup(query) != expected:
        assert time.time() < deadline, query
        time.sleep(0.1)


class Told(WSClientDefaultProtocol):
    """Says what it shall, and listens until it heard all that it waits for."""

    def onOpen(self):
        for kind, obj in self.factory.kwargs["says"]:
            self.sendWSMessage(WSMessage("Graph", kind, obj))
        if not self.factory.kwargs["hears"]:
            self.stop_when_complete()

    def onMessage(self, payload, isBinary):
        message = json.loads(payload)
        obj = message["Obj"]
        about = obj.get("ID", len(obj.get("Nodes", []))) if isinstance(obj, dict) else "flows"
        hears = self.factory.kwargs["hears"]
        hears.discard((message["Type"], about))
        self.factory.kwargs["then"].pop(message["Type"], lambda: None)()
        if not hears:
            self.stop()


def websocket(path, host, says, hears, then):
    url = "ws://%s%s" % (ADDRESS, path)
    client = WSClient(
        host, url, protocol=Told, username=USER, password=PASSWORD,
        says=says, hears=hears, then=then,
    )
    client.connect()
    client.start()


def alone(*what):
    """A WebSocket in a process of its own, as a process has one loop, and the client ends it."""
    command = [sys.executable, __file__, ADDRESS, USER, PASSWORD, json.dumps(what)]
    subprocess.run(command, check=True, timeout=60)


def publish(*says):
    alone("/ws/publisher", "probe", says, [])


def topology(client):
    """A publisher, and a subscriber of a part of the graph."""
    node = {"ID": "ws", "Host": "", "Metadata": {"Name": "ws", "Type": "wsnode"}}
    other = {"ID": "ws2", "Host": "", "Metadata": {"Name": "ws2", "Type": "wsnode"}}
    edge = {"ID": "we", "Parent": "ws", "Child": "ws2", "Metadata": {"RelationType": "layer2"}}
    newer = dict(node, Metadata=dict(node["Metadata"], State="UP"), Revision=2)

    publish((NodeAddedMsgType, node), (NodeAddedMsgType, other), (EdgeAddedMsgType, edge))
    wait_for(client, "G.V().Has('Type', 'wsnode').Out().Count()", 1)
    assert client.lookup("G.V('ws')")[0]["Origin"] == "skydive-python-client.probe"
    part = SyncRequestMsg("G.V().Has('Type', 'wsnode').SubGraph()")
    websocket(
        "/ws/subscriber", "listener", [(SyncRequestMsgType, part)],
        {("SyncReply", 2), ("NodeUpdated", "ws"), ("EdgeDeleted", "we"), ("NodeDeleted", "ws")},
        {
            "SyncReply": lambda: publish((NodeUpdatedMsgType, newer)),
            "NodeUpdated": lambda: publish((NodeDeletedMsgType, newer)),
        },
    )
    assert client.lookup("G.V().Has('Type', 'wsnode').Count()") == 1
    publish((NodeDeletedMsgType, other))
    wait_for(client, "G.V().Has('Type', 'wsnode').Count()", 0)


def flows(client):
    """A subscriber of flows."""
    capture = client.capture_create(LO, bpf_filter="udp port 4711")
    wait_for(client, "G.V().Has('Captures.State', 'active').Count()", 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stop = threading.Event()

    def send():
        while not stop.wait(0.1):
            sender.sendto(b"hello", ("127.0.0.1", 4711))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        alone("/ws/subscriber/flow", "collector", [], [("store", "flows")])
    finally:
        stop.set()
        thread.join()
    assert client.lookup("G.Flows().Has('Transport.B', 4711).Count()") >= 1
    client.capture_delete(capture.uuid)


def main():
    if len(sys.argv) == 5:
        path, host, says, hears = json.loads(sys.argv[4])
        websocket(path, host, says, set(map(tuple, hears)), {})
        return
    client = RESTClient(ADDRESS, username=USER, password=PASSWORD)
    rest(client)
    topology(client)
    flows(client)
    if USER:
        refused("Wrong credentials", RESTClient(ADDRESS).capture_list)


main()
