//! Error texts with numbers. [`fmt::Display`] writes a text completely. [`Sentence::append_to`] writes as much as
//! fits into a string, and does not need the code of `core::fmt`.
//!
//! Why not `core::fmt` everywhere: measured on the linked images, it adds 1.8 to 2.2 kB of code and 0.2 kB of constants; no panic comes
//! back, and the stack stays. That alone would fit, but not beside plain postcard (5.5 kB) and core's division
//! (0.6 kB): the Cortex-M55 would have 49,600 bytes of code without updates, and 49,152 are allowed.

use core::fmt;

use heapless::String;

/// A text with numbers: each `#` in it stands for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentence {
    text: &'static str,
    numbers: [usize; 2],
}

impl Sentence {
    /// A text in ASCII with at most two numbers.
    pub(crate) const fn new(text: &'static str, numbers: [usize; 2]) -> Self {
        Self { text, numbers }
    }

    /// Appends the text to `out`, as much of it as fits.
    pub fn append_to<const N: usize>(&self, out: &mut String<N>) {
        let mut numbers = self.numbers.into_iter();
        for byte in self.text.bytes() {
            let number = if byte == b'#' { numbers.next() } else { None };
            match number {
                Some(number) => append_number(number, &mut |digit| drop(out.push(digit))),
                None => drop(out.push(byte.into())),
            }
        }
    }
}

/// Passes the decimal digits of a number to `put`.
#[inline(never)]
fn append_number(number: usize, put: &mut dyn FnMut(char)) {
    let mut unit = 1;
    while number / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        put((b'0' + (number / unit % 10) as u8).into());
        unit /= 10;
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.numbers.into_iter();
        let mut parts = self.text.split('#');
        f.write_str(parts.next().unwrap_or_default())?;
        for part in parts {
            let number = numbers.next().unwrap_or_default();
            write!(f, "{number}{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same() {
        for numbers in [[0, 9], [10, 99], [100, 65_535], [usize::MAX, 1_000_000_007]] {
            let sentence = Sentence::new("# of # bytes", numbers);
            let whole = format!("{} of {} bytes", numbers[0], numbers[1]);
            assert_eq!(sentence.to_string(), whole);
            let mut text = String::<64>::new();
            sentence.append_to(&mut text);
            assert_eq!(text.as_str(), whole);
            let mut cut = String::<5>::new();
            sentence.append_to(&mut cut);
            assert_eq!(cut.as_str(), &whole[..5]);
        }
    }
}
