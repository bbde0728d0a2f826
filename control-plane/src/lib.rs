//! The control plane of sonde: topology graph, flow store, captures, REST and WebSocket.
