//! Records which kernel computed the last row, on boards and with the feature `differential` only. The differential test
//! compares it with what [`path`](crate::kernels::path) says.

/// Records the kernel that computes a row: `Fast`, `General` or `Reference`.
macro_rules! taken {
    ($kernel:ident) => {
        #[cfg(all(arm_dsp, feature = "differential"))]
        crate::kernels::arch::taken::LAST.store(
            crate::kernels::arch::taken::Taken::$kernel as u8,
            core::sync::atomic::Ordering::Relaxed,
        );
    };
}

#[cfg(all(arm_dsp, feature = "differential"))]
pub use noted::{LAST, Taken, last};

#[cfg(all(arm_dsp, feature = "differential"))]
mod noted {
    use core::sync::atomic::{AtomicU8, Ordering};

    use crate::kernels::path::KernelPath;

    /// The kinds of kernels.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub enum Taken {
        /// A kernel that was written for such rows.
        Fast,
        /// The kernel for any row.
        General,
        /// The reference kernel.
        Reference,
    }

    /// The kind of kernel that computed the last row.
    pub static LAST: AtomicU8 = AtomicU8::new(0);

    /// Whether the last row was computed as `path` says.
    pub fn last(path: KernelPath) -> bool {
        let expected = match path {
            KernelPath::Fast => Taken::Fast,
            KernelPath::General(_) => Taken::General,
            KernelPath::Reference(_) => Taken::Reference,
        };
        LAST.load(Ordering::Relaxed) == expected as u8
    }
}
