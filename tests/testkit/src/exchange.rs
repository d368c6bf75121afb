//! Bytes into a station, answers out.

use lightwafer_device::protocol::frame::{self, FrameDecoder, FrameError, MAX_FRAME};
use lightwafer_device::protocol::message::{Command, Reply, Request, Response};
use lightwafer_device::{Platform, Station, Updates};
use lightwafer_runtime::Engine;

/// Feeds bytes and gives the payloads of the answers.
///
/// # Panics
/// When an answer is anything but one whole frame that decodes as a response.
pub fn feed<E, P, U>(station: &mut Station<'_, E, P, U>, bytes: &[u8]) -> Vec<Vec<u8>>
where
    E: Engine,
    P: Platform,
    U: Updates<E>,
{
    let mut payloads = Vec::new();
    for &byte in bytes {
        if let Some(answer) = station.feed(byte) {
            assert!(answer.len() <= MAX_FRAME);
            let payload = payload_of(answer).expect("a right CRC-32");
            assert!(frame::decode::<Response<'_>>(&payload).is_ok());
            payloads.push(payload);
        }
    }
    payloads
}

/// The payload of one frame, or what is wrong with it.
///
/// # Panics
/// When the bytes hold no frame, or more than one.
pub fn payload_of(bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut decoder = FrameDecoder::new();
    let mut found = None;
    for &byte in bytes {
        if let Some(result) = decoder.push(byte) {
            let before = found.replace(result.map(<[u8]>::to_vec));
            assert!(before.is_none(), "more than one frame");
        }
    }
    found.expect("a frame")
}

/// Asks a station and gives what `check` makes of its answer.
///
/// # Panics
/// When it does not answer just once, or with another number.
pub fn ask<E, P, U, T>(
    station: &mut Station<'_, E, P, U>,
    seq: u16,
    command: Command<'_>,
    check: impl FnOnce(Reply<'_>) -> T,
) -> T
where
    E: Engine,
    P: Platform,
    U: Updates<E>,
{
    let mut out = [0; MAX_FRAME];
    let bytes = frame::encode(&Request { seq, command }, &mut out).expect("a message that fits");
    let answers = feed(station, bytes);
    assert_eq!(answers.len(), 1);
    let response: Response<'_> = frame::decode(&answers[0]).expect("a message");
    assert_eq!(response.seq, seq);
    check(response.reply)
}
