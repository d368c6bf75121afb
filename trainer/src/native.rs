//! The native calls that tch does not offer: loading CUDA by name, bfloat16 autocast, tuning of malloc.
//!
//! The only module of this crate with `unsafe`.
#![allow(unsafe_code)]

use tch::Device;

use crate::settings::Precision;

unsafe extern "C" {
    fn lw_autocast_enter(device: i32);
    fn lw_autocast_exit(device: i32);
    fn lw_allow_tf32(allow: bool);
    fn lw_torch_version() -> *const std::ffi::c_char;
}

/// Loads libtorch's CUDA half if it is on the library path.
///
/// The program is not linked with `libtorch_cuda.so`, so that it runs with and without it. Loading the library
/// registers the CUDA backend.
///
/// # Errors
/// The loader's own words when the library, or one that it needs, is not found.
pub fn load_cuda() -> Result<(), String> {
    // SAFETY: the name is a NUL-terminated literal; dlopen and dlerror return valid pointers or NULL,
    // and the error text is copied before any other call can replace it.
    unsafe {
        let flags = libc::RTLD_NOW | libc::RTLD_GLOBAL;
        if !libc::dlopen(c"libtorch_cuda.so".as_ptr(), flags).is_null() {
            return Ok(());
        }
        let text = libc::dlerror();
        if text.is_null() {
            return Err("the loader gives no reason".into());
        }
        Err(std::ffi::CStr::from_ptr(text)
            .to_string_lossy()
            .into_owned())
    }
}

/// Keeps freed memory in the process: tensors of tens of megabytes come and go every step, and
/// handing them back to the kernel each time costs more than the arithmetic.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters of the allocator; it is called before any thread starts.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

/// The version of libtorch that this was compiled with.
pub fn torch_version() -> &'static str {
    // SAFETY: a NUL-terminated literal in the program's constants.
    let version = unsafe { std::ffi::CStr::from_ptr(lw_torch_version()) };
    version.to_str().unwrap_or("unknown")
}

/// Lets CUDA multiply f32 with TF32 (about three decimal digits), as PyTorch's training usually does.
pub fn allow_tf32(allow: bool) {
    // SAFETY: sets two flags of libtorch's global context.
    unsafe { lw_allow_tf32(allow) }
}

/// Runs `f` in `precision`.
pub fn with_precision<T>(precision: Precision, device: Device, f: impl FnOnce() -> T) -> T {
    match precision {
        Precision::F32 => f(),
        Precision::Bf16 => autocast_bf16(device, f),
    }
}

/// Runs `f` with convolutions and linear layers in bfloat16; parameters and gradients stay f32.
pub fn autocast_bf16<T>(device: Device, f: impl FnOnce() -> T) -> T {
    struct Exit(i32);
    impl Drop for Exit {
        fn drop(&mut self) {
            // SAFETY: leaves the level that was entered below, also when `f` panics.
            unsafe { lw_autocast_exit(self.0) }
        }
    }
    let device = i32::from(device.is_cuda());
    // SAFETY: enters one level of autocast on this thread; `Exit` leaves it.
    unsafe { lw_autocast_enter(device) };
    let _exit = Exit(device);
    f()
}
