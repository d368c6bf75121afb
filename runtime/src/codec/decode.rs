//! Reading: a deserializer that goes on with zeros where bytes are missing or wrong, and says so at the end.

use postcard::de_flavors::Slice;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::Failed;

/// Reads a `T` from the front of `bytes`; gives it and the bytes behind it.
///
/// # Errors
/// When there is none.
pub fn take<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8]), Failed> {
    let mut decoder = Decoder {
        postcard: postcard::Deserializer::from_bytes(bytes),
        failed: false,
    };
    let value = T::deserialize(&mut decoder)?;
    if decoder.failed {
        return Err(Failed);
    }
    let rest = decoder.postcard.finalize().map_err(|_| Failed)?;
    Ok((value, rest))
}

/// Reads bytes that are a `T` and nothing else.
///
/// # Errors
/// When they are not.
pub fn whole<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Failed> {
    match take(bytes)? {
        (value, []) => Ok(value),
        _ => Err(Failed),
    }
}

struct Decoder<'de> {
    postcard: postcard::Deserializer<'de, Slice<'de>>,
    /// Whether something was not there. What is read from then on does not matter.
    failed: bool,
}

impl<'de> Decoder<'de> {
    /// The next value as postcard reads it, or a zero.
    #[inline(always)]
    fn next<T: Deserialize<'de> + Default>(&mut self) -> T {
        let value = T::deserialize(&mut self.postcard);
        self.failed |= value.is_err();
        value.unwrap_or_default()
    }

    #[inline(never)]
    fn byte(&mut self) -> u8 {
        self.next()
    }

    #[inline(never)]
    fn short_number(&mut self) -> u16 {
        self.next()
    }

    #[inline(never)]
    fn number(&mut self) -> u32 {
        self.next()
    }

    #[inline(never)]
    fn long_number(&mut self) -> u64 {
        self.next()
    }

    #[inline(never)]
    fn bytes(&mut self) -> &'de [u8] {
        self.next()
    }

    #[inline(never)]
    fn text(&mut self) -> &'de str {
        let text = core::str::from_utf8(self.bytes());
        self.failed |= text.is_err();
        text.unwrap_or_default()
    }

    /// A byte that is 0 or 1.
    fn flag(&mut self) -> bool {
        let byte = self.byte();
        self.failed |= byte > 1;
        byte == 1
    }
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Failed;

    fn is_human_readable(&self) -> bool {
        false
    }

    // Not possible, since the bytes do not say what they are; and types that no message has.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failed> {
        Err(Failed)
    }

    forward_to_deserialize_any! { f32 f64 char string byte_buf map identifier ignored_any }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_bool(self.flag())
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_i8(self.byte() as i8)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_i16(self.next())
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let value = self.number();
        visitor.visit_i32((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_i64(self.next())
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_u8(self.byte())
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_u16(self.short_number())
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_u32(self.number())
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_u64(self.long_number())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_borrowed_bytes(self.bytes())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        if self.flag() {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let left = self.number();
        visitor.visit_seq(Elements {
            decoder: self,
            left,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_enum(self)
    }
}

/// The elements of a sequence, as many as it says.
struct Elements<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    left: u32,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Failed;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Failed> {
        if self.decoder.failed {
            return Err(Failed);
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.decoder).map(Some)
    }
}

/// The fields of a struct or tuple: whoever reads one takes as many as it has.
struct Fields<'d, 'de>(&'d mut Decoder<'de>);

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Failed;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Failed> {
        seed.deserialize(&mut *self.0).map(Some)
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Failed;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Failed> {
        let variant: U32Deserializer<Failed> = self.number().into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failed> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_seq(Fields(self))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_seq(Fields(self))
    }
}
