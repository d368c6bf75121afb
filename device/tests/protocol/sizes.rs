//! Every message fits a frame, and payloads of every length come back.

use heapless::Vec as FixedVec;

use lightwafer_device::protocol::frame::{self, MAX_FRAME, MAX_PAYLOAD};
use lightwafer_device::protocol::message::*;
use lightwafer_runtime::dies::CLASS_COUNT;
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::limits::MAX_CHANNELS;
use lightwafer_testkit::exchange::payload_of;

#[test]
fn every_message_fits_a_frame() {
    let text = "x".repeat(frame::MAX_TEXT);
    let facts = ModelFacts {
        name: &text,
        created: &text,
        parameters: u32::MAX,
        macs: u64::MAX,
        arena_bytes: u32::MAX,
        model_bytes: u32::MAX,
        rounding: Rounding::SingleUp,
        sha256: [255; 32],
    };
    let hello = Hello {
        protocol: u16::MAX,
        board: &text,
        firmware: &text,
        max_map: u32::MAX,
        max_chunk: u16::MAX,
        reset: ResetCause::Fault,
        model: facts,
    };
    let report = Report {
        wafer: u32::MAX,
        map_crc: u32::MAX,
        class: 37,
        scores: FixedVec::from_iter([u32::MAX; CLASS_COUNT]),
        logits: FixedVec::from_iter([i32::MIN; CLASS_COUNT]),
        embedding: FixedVec::from_iter([i8::MIN; MAX_CHANNELS]),
        mask_pixels: u32::MAX,
        mask_crc: u32::MAX,
        elapsed_us: u64::MAX,
        instructions: Some(u64::MAX),
    };
    let data = [255; MAX_CHUNK];
    let m = u32::MAX;
    let health = Health {
        starts: [m; ResetCause::COUNT],
        models: Models {
            version: m,
            minimum: m,
            floor: m,
            limit: m,
            key: Some([255; 8]),
            transfer: Some(Transfer {
                version: m,
                received: m,
                expected: m,
            }),
        },
        sha256: [255; 32],
    };
    let replies = [
        (Reply::Health(health), 4 + 30 + 20 + 9 + 16 + 32),
        (
            Reply::Hello(hello),
            4 + 3 + 130 + 5 + 3 + 1 + 130 + 5 + 10 + 10 + 1 + 32,
        ),
        (
            Reply::Report(report),
            4 + 10 + 1 + 2 * 191 + 65 + 10 + 10 + 11,
        ),
        (
            Reply::MaskRows {
                wafer: m,
                row: u16::MAX,
                rows: u16::MAX,
                data: &data,
            },
            529,
        ),
    ];
    for (reply, len) in replies {
        let mut out = [0; MAX_FRAME];
        let response = Response {
            seq: u16::MAX,
            reply,
        };
        let payload = payload_of(frame::encode(&response, &mut out).unwrap()).unwrap();
        assert_eq!(payload.len(), len);
        assert!(payload.len() <= MAX_PAYLOAD);
        assert_eq!(frame::decode::<Response<'_>>(&payload).unwrap(), response);
    }
    let mut out = [0; MAX_FRAME + 9];
    assert!(frame::encode_payload(&[1; MAX_PAYLOAD + 1], &mut out).is_err());
    assert!(frame::encode_payload(&[1; MAX_PAYLOAD], &mut out[..MAX_FRAME]).is_ok());
    for len in 0..20 {
        let fits = frame::encode_payload(&[5; 12], &mut out[..len]).is_ok();
        assert_eq!(fits, len >= 12 + 4 + 1 + 2);
    }
}

#[test]
fn payloads_of_every_length_come_back() {
    let mut rng = fastrand::Rng::with_seed(3);
    for len in 1..=MAX_PAYLOAD {
        for zeros in [0, 3] {
            let payload: Vec<u8> = (0..len)
                .map(|_| {
                    if rng.u8(..4) < zeros {
                        0
                    } else {
                        rng.u8(..) | 1
                    }
                })
                .collect();
            let mut out = [0; MAX_FRAME];
            let bytes = frame::encode_payload(&payload, &mut out).unwrap();
            assert_eq!((bytes[0], bytes[bytes.len() - 1]), (0, 0));
            assert!(!bytes[1..bytes.len() - 1].contains(&0));
            assert_eq!(payload_of(bytes).unwrap(), payload);
        }
    }
}
