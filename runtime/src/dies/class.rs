//! The 38 defect classes of the data set MixedWM38: one normal, eight single patterns, 29 mixtures.
//!
//! A class is a set of [`Pattern`]s. Only the 38 sets in [`Class::all`] occur. The numbers 0…37 follow the
//! published order of the data set ([Wang et al., 2020](https://doi.org/10.1109/TSM.2020.3020985)).

use Pattern::{Center as C, Donut as D, EdgeLoc as EL, EdgeRing as ER, Loc as L};
use Pattern::{NearFull as NF, Random as R, Scratch as S};

/// Number of defect classes.
pub const CLASS_COUNT: usize = 38;
/// Number of elementary patterns.
pub const PATTERN_COUNT: usize = 8;

/// An elementary defect pattern. Its number is its column in MixedWM38's multi-hot labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Pattern {
    /// Center: failing dies in the middle.
    Center = 0,
    /// Donut: a ring around the middle.
    Donut = 1,
    /// Edge-loc: a patch at the edge.
    EdgeLoc = 2,
    /// Edge-ring: a ring along the edge.
    EdgeRing = 3,
    /// Loc: a patch anywhere.
    Loc = 4,
    /// Near-full: nearly all dies fail.
    NearFull = 5,
    /// Scratch: a thin line.
    Scratch = 6,
    /// Random: failing dies everywhere, without a shape.
    Random = 7,
}

impl Pattern {
    /// All patterns, in the order of the label columns.
    pub const ALL: [Self; PATTERN_COUNT] = [C, D, EL, ER, L, NF, S, R];

    /// The pattern's bit in a class's pattern set.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A defect class, 0…37.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(u8);

const fn set(patterns: &[Pattern]) -> u8 {
    let mut bits = 0;
    let mut i = 0;
    while i < patterns.len() {
        bits |= patterns[i].bit();
        i += 1;
    }
    bits
}

const TABLE: [(u8, &str); CLASS_COUNT] = [
    (set(&[]), "Normal"),
    (set(&[C]), "C"),
    (set(&[D]), "D"),
    (set(&[EL]), "EL"),
    (set(&[ER]), "ER"),
    (set(&[L]), "L"),
    (set(&[NF]), "NF"),
    (set(&[S]), "S"),
    (set(&[R]), "R"),
    (set(&[C, EL]), "C+EL"),
    (set(&[C, ER]), "C+ER"),
    (set(&[C, L]), "C+L"),
    (set(&[C, S]), "C+S"),
    (set(&[D, EL]), "D+EL"),
    (set(&[D, ER]), "D+ER"),
    (set(&[D, L]), "D+L"),
    (set(&[D, S]), "D+S"),
    (set(&[EL, L]), "EL+L"),
    (set(&[EL, S]), "EL+S"),
    (set(&[ER, L]), "ER+L"),
    (set(&[ER, S]), "ER+S"),
    (set(&[L, S]), "L+S"),
    (set(&[C, EL, L]), "C+EL+L"),
    (set(&[C, EL, S]), "C+EL+S"),
    (set(&[C, ER, L]), "C+ER+L"),
    (set(&[C, ER, S]), "C+ER+S"),
    (set(&[C, L, S]), "C+L+S"),
    (set(&[D, EL, L]), "D+EL+L"),
    (set(&[D, EL, S]), "D+EL+S"),
    (set(&[D, ER, L]), "D+ER+L"),
    (set(&[D, ER, S]), "D+ER+S"),
    (set(&[D, L, S]), "D+L+S"),
    (set(&[EL, L, S]), "EL+L+S"),
    (set(&[ER, L, S]), "ER+L+S"),
    (set(&[C, EL, L, S]), "C+EL+L+S"),
    (set(&[C, ER, L, S]), "C+ER+L+S"),
    (set(&[D, EL, L, S]), "D+EL+L+S"),
    (set(&[D, ER, L, S]), "D+ER+L+S"),
];

impl Class {
    /// Class 0: no pattern.
    pub const NORMAL: Self = Self(0);

    /// The class with this number, or `None` above 37.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < CLASS_COUNT {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The class that is exactly this set of pattern bits, or `None` if the set is not one of the 38.
    pub fn from_patterns(bits: u8) -> Option<Self> {
        let at = TABLE.iter().position(|&(b, _)| b == bits)?;
        Self::new(at as u8)
    }

    /// All classes, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CLASS_COUNT as u8).map(Self)
    }

    /// The class number, 0…37.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The short label, such as `C+EL`.
    pub fn label(self) -> &'static str {
        TABLE.get(self.0 as usize).map_or("?", |e| e.1)
    }

    /// The set of pattern bits (see [`Pattern::bit`]).
    pub fn patterns(self) -> u8 {
        TABLE.get(self.0 as usize).map_or(0, |e| e.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sets_round_trip() {
        for class in Class::all() {
            assert_eq!(Class::from_patterns(class.patterns()), Some(class));
            assert_eq!(Class::new(class.index()), Some(class));
        }
        assert_eq!(Class::all().count(), CLASS_COUNT);
        assert_eq!(Class::new(38), None);
        assert_eq!(Class::from_patterns(C.bit() | D.bit()), None);
    }

    #[test]
    fn labels_name_their_patterns() {
        let short = ["C", "D", "EL", "ER", "L", "NF", "S", "R"];
        for class in Class::all().skip(1) {
            let bits = class.label().split('+').fold(0, |bits, part| {
                bits | 1 << short.iter().position(|s| *s == part).unwrap()
            });
            assert_eq!(bits, class.patterns(), "{}", class.label());
        }
    }
}
