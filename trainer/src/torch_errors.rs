//! Torch's exceptions as errors. tch turns them into panics; here they are caught and become errors with their
//! first line.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use anyhow::{Error, anyhow};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; an exception of torch in it becomes an error.
///
/// # Errors
/// The exception's first line. [`is_out_of_memory`] tells whether memory was short.
pub fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Error> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                usual(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    // After a panic, `f` leaves behind only tensors of a step that is not taken.
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("panic");
        anyhow!("torch: {}", essence(text))
    })
}

/// The exception's own words, out of the panic message of tch's `unwrap`.
fn essence(text: &str) -> &str {
    let text = text.split_once("Torch(\"").map_or(text, |(_, rest)| rest);
    text.split("\\n")
        .next()
        .unwrap_or(text)
        .lines()
        .next()
        .unwrap_or(text)
}

/// Whether the error says that memory is short, on a GPU or on the host.
pub fn is_out_of_memory(error: &Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
    ]
    .iter()
    .any(|t| text.contains(t))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn what_torch_throws_is_an_error() {
        assert_eq!(guarded(|| 3).unwrap(), 3);
        let two = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let error = guarded(|| two.mm(&two)).unwrap_err();
        assert!(
            error.to_string().contains("mat1 and mat2 shapes"),
            "{error}"
        );
        assert!(!is_out_of_memory(&error));
        let error = guarded(|| Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(is_out_of_memory(&error), "{error}");
    }
}
