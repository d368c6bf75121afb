//! Memory with the alignment that the kernels need, for model images and arenas.
//!
//! A model image and an arena must begin at a multiple of [`ALIGNMENT`] bytes. Others are refused with a named error,
//! because kernels would be several times slower on them. An [`Arena`] has this alignment, and so has an image from
//! [`include_model!`](crate::include_model). For images that a program reads from files, there is `AlignedBox`
//! (feature `alloc`).

/// Bytes that the address of a model image or of an arena must be a multiple of.
pub const ALIGNMENT: usize = 8;

/// A value that begins at a multiple of [`ALIGNMENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Aligned<T: ?Sized>(
    /// The value.
    pub T,
);

const _: () = assert!(align_of::<Aligned<u8>>() == ALIGNMENT);

/// `N` bytes of working memory for an engine. A model's header states how many bytes it needs.
///
/// On a board, make it a `static` and give it to the engine once:
///
/// ```
/// use lightwafer_runtime::Arena;
///
/// let mut arena = Arena::<65_536>::new();
/// assert_eq!(arena.bytes().len(), 65_536);
/// ```
#[derive(Debug)]
pub struct Arena<const N: usize>(Aligned<[i8; N]>);

impl<const N: usize> Arena<N> {
    /// An arena of zeros, so that a `static` takes no flash.
    pub const fn new() -> Self {
        Self(Aligned([0; N]))
    }

    /// The bytes to start an engine with.
    pub const fn bytes(&mut self) -> &mut [i8] {
        &mut self.0.0
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts a model image into the program: a `&'static [u8]` that begins at a multiple of [`ALIGNMENT`].
///
/// The path is relative to the file that invokes the macro, as for [`include_bytes!`].
///
/// ```
/// use lightwafer_runtime::{Model, include_model};
///
/// let model = Model::new_checked(include_model!("../../models/light-int8.lw")).unwrap();
/// assert_eq!(model.header().name, "lightwafer-light");
/// ```
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {{
        static IMAGE: $crate::Aligned<[u8; include_bytes!($path).len()]> =
            $crate::Aligned(*include_bytes!($path));
        let image: &'static [u8] = &IMAGE.0;
        image
    }};
}

/// Bytes on the heap that begin at a multiple of [`ALIGNMENT`]: a model image from a file, or an arena of a size that
/// is known at run time.
#[cfg(feature = "alloc")]
pub use boxed::AlignedBox;

/// The number of bytes after a multiple of [`ALIGNMENT`] at which a slice begins.
pub(crate) fn beyond<T>(slice: &[T]) -> usize {
    slice.as_ptr().addr() % ALIGNMENT
}

#[cfg(feature = "alloc")]
mod boxed {
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::fmt;
    use core::ops::{Deref, DerefMut, Range};

    use super::{ALIGNMENT, beyond};

    /// See [`super::AlignedBox`].
    pub struct AlignedBox<T> {
        /// The bytes, with unused bytes before and after them for the alignment.
        room: Box<[T]>,
        used: Range<usize>,
    }

    impl<T: Copy + Default> AlignedBox<T> {
        /// `len` zeros.
        pub fn zeroed(len: usize) -> Self {
            const { assert!(size_of::<T>() == 1, "for bytes") };
            let room = vec![T::default(); len + ALIGNMENT - 1].into_boxed_slice();
            let start = match beyond(&room) {
                0 => 0,
                beyond => ALIGNMENT - beyond,
            };
            Self {
                room,
                used: start..start + len,
            }
        }
    }

    impl<T: Copy + Default> From<&[T]> for AlignedBox<T> {
        fn from(bytes: &[T]) -> Self {
            let mut aligned = Self::zeroed(bytes.len());
            aligned.copy_from_slice(bytes);
            aligned
        }
    }

    impl<T: Copy + Default> From<Vec<T>> for AlignedBox<T> {
        fn from(bytes: Vec<T>) -> Self {
            Self::from(bytes.as_slice())
        }
    }

    impl<T: Copy + Default> Clone for AlignedBox<T> {
        fn clone(&self) -> Self {
            Self::from(&**self)
        }
    }

    impl<T> Deref for AlignedBox<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            self.room.get(self.used.clone()).unwrap_or_default()
        }
    }

    impl<T> DerefMut for AlignedBox<T> {
        fn deref_mut(&mut self) -> &mut [T] {
            self.room.get_mut(self.used.clone()).unwrap_or_default()
        }
    }

    impl<T> AsRef<[T]> for AlignedBox<T> {
        fn as_ref(&self) -> &[T] {
            self
        }
    }

    impl<T: PartialEq> PartialEq for AlignedBox<T> {
        fn eq(&self, other: &Self) -> bool {
            **self == **other
        }
    }

    impl<T: Eq> Eq for AlignedBox<T> {}

    impl<T> fmt::Debug for AlignedBox<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "AlignedBox of {} bytes", self.len())
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn boxes_begin_where_they_should_and_hold_what_they_were_given() {
        for len in 0..70 {
            let bytes: alloc::vec::Vec<u8> = (0..len).collect();
            let aligned = AlignedBox::from(bytes.clone());
            assert_eq!(beyond(&aligned), 0);
            assert_eq!(*aligned, bytes[..]);
            assert_eq!(*aligned.clone(), bytes[..]);
        }
    }
}
