//! What kernels in assembly share: their operands.

/// The body of a naked function that reads a `#[repr(C)]` struct: `naked_asm!` with the offset of each field as an
/// operand of the field's name, so that assembly names what it reads and a new field moves nothing.
///
/// `naked_asm!` refuses an operand that its text does not use, and hardly a kernel reads every field; so a comment
/// in the assembly names them all. Operands of other names may follow.
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

/// Fields that one instruction loads together lie side by side: each second field follows so many bytes after the
/// first.
macro_rules! adjacent {
    ($job:ident: $($first:ident + $bytes:literal = $second:ident),* $(,)?) => {
        $(const _: () = assert!(
            core::mem::offset_of!($job, $first) + $bytes == core::mem::offset_of!($job, $second)
        );)*
    };
}
