//! The set-up on machines that reach Debian's packages and PyPI, but neither rustup's server nor PyTorch's index.
//!
//! Tried only after the ordinary way has failed. Rust's libraries for the boards are built from Debian's compiler
//! and its sources ([`sysroot`]). libtorch and a Python with PyTorch are taken out of PyPI's wheel ([`libtorch`],
//! [`pytorch`]), which is built against CUDA: of its 550 MB what a CPU needs is kept, and small libraries stand in
//! for those of CUDA.

pub mod libtorch;
mod pytorch;
pub mod sysroot;
mod wheels;

use anyhow::Result;

use self::wheels::Wheels;

/// Makes libtorch, a Python with PyTorch, or both out of one download.
///
/// # Errors
/// When pip, the compiler or a file fails.
pub fn torch(libtorch: bool, pytorch: bool) -> Result<()> {
    let wheels = Wheels::fetch()?;
    super::cc::setup()?;
    if libtorch {
        libtorch::unpack(&wheels)?;
    }
    if pytorch {
        pytorch::unpack(&wheels)?;
    }
    wheels.remove()
}
