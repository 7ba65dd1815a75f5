//! Objects are objects: refuses a list where a request's document is to name its fields.
//!
//! What serde derives for a struct takes the fields in their order, too: `["web","nginx"]` for
//! `{"name":"web","image":"nginx"}`. On the wire that would be a second way to say everything, which nobody means and
//! which changes its meaning when a field is added. [`Strict`] stands between the parser and the types: it asks for each
//! struct as before, wherever in the document it is, and takes no list for it. What is flattened into another struct is
//! out of its sight, but no request's type does that.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

/// Anything of serde's that hands values on, watched.
pub(super) struct Strict<T>(pub(super) T);

/// Takes a value; a list only where no struct was asked for.
struct Watched<V> {
    visitor: V,
    takes_lists: bool,
}

const fn watched<V>(visitor: V) -> Watched<V> {
    Watched { visitor, takes_lists: true }
}

macro_rules! asks {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* watched(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    asks! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(count: usize);
        deserialize_tuple_struct(name: &'static str, count: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, Watched { visitor, takes_lists: false })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! passes_on {
    ($($method:ident($kind:ty);)*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<V> {
    type Value = V::Value;

    passes_on! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Strict(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V::Value, A::Error> {
        if self.takes_lists {
            return self.visitor.visit_seq(Strict(items));
        }
        // What isn't even a list is called malformed.
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Err(A::Error::invalid_type(Unexpected::Seq, &"an object"))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Strict(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Strict(variant))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        self.0.variant_seed(Strict(seed)).map(|(value, variant)| (value, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(count, watched(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Watched { visitor, takes_lists: false })
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.0.deserialize(Strict(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::agent::{HeartbeatRequest, ReportsRequest};
    use super::super::spec::TaskRequest;
    use super::super::task::StopRequest;
    use super::super::{MistakeKind, read};

    #[test]
    fn no_list_is_taken_for_an_object_wherever_it_is() {
        let refused = |mistake: Option<super::super::Mistake>, field: &str| {
            let mistake = mistake.expect("it is refused");
            assert_eq!((mistake.kind, mistake.field.as_str()), (MistakeKind::Invalid, field), "{mistake}");
            assert!(mistake.why.contains("invalid type: sequence, expected"), "{mistake}");
        };
        refused(read::<StopRequest>(b"[]").err(), "");
        refused(read::<StopRequest>(b"[5]").err(), "");
        refused(read::<TaskRequest>(br#"["web","nginx"]"#).err(), "");
        refused(read::<Vec<TaskRequest>>(br#"[["web","nginx"]]"#).err(), "[0]");
        let nested = br#"{"name":"a","image":"b","ports":[{"host":1,"container":2},[80,80,"tcp"]]}"#;
        refused(read::<TaskRequest>(nested).err(), "ports[1]");
        refused(read::<TaskRequest>(br#"{"name":"a","image":"b","restart":["always"]}"#).err(), "restart");
        let reports =
            br#"{"incarnation":1,"epoch":1,"reports":[[1,"01JD0000000000000000000001",1,"running"]]}"#;
        refused(read::<ReportsRequest>(reports).err(), "reports[0]");
        refused(read::<HeartbeatRequest>(br#"["a",1,1,1,1,true,[]]"#).err(), "");
        for malformed in ["[", "[1,", "[1}", "[{]"] {
            let mistake = read::<StopRequest>(malformed.as_bytes()).expect_err("it is refused");
            assert_eq!(mistake.kind, MistakeKind::Malformed, "{malformed}: {mistake}");
        }
    }

    #[test]
    fn lists_and_maps_are_taken_where_they_are_meant() {
        let task = br#"{"name":"a","image":"b","command":["a","b"],"env":{"A":"B"},"ports":[{"host":1,"container":2}]}"#;
        let read_back = read::<TaskRequest>(task).unwrap();
        assert_eq!(read_back.command.unwrap().len(), 2);
        assert_eq!(read::<Vec<StopRequest>>(br#"[{},{"grace_ms":5}]"#).unwrap().len(), 2);
        let raw: Vec<&serde_json::value::RawValue> = super::super::read_borrowed(b"[[1],{}]").unwrap();
        assert_eq!(raw[0].get(), "[1]");
    }
}
