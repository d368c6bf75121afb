//! Writes first inputs for the fuzz targets into `corpus/`: what mutations alone take long to find.

use std::error::Error;
use std::fs;
use std::path::Path;

use arbitrary::Unstructured;
use lightwafer_compiler::writer::write;
use lightwafer_device::protocol::frame::{MAX_FRAME, encode};
use lightwafer_device::protocol::message::{Command, Request};
use lightwafer_fuzz::{network, wafer};
use lightwafer_maps::npz::{WaferSet, write_wafers};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: String, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    let mut rng = fastrand::Rng::with_seed(1);
    let mut images = 0;
    for seed in 0..400 {
        let bytes: Vec<u8> = (0..400).map(|_| rng.u8(..)).collect();
        let mut u = Unstructured::new(&bytes);
        let (Ok(spec), Ok(wafer)) = (network::arbitrary(&mut u), wafer::arbitrary(&mut u)) else {
            continue;
        };
        let Ok(image) = write(&spec, &wafer.map()) else {
            continue;
        };
        if seed < 60 {
            put("execute", format!("seed-{seed}"), &bytes)?;
        }
        if image.len() < 2500 && images < 6 {
            images += 1;
            put(
                "model",
                format!("seed-{seed}"),
                &[&[1], &image[..]].concat(),
            )?;
        }
        if seed < 8 {
            put("station", format!("seed-{seed}"), &bytes)?;
        }
    }
    let commands = [
        Command::Hello { protocol: 1 },
        Command::Map {
            wafer: 1,
            rows: 4,
            cols: 4,
            crc: 0x1234_5678,
        },
        Command::Dies {
            wafer: 1,
            offset: 0,
            data: &[0x55; 4],
        },
        Command::Run { wafer: 1 },
        Command::Mask { wafer: 1, row: 0 },
        Command::Statistics,
    ];
    for (at, command) in commands.into_iter().enumerate() {
        let seq = at as u16 + 1;
        let mut frame = [0; MAX_FRAME];
        let frame = encode(&Request { seq, command }, &mut frame)?;
        put("frames", format!("seed-{at}"), frame)?;
    }
    let path = std::env::temp_dir().join("lightwafer-seed.npz");
    let set = WaferSet {
        rows: 4,
        cols: 5,
        dies: (0..40).map(|die| die % 3).collect(),
        labels: None,
    };
    write_wafers(&path, &set)?;
    put(
        "npz",
        "seed-file".to_owned(),
        &[&[0], &fs::read(&path)?[..]].concat(),
    )?;
    fs::remove_file(&path)?;
    for (name, kind) in [("i4", "<i4"), ("u1", "|u1"), ("i8", "<i8")] {
        let width: usize = kind[2..].parse()?;
        let mut text =
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 4, 5), }}");
        while (text.len() + 11) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        let mut array = b"\x93NUMPY\x01\x00".to_vec();
        array.extend((text.len() as u16).to_le_bytes());
        array.extend(text.bytes());
        for die in 0..40 {
            array.push(die % 3);
            array.extend(std::iter::repeat_n(0, width - 1));
        }
        put("npz", format!("seed-{name}"), &[&[1], &array[..]].concat())?;
        let labels = array.clone();
        put(
            "npz",
            format!("seed-{name}-labels"),
            &[&[130], &array[..], &labels[..]].concat(),
        )?;
    }
    Ok(())
}
