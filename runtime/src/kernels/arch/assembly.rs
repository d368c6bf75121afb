//! Macros for kernels in assembly: operands that are named after struct fields.

/// The body of a naked function that reads a `#[repr(C)]` struct: `naked_asm!` with one operand a field. The operand has
/// the name of the field and is its offset. So the assembly names the fields that it reads, and stays correct when the
/// struct gets a new field.
///
/// `naked_asm!` refuses operands that the assembly does not use, and few kernels read every field. Therefore a comment
/// in the assembly names them all. Operands with other names may follow.
macro_rules! naked_asm_of {
    (
        $job:ident { $($field:ident),* $(,)? },
        [$($code:expr),* $(,)?]
        $(, $name:ident = $value:expr)* $(,)?
    ) => {
        core::arch::naked_asm!(
            processor!(),
            $(concat!("@ {", stringify!($field), "}"),)*
            $($code,)*
            $($field = const core::mem::offset_of!($job, $field),)*
            $($name = const $value,)*
        )
    };
}

/// Asserts that fields lie side by side because one instruction loads them together: the second field of each pair
/// begins so many bytes after the first.
macro_rules! adjacent {
    ($job:ident: $($first:ident + $bytes:literal = $second:ident),* $(,)?) => {
        $(const _: () = assert!(
            core::mem::offset_of!($job, $first) + $bytes == core::mem::offset_of!($job, $second)
        );)*
    };
}
