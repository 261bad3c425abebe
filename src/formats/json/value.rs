//! JSON values without detours: names are shared between records, numbers keep their digits, nothing is dropped.

use std::sync::Arc;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::super::names::Names;
use crate::record::{Entries, Key, Value};

/// Under this name serde_json (`arbitrary_precision`) hands out the digits of a number.
const DIGITS: &str = "$serde_json::private::Number";

/// The value that `bytes` are; nothing may follow it.
pub(super) fn parse(bytes: &[u8], names: &mut Names) -> Result<Value<'static>, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(names).deserialize(&mut from)?;
    from.end().map(|()| value)
}

struct Seed<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'static>;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

/// A name, without a copy where the text stands in the document as it is.
struct Name<'n>(&'n mut Names);

enum Named {
    Digits,
    Key(Key),
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Named;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Named, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Named;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E>(self, text: &str) -> Result<Named, E> {
        Ok(if text == DIGITS { Named::Digits } else { Named::Key(self.0.key(text)) })
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'static>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Value::Digits(n.to_string().into()))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(Value::Digits(n.to_string().into()))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::owned(text))
    }
    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Value::owned(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0))? {
            out.push(item);
        }
        Ok(Value::List(Arc::new(out)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut out = Entries::new();
        while let Some(name) = entries.next_key_seed(Name(self.0))? {
            match name {
                Named::Digits => return Ok(Value::Digits(entries.next_value::<String>()?.into())),
                Named::Key(key) => out.push((key, entries.next_value_seed(Seed(self.0))?)),
            }
        }
        Ok(Value::map(out))
    }
}
