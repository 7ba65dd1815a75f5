//! A small builder for JSON Schema (draft 2020-12, the dialect of OpenAPI 3.1).
//!
//! Main type: [`Schema`], one schema, which each method returns with one thing more. It knows the few keywords that the
//! wire needs, so a schema reads like the type that it stands for. Objects are written field by field, `must` for what is
//! always there and `may` for the rest. Invariant: a schema never refuses what a server takes or sends; it may take what a
//! server refuses, where a rule can't be said in JSON Schema (bytes, sums, what belongs together).

use serde_json::{Map, Value, json};

/// One schema.
#[derive(Clone, Debug)]
pub(super) struct Schema(Map<String, Value>);

impl Schema {
    fn of(value: Value) -> Self {
        match value {
            Value::Object(members) => Self(members),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Self(Map::new())
            }
        }
    }

    fn with(mut self, keyword: &str, value: impl Into<Value>) -> Self {
        self.0.insert(keyword.to_owned(), value.into());
        self
    }

    /// Text.
    pub(super) fn text() -> Self {
        Self::of(json!({"type": "string"}))
    }

    /// Text that matches a pattern (ECMA-262).
    pub(super) fn matching(pattern: &str) -> Self {
        Self::text().with("pattern", pattern)
    }

    /// One of these words.
    pub(super) fn words(words: &[&str]) -> Self {
        Self::text().with("enum", words)
    }

    /// A time as the wire writes it.
    pub(super) fn time() -> Self {
        Self::text().with("format", "date-time")
    }

    /// A whole number, within both bounds.
    pub(super) fn number(least: u64, most: u64) -> Self {
        Self::of(json!({"type": "integer", "minimum": least, "maximum": most}))
    }

    /// A whole number of 64 bits, 0 or more.
    pub(super) fn count() -> Self {
        Self::number(0, u64::MAX)
    }

    /// A whole number of 32 bits, with a sign.
    pub(super) fn signed() -> Self {
        Self::of(json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}))
    }

    /// True or false.
    pub(super) fn flag() -> Self {
        Self::of(json!({"type": "boolean"}))
    }

    /// A list.
    pub(super) fn list(items: Self) -> Self {
        Self::of(json!({"type": "array"})).with("items", items)
    }

    /// A map from texts, whose keys and values are as said.
    pub(super) fn map(keys: Self, values: Self) -> Self {
        Self::of(json!({"type": "object"})).with("propertyNames", keys).with("additionalProperties", values)
    }

    /// One or more of these.
    pub(super) fn any_of(schemas: impl IntoIterator<Item = Self>) -> Self {
        Self(Map::new()).with("anyOf", schemas.into_iter().map(Value::from).collect::<Vec<_>>())
    }

    /// Whatever has that name among the document's schemas.
    pub(super) fn named(name: &str) -> Self {
        Self(Map::new()).with("$ref", format!("#/components/schemas/{name}"))
    }

    /// An object without fields yet.
    pub(super) fn object() -> Self {
        Self::of(json!({"type": "object", "properties": {}}))
    }

    /// A field that is always there.
    pub(super) fn must(self, name: &str, doc: &str, schema: Self) -> Self {
        let mut whole = self.may(name, doc, schema);
        match whole.0.get_mut("required") {
            Some(Value::Array(names)) => names.push(name.into()),
            Some(_) | None => whole = whole.with("required", vec![name]),
        }
        whole
    }

    /// A field that may be absent.
    pub(super) fn may(mut self, name: &str, doc: &str, schema: Self) -> Self {
        if let Some(Value::Object(fields)) = self.0.get_mut("properties") {
            fields.insert(name.to_owned(), schema.doc(doc).into());
        }
        self
    }

    /// Refuses every field that wasn't named: a request's body.
    pub(super) fn closed(self) -> Self {
        self.with("additionalProperties", false)
    }

    /// Refuses a field beside another that says this.
    pub(super) fn never_both(self, field: &str, says: &str, other: &str) -> Self {
        self.with("not", json!({"properties": {field: {"const": says}}, "required": [field, other]}))
    }

    /// That a text holds JSON of this schema.
    pub(super) fn holds_json(self, schema: Self) -> Self {
        self.with("contentMediaType", "application/json").with("contentSchema", schema)
    }

    /// What it is, for people.
    pub(super) fn doc(self, text: &str) -> Self {
        self.with("description", text)
    }

    /// What is meant where it is absent.
    pub(super) fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    /// At least so many characters, or items of a list.
    pub(super) fn at_least(self, least: usize) -> Self {
        let keyword = if self.is_list() { "minItems" } else { "minLength" };
        self.with(keyword, least)
    }

    /// At most so many characters, or items of a list.
    pub(super) fn at_most(self, most: usize) -> Self {
        let keyword = if self.is_list() { "maxItems" } else { "maxLength" };
        self.with(keyword, most)
    }

    /// How it looks.
    pub(super) fn example(self, value: impl Into<Value>) -> Self {
        self.with("examples", vec![value.into()])
    }

    fn is_list(&self) -> bool {
        self.0.get("type").is_some_and(|kind| kind == "array")
    }
}

impl From<Schema> for Value {
    fn from(schema: Schema) -> Self {
        Self::Object(schema.0)
    }
}
