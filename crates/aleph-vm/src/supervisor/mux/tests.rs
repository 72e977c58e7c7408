use super::*;

async fn read_frame(from: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder) -> (Kind, u32, Vec<u8>) {
    loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            return (frame.kind, frame.stream, frame.payload.to_vec());
        }
        let mut bytes = [0; 4096];
        let count = from.read(&mut bytes).await.unwrap();
        assert!(count > 0, "channel closed");
        decoder.push(&bytes[..count]);
    }
}

fn frame(kind: Kind, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { kind, stream, payload }.encode(&mut bytes);
    bytes
}

#[tokio::test]
async fn bytes_go_both_ways_and_both_ends_finish() {
    let (host, mut guest) = tokio::io::duplex(1 << 16);
    let (mux, _events) = Mux::start(host);
    let mut pipe = mux.open(&StreamTarget::App).await.unwrap();
    pipe.write_all(b"request").await.unwrap();
    pipe.shutdown().await.unwrap();
    let mut decoder = Decoder::new();
    assert_eq!(read_frame(&mut guest, &mut decoder).await, (Kind::Open, 1, br#"{"to":"app"}"#.to_vec()));
    assert_eq!(read_frame(&mut guest, &mut decoder).await, (Kind::Data, 1, b"request".to_vec()));
    assert_eq!(read_frame(&mut guest, &mut decoder).await, (Kind::Finish, 1, Vec::new()));
    guest.write_all(&frame(Kind::Data, 1, b"answer")).await.unwrap();
    guest.write_all(&frame(Kind::Finish, 1, b"")).await.unwrap();
    let mut answer = Vec::new();
    pipe.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
}

#[tokio::test]
async fn a_sender_stops_at_the_window_and_goes_on_with_credit() {
    let (host, mut guest) = tokio::io::duplex(1 << 16);
    let (mux, _events) = Mux::start(host);
    let mut pipe = mux.open(&StreamTarget::App).await.unwrap();
    let total = WINDOW as usize + 1000;
    let writer = tokio::spawn(async move {
        pipe.write_all(&vec![7; total]).await.unwrap();
        pipe
    });
    let mut decoder = Decoder::new();
    read_frame(&mut guest, &mut decoder).await;
    let mut got = 0;
    while got < WINDOW as usize {
        let (kind, _, payload) = read_frame(&mut guest, &mut decoder).await;
        assert_eq!(kind, Kind::Data);
        got += payload.len();
    }
    // nothing more comes by itself
    assert!(got <= WINDOW as usize);
    guest.write_all(&frame(Kind::Credit, 1, &WINDOW.to_le_bytes())).await.unwrap();
    while got < total {
        got += read_frame(&mut guest, &mut decoder).await.2.len();
    }
    assert_eq!(got, total);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_stream_whose_user_is_gone_is_reset() {
    let (host, mut guest) = tokio::io::duplex(1 << 16);
    let (mux, _events) = Mux::start(host);
    drop(mux.open(&StreamTarget::App).await.unwrap());
    let mut decoder = Decoder::new();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        kinds.push(read_frame(&mut guest, &mut decoder).await.0);
    }
    assert_eq!(kinds, [Kind::Open, Kind::Reset]);
    assert!(mux.table().is_empty());
}

async fn closes_with(bytes: Vec<u8>) -> ProtocolError {
    let (host, mut guest) = tokio::io::duplex(1 << 20);
    let (mux, mut events) = Mux::start(host);
    // kept, but never read: what the guest sends stays in the window
    let _pipe = mux.open(&StreamTarget::App).await.unwrap();
    guest.write_all(&bytes).await.unwrap();
    loop {
        if let Event::Closed(result) = events.recv().await.unwrap() {
            return result.unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_guest_that_breaks_the_rules_ends_the_channel() {
    let flood: Vec<u8> = (0..20).flat_map(|_| frame(Kind::Data, 1, &vec![0; MAX_DATA])).collect();
    assert_eq!(closes_with(flood).await, ProtocolError::Window { stream: 1 });
    let app = br#"{"to":"app"}"#;
    let api = br#"{"to":"api"}"#;
    assert!(matches!(closes_with(frame(Kind::Open, 2, app)).await, ProtocolError::Open { .. }));
    assert!(matches!(closes_with(frame(Kind::Open, 3, api)).await, ProtocolError::Open { .. }));
    let twice = [frame(Kind::Open, 2, api), frame(Kind::Open, 2, api)].concat();
    assert!(matches!(closes_with(twice).await, ProtocolError::Open { .. }));
    assert!(matches!(closes_with(frame(Kind::Control, 0, b"{")).await, ProtocolError::Payload { .. }));
    assert!(matches!(closes_with(frame(Kind::Log, 0, b"\x09x")).await, ProtocolError::Unexpected(_)));
    let credit = frame(Kind::Credit, 1, &u32::MAX.to_le_bytes());
    assert!(matches!(closes_with(credit).await, ProtocolError::Window { .. }));
    assert!(matches!(closes_with(vec![0xff; 64]).await, ProtocolError::Kind { .. }));
    let many: Vec<u8> = (1..200).flat_map(|n| frame(Kind::Open, 2 * n, api)).collect();
    assert!(matches!(closes_with(many).await, ProtocolError::Open { .. }));
}
