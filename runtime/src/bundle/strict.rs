//! Reading the OCI types at one go, from the bytes. That is enough for a config in
//! which every value is where the types have one; anything else (a property that
//! they do not know, a list in place of an object, a value of a wrong type) is the
//! business of [`super::form`], which says what it is. Both give the same `Spec`.
//!
//! The adapter stands between the types and serde_json, and only watches.

use crate::plan::capabilities::bit_of;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::fmt;

/// The spec of a config without anything to say about; `None` when there may be something.
pub(super) fn spec(json: &[u8]) -> Option<Spec> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let spec = Spec::deserialize(Strict::<_, false>(&mut reader)).ok()?;
    reader.end().ok()?;
    // `"pids": {}` and a limit of 0 are the same to the types.
    let pids = spec.linux().as_ref().and_then(|l| l.resources().as_ref()).and_then(|r| r.pids().as_ref());
    if pids.is_some_and(|pids| pids.limit() == 0) { None } else { Some(spec) }
}

/// Whatever is read goes through one of these: deserializer, visitor, access. With
/// `NAMES` it is inside of [`CAPABILITIES`].
struct Strict<T, const NAMES: bool = false>(T);

/// The visitor of a struct, which serde would fill from a list as well.
struct Fields<V, const NAMES: bool>(V);

/// The type of which each text is the name of a capability: the types take one
/// without its prefix as well, or in small letters, which the spec does not know.
const CAPABILITIES: &str = "LinuxCapabilities";

const NOT_PLAIN: &str = "not plain";

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) wraps $wrap:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* $wrap::<_, NAMES>(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>, const NAMES: bool> Deserializer<'de> for Strict<D, NAMES> {
    type Error = D::Error;

    forward! {
        deserialize_any() wraps Strict;
        deserialize_bool() wraps Strict;
        deserialize_i8() wraps Strict;
        deserialize_i16() wraps Strict;
        deserialize_i32() wraps Strict;
        deserialize_i64() wraps Strict;
        deserialize_u8() wraps Strict;
        deserialize_u16() wraps Strict;
        deserialize_u32() wraps Strict;
        deserialize_u64() wraps Strict;
        deserialize_f32() wraps Strict;
        deserialize_f64() wraps Strict;
        deserialize_char() wraps Strict;
        deserialize_str() wraps Strict;
        deserialize_string() wraps Strict;
        deserialize_bytes() wraps Strict;
        deserialize_byte_buf() wraps Strict;
        deserialize_option() wraps Strict;
        deserialize_unit() wraps Strict;
        deserialize_unit_struct(name: &'static str) wraps Strict;
        deserialize_newtype_struct(name: &'static str) wraps Strict;
        deserialize_seq() wraps Strict;
        deserialize_tuple(length: usize) wraps Strict;
        deserialize_tuple_struct(name: &'static str, length: usize) wraps Strict;
        deserialize_map() wraps Strict;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) wraps Strict;
        deserialize_identifier() wraps Strict;
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        match name {
            CAPABILITIES => self.0.deserialize_struct(name, fields, Fields::<_, true>(visitor)),
            _ => self.0.deserialize_struct(name, fields, Fields::<_, NAMES>(visitor)),
        }
    }

    /// Serde asks for this where a struct has no such field.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom(NOT_PLAIN))
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

macro_rules! visit_text {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            if NAMES && bit_of(&value).is_none() {
                return Err(E::custom(NOT_PLAIN));
            }
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>, const NAMES: bool> Visitor<'de> for Strict<V, NAMES> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i64(i64);
        visit_u64(u64);
        visit_f64(f64);
    }

    visit_text! {
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict::<_, NAMES>(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict::<_, NAMES>(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict::<_, NAMES>(access))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict::<_, NAMES>(access))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Strict::<_, NAMES>(access))
    }
}

impl<'de, V: Visitor<'de>, const NAMES: bool> Visitor<'de> for Fields<V, NAMES> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(NOT_PLAIN))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict::<_, NAMES>(access))
    }
}

impl<'de, S: DeserializeSeed<'de>, const NAMES: bool> DeserializeSeed<'de> for Strict<S, NAMES> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict::<_, NAMES>(inner))
    }
}

impl<'de, A: SeqAccess<'de>, const NAMES: bool> SeqAccess<'de> for Strict<A, NAMES> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict::<_, NAMES>(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>, const NAMES: bool> MapAccess<'de> for Strict<A, NAMES> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        // Keys are plain text.
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict::<_, NAMES>(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>, const NAMES: bool> EnumAccess<'de> for Strict<A, NAMES> {
    type Error = A::Error;
    type Variant = Strict<A::Variant, NAMES>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(seed).map(|(value, variant)| (value, Strict::<_, NAMES>(variant)))
    }
}

/// The types have no variant that carries anything.
impl<'de, A: VariantAccess<'de>, const NAMES: bool> VariantAccess<'de> for Strict<A, NAMES> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, A::Error> {
        Err(A::Error::custom(NOT_PLAIN))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(NOT_PLAIN))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(NOT_PLAIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(config: &Value) -> Option<Spec> {
        spec(&serde_json::to_vec(config).unwrap())
    }

    fn default() -> Value {
        serde_json::to_value(crate::plan::default_spec()).unwrap()
    }

    #[test]
    fn a_plain_config_is_the_spec_that_the_careful_reader_gives() {
        let profile: Value = serde_json::from_str(include_str!("../../tests/profiles/default.json")).unwrap();
        let mut config = default();
        config["linux"]["seccomp"] = profile;
        config["linux"]["resources"]["pids"] = json!({"limit": 7});
        config["annotations"] = json!({"a": "b"});
        let (careful, warnings) = super::super::spec_of(config.clone(), std::path::Path::new("c")).unwrap();
        assert_eq!(of(&config), Some(careful));
        assert_eq!(warnings, []);
    }

    #[test]
    fn whatever_may_need_words_is_left_to_the_careful_reader() {
        let cases: [(&str, Value); 8] = [
            ("/process/capabilities/permitted", json!(["SYS_ADMIN"])),
            ("/process/capabilities/permitted", json!(["cap_sys_admin"])),
            ("/process/maskedpaths", json!(["/a"])),
            ("/root", json!(["rootfs", true])),
            ("/process/user", json!([0, 0])),
            ("/process/cwd", json!(7)),
            ("/linux/resources/pids", json!({})),
            ("/process/capabilities/bounding", json!(["CAP_NONSENSE"])),
        ];
        for (pointer, value) in cases {
            let mut config = default();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.into(), value);
            assert_eq!(of(&config), None, "{pointer}");
        }
        assert_eq!(spec(b"{} x"), None);
        assert_eq!(spec(b"[]"), None);
    }
}
