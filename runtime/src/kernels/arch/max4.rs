//! The maxima of four pairs of values, for pools and ReLUs. With the DSP extension they take two instructions.

/// The maximum of each pair of values.
#[cfg(arm_dsp)]
#[allow(unsafe_code)]
#[inline(always)]
pub fn max4(a: [i8; 4], b: [i8; 4]) -> [i8; 4] {
    let [a, b] = [a, b].map(|four| u32::from_le_bytes(four.map(|v| v as u8)));
    let out: u32;
    // SAFETY: arithmetic on registers only; SSUB8 sets the GE flags that SEL reads.
    unsafe {
        core::arch::asm!("ssub8 {o}, {a}, {b}", "sel {o}, {a}, {b}", o = out(reg) out, a = in(reg) a,
            b = in(reg) b, options(pure, nomem, nostack));
    }
    out.to_le_bytes().map(|v| v as i8)
}

#[cfg(not(arm_dsp))]
pub use reference as max4;

/// The maximum of each pair of values, in portable Rust.
#[inline(always)]
pub fn reference(a: [i8; 4], b: [i8; 4]) -> [i8; 4] {
    let mut out = a;
    for (a, b) in out.iter_mut().zip(b) {
        *a = b.max(*a);
    }
    out
}
