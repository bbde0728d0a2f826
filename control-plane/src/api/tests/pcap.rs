//! Frames: those of flows as a file, and files that are uploaded.

use super::*;

#[tokio::test]
async fn raw_packets_come_as_json_or_as_a_file() {
    let world = World::new();
    let udp = [&[0; 12][..], &[8, 0, 0x45, 0, 0, 28], &[0; 5], &[17], &[0; 18]].concat();
    let packet = |index, data: &[u8], link_type| RawPacket {
        timestamp: 1_600_000_000_000,
        nanoseconds: 1000,
        index,
        data: data.to_vec().into(),
        link_type,
        length: 1514,
    };
    let mut arp = udp.clone();
    arp[13] = 6;
    let packets = vec![packet(0, &udp, 1), packet(1, &arp, 1), packet(2, &udp[14..], 101)];
    let flow = Flow { uuid: "a".into(), last_raw_packets: packets, ..Flow::default() };
    let key = FlowKey { watch: WatchId(1), uuid: 0xa };
    let now = world.state.clock.now();
    world.state.flows.write().unwrap().put(key, Arc::new(flow), false, now);

    let got = query(&world, "G.Flows().RawPackets()").await.json();
    assert_eq!(got[0]["a"].as_array().unwrap().len(), 3);
    let first = got[0]["a"][0].as_object().unwrap();
    assert_eq!((&first["Timestamp"], &first["Index"]), (&json!(1_600_000_000_000_u64), &json!(0)));
    assert_eq!((first.len(), &first["LinkType"]), (4, &json!(1)));
    let flows = query(&world, "G.Flows()").await;
    assert!(!flows.text.contains("Data"), "{}", flows.text);
    let indices = async |filter: &str| {
        let text = format!("G.Flows().RawPackets().BPF('{filter}')");
        let got = query(&world, &text).await.json();
        let packets = got[0]["a"].as_array().cloned().unwrap_or_default();
        packets.iter().map(|packet| packet["Index"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(indices("udp").await, [0, 2]);
    assert_eq!(indices("arp").await, [1]);
    assert_eq!(indices("ether src 00:00:00:00:00:00").await, [0, 1]);
    assert_eq!(query(&world, "G.Flows().RawPackets().BPF('tcp')").await.json(), json!([]));
    for (wrong, part) in [
        ("BPF()", "BPF requires 1 parameter"),
        ("BPF(7)", "BPF parameter has to be a string"),
        ("BPF('no filter')", "syntax error"),
    ] {
        let got = query(&world, &format!("G.Flows().RawPackets().{wrong}")).await;
        assert_eq!(got.status, 400, "{wrong}");
        assert!(got.text.contains(part), "{}", got.text);
    }

    let accept = ("accept", "application/vnd.tcpdump.pcap");
    let body = r#"{"GremlinQuery": "G.Flows().RawPackets()"}"#;
    let got = ask_with(&world, "/api/topology", accept, body).await;
    assert_eq!(got.header("content-type"), "application/vnd.tcpdump.pcap; charset=UTF-8");
    assert_eq!(got.body.len(), 24 + 2 * (16 + udp.len()), "raw IP is left out");
    assert_eq!(got.body[24 + 12..24 + 16], 1514_u32.to_le_bytes());
}

#[tokio::test]
async fn uploads_are_metered_or_refused() {
    let world = World::new();
    let got = ask(&world, "POST", "/api/pcap", "pcap and more").await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    assert_eq!(got.header("content-type"), "application/json; charset=UTF-8");
    ask(&world, "POST", "/api/pcap", "nothing of the kind")
        .await
        .is_error(400, "not a valid capture file: byte 0: no capture");
    let large = [b"pcap".to_vec(), vec![0; UPLOAD_LIMIT as usize]].concat();
    ask(&world, "POST", "/api/pcap", large.clone())
        .await
        .is_error(413, "request body: larger than 1000000 bytes");
    let chunks = large.chunks(1000).map(|chunk| Ok::<_, Infallible>(chunk.to_vec()));
    let body = Body::from_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
    ask(&world, "POST", "/api/pcap", body)
        .await
        .is_error(413, "request body: larger than 1000000 bytes");
    let got = ask(&world, "GET", "/api/pcap", "").await;
    assert_eq!(got.status, 405);
}

#[tokio::test]
async fn few_uploads_run_at_once_and_a_stop_ends_them() {
    let world = World::new();
    let mut waiting = Vec::new();
    for _ in 0..AT_ONCE {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let mut begun = Some(begun);
        // A body that says when it is first asked for, and never comes.
        let body = Body::from_stream(futures_util::stream::poll_fn(move |_| {
            let _ = begun.take().map(|begun| begun.send(()));
            Poll::<Option<Result<Bytes, Infallible>>>::Pending
        }));
        let request = Request::post("/api/pcap").body(body).unwrap();
        waiting.push(tokio::spawn(router(world.state.clone()).oneshot(request)));
        begins.await.unwrap();
    }
    let last = ask(&world, "POST", "/api/pcap", "pcap").await;
    last.is_error(429, "2 uploads are under way already, try again later");
    world.state.uploads.stop();
    for upload in waiting {
        assert_eq!(upload.await.unwrap().unwrap().status(), 503);
    }
}
