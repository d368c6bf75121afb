//! The kernels of one instruction set as values, for the differential test.

use crate::kernels::requantize::Quantization;
use crate::kernels::row::{CodeRow, Output, Segment, Table};

/// The kernels of one instruction set.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::type_complexity)]
pub struct Set {
    /// See [`crate::kernels::dense::dense_row`].
    pub dense: fn(&[Segment<'_>], &[u8], &[u8], Quantization, &mut [i8], Output<'_>),
    /// See [`crate::kernels::depthwise::depthwise_row`].
    pub depthwise: fn([&[i8]; 3], &[u8], &[u8], Quantization, Output<'_>),
    /// See [`super::reference::image4`].
    pub image4: fn([&CodeRow; 3], &Table, [i32; 4], [i32; 4], Quantization, &mut Output<'_>),
    /// See [`super::reference::mask_row`].
    pub mask_row: fn(&[[[i8; 8]; 8]], &[i8; 8], i32, &mut [u8]),
    /// See [`super::max4::reference`].
    pub max4: fn([i8; 4], [i8; 4]) -> [i8; 4],
}
