//! The smallest firmware that classifies a wafer: the published model, one arena, one map of 52×52 dies.
#![no_std]
#![no_main]

use cortex_m as _; // Its critical section.
use cortex_m_rt::entry;
use lightwafer_runtime::{Arena, DieMap, Engine, FixedEngine, Mask, arena_bytes, include_model};
use panic_halt as _;
use semihosting::{println, process};

const MODEL: &[u8] = include_model!("../../../models/light-int8.lw");

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<{ arena_bytes(MODEL).unwrap() }> = Arena::new();
    static mut ENGINE: FixedEngine<'static, 'static> = FixedEngine::idle();
    static mut MASK: Mask = Mask::new();

    ENGINE.start(MODEL, ARENA.bytes()).unwrap();
    ENGINE.self_test(MASK).unwrap();

    let dies = [1; 52 * 52]; // Row by row: 0 no die, 1 pass, 2 fail.
    let mut packed = [0; 52 * 52 / 4];
    let map = DieMap::pack(52, 52, &dies, &mut packed).unwrap();
    let answer = ENGINE.classify(&map, MASK).unwrap();
    println!("{}, {} pixels marked", answer.class.label(), MASK.count());
    process::exit(0)
}
