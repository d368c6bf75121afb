//! Any bytes on the line: the decoder gives payloads whose CRC-32 is right, messages decode or are refused,
//! and what encodes comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightwafer_device::protocol::frame::{
    FrameDecoder, MAX_FRAME, MAX_PAYLOAD, decode, encode, encode_payload,
};
use lightwafer_device::protocol::mask_code::decode_rows;
use lightwafer_device::protocol::message::{Request, Response};
use lightwafer_runtime::dies::Mask;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = FrameDecoder::new();
    for &byte in bytes {
        if let Some(Ok(payload)) = decoder.push(byte) {
            assert!(!payload.is_empty() && payload.len() <= MAX_PAYLOAD);
            messages(payload);
        }
    }
    // The same bytes as a payload: past the CRC-32.
    messages(bytes);
    let mut frame = [0; MAX_FRAME];
    match encode_payload(bytes, &mut frame) {
        Ok(frame) if !bytes.is_empty() => {
            // Whatever the line held before (the first zero may end a frame of its own), this one is read.
            let payloads = frame.iter().filter_map(|&byte| {
                let result = decoder.push(byte)?;
                result.ok().map(<[u8]>::to_vec)
            });
            let payload = payloads.last();
            assert_eq!(payload.as_deref(), Some(bytes));
        }
        Ok(_) => {}
        Err(_) => assert!(bytes.len() > MAX_PAYLOAD),
    }
    if let [row, rows, code @ ..] = bytes {
        let mut mask = Mask::new();
        let _ = decode_rows(&mut mask, (*row).into(), (*rows).into(), code);
    }
});

/// Decodes as either message; what decodes encodes and comes back.
fn messages(payload: &[u8]) {
    let (mut frame, mut decoder) = ([0; MAX_FRAME], FrameDecoder::new());
    if let Ok(request) = decode::<Request<'_>>(payload)
        && let Ok(frame) = encode(&request, &mut frame)
    {
        let again = frame
            .iter()
            .find_map(|&b| Some(decoder.push(b)?.map(<[u8]>::to_vec)));
        let again = again.expect("a whole frame").expect("a right CRC-32");
        assert_eq!(decode::<Request<'_>>(&again), Ok(request));
    }
    if let Ok(response) = decode::<Response<'_>>(payload)
        && let Ok(frame) = encode(&response, &mut frame)
    {
        let again = frame
            .iter()
            .find_map(|&b| Some(decoder.push(b)?.map(<[u8]>::to_vec)));
        let again = again.expect("a whole frame").expect("a right CRC-32");
        assert_eq!(decode::<Response<'_>>(&again), Ok(response));
    }
}
