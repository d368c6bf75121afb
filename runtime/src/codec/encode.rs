//! Writing: a serializer that says at the end whether all has fitted.

use postcard::ser_flavors::{Flavor, Slice};
use serde::{Serialize, Serializer, ser};

use super::Failed;

/// Writes `message` into `out`; gives the bytes used.
///
/// # Errors
/// When it does not fit, or is of a type that no message has.
pub fn to_slice<T: Serialize>(message: &T, out: &mut [u8]) -> Result<usize, Failed> {
    let mut encoder = Encoder {
        postcard: postcard::Serializer {
            output: Slice::new(out),
        },
        full: false,
    };
    message.serialize(&mut encoder)?;
    if encoder.full {
        return Err(Failed);
    }
    let used = encoder.postcard.output.finalize();
    used.map(|used| used.len()).map_err(|_| Failed)
}

struct Encoder<'b> {
    postcard: postcard::Serializer<Slice<'b>>,
    /// Whether something did not fit.
    full: bool,
}

impl Encoder<'_> {
    #[inline(never)]
    fn byte(&mut self, value: u8) {
        self.full |= self.postcard.serialize_u8(value).is_err();
    }

    #[inline(never)]
    fn number(&mut self, value: u32) {
        self.long_number(value.into());
    }

    #[inline(never)]
    fn long_number(&mut self, value: u64) {
        self.full |= self.postcard.serialize_u64(value).is_err();
    }

    #[inline(never)]
    fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u32);
        self.full |= self.postcard.output.try_extend(value).is_err();
    }
}

type Done = Result<(), Failed>;

impl Serializer for &mut Encoder<'_> {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = ser::Impossible<(), Failed>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Done {
        self.serialize_u8(value.into())
    }

    fn serialize_i8(self, value: i8) -> Done {
        self.serialize_u8(value as u8)
    }

    fn serialize_i16(self, value: i16) -> Done {
        self.serialize_i32(value.into())
    }

    fn serialize_i32(self, value: i32) -> Done {
        // Small ones of either sign are short.
        self.serialize_u32((value << 1 ^ value >> 31) as u32)
    }

    fn serialize_i64(self, value: i64) -> Done {
        self.serialize_u64((value << 1 ^ value >> 63) as u64)
    }

    fn serialize_u8(self, value: u8) -> Done {
        self.byte(value);
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Done {
        self.serialize_u32(value.into())
    }

    fn serialize_u32(self, value: u32) -> Done {
        self.number(value);
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Done {
        self.long_number(value);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Done {
        Err(Failed)
    }

    fn serialize_f64(self, _: f64) -> Done {
        Err(Failed)
    }

    fn serialize_char(self, _: char) -> Done {
        Err(Failed)
    }

    fn serialize_str(self, value: &str) -> Done {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.bytes(value);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.serialize_u8(0)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Done {
        self.byte(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Done {
        self.serialize_u32(variant)
    }

    fn serialize_newtype_struct<T>(self, _: &'static str, value: &T) -> Done
    where
        T: ?Sized + Serialize,
    {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Done
    where
        T: ?Sized + Serialize,
    {
        self.number(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Failed> {
        let len = len.and_then(|len| u32::try_from(len).ok());
        self.number(len.ok_or(Failed)?);
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Failed> {
        self.number(variant);
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Failed> {
        Err(Failed)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Failed> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Failed> {
        self.number(variant);
        Ok(self)
    }

    fn collect_str<T: ?Sized + core::fmt::Display>(self, _: &T) -> Done {
        Err(Failed)
    }
}

/// What has parts has them one after the other, without names.
macro_rules! parts {
    ($($kind:ident: $part:ident($($name:ty)?),)*) => {
        $(impl ser::$kind for &mut Encoder<'_> {
            type Ok = ();
            type Error = Failed;

            fn $part<T: ?Sized + Serialize>(&mut self, $(_: $name,)? value: &T) -> Done {
                value.serialize(&mut **self)
            }

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
}
