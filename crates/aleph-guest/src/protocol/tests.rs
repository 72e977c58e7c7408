use proptest::prelude::*;

use super::*;

fn frames(bytes: &[u8], cut: usize) -> Result<Vec<(Kind, u32, Vec<u8>)>, ProtocolError> {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for chunk in bytes.chunks(cut.max(1)) {
        decoder.push(chunk);
        while let Some(frame) = decoder.next_frame()? {
            seen.push((frame.kind, frame.stream, frame.payload.to_vec()));
        }
        assert!(decoder.held() <= HEADER + MAX_CONTROL);
    }
    Ok(seen)
}

#[test]
fn lengths_are_checked_before_the_bytes_arrive() {
    let mut decoder = Decoder::new();
    decoder.push(&[Kind::Data as u8, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(decoder.next_frame(), Err(ProtocolError::Length { kind: Kind::Data, .. })));
}

#[test]
fn control_stays_on_stream_zero_and_data_off_it() {
    for (kind, stream) in
        [(Kind::Control, 1), (Kind::Log, 7), (Kind::Data, 0), (Kind::Open, 0), (Kind::Credit, 0)]
    {
        let mut bytes = Vec::new();
        let payload: &[u8] = if kind == Kind::Credit { &[0; 4] } else { b"" };
        Frame { kind, stream, payload }.encode(&mut bytes);
        assert!(matches!(frames(&bytes, 64), Err(ProtocolError::Stream { .. })), "{kind:?}");
    }
}

#[test]
fn control_messages_survive_the_way() {
    let message = ToGuest::Shutdown { grace_ms: 5000 };
    let mut bytes = Vec::new();
    encode_control(&message, &mut bytes).unwrap();
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(decode_json::<ToGuest>(frame).unwrap(), message);
}

#[test]
fn a_configuration_too_long_is_refused_by_the_sender() {
    let mut bytes = Vec::new();
    let message = FromGuest::SetupFailed { step: SetupStep::Root, reason: "x".repeat(MAX_CONTROL) };
    assert!(matches!(encode_control(&message, &mut bytes), Err(ProtocolError::Length { .. })));
    assert!(bytes.is_empty());
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Control,
        Kind::Log,
        Kind::Open,
        Kind::Data,
        Kind::Finish,
        Kind::Reset,
        Kind::Credit,
    ])
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_frames(
        list in prop::collection::vec((kind(), 1u32.., prop::collection::vec(any::<u8>(), 0..600)), 0..20),
        cut in 1usize..700,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (kind, stream, mut payload) in list {
            let stream = if matches!(kind, Kind::Control | Kind::Log) { 0 } else { stream };
            payload.truncate(kind.max_payload());
            if kind == Kind::Credit { payload.resize(4, 0); }
            Frame { kind, stream, payload: &payload }.encode(&mut bytes);
            expected.push((kind, stream, payload));
        }
        prop_assert_eq!(frames(&bytes, cut).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..4096), cut in 1usize..100) {
        let _ = frames(&bytes, cut);
    }
}
