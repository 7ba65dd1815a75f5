//! Values that fit a schema of the OpenAPI document, and values that don't.
//!
//! What a schema is a pattern for comes from a list of texts, of which the first that fits is taken: so nothing here has
//! to know the patterns. Numbers stay small, so that no request makes a hundred thousand tasks.

use serde_json::{Map, Value, json};

use super::rng::Rng;

/// Texts that people and the program choose.
const TEXTS: &[&str] = &[
    "web",
    "worker-1",
    "01JD0000000000000000000001",
    "nginx:latest",
    "/srv",
    "7-42",
    "tier=web",
    "2026-02-02T02:40:00.123Z",
];

/// Texts that mean ill.
const HOSTILE: &[&str] = &[
    "",
    "\0",
    "\r\nX-Injected: 1",
    "../../../etc/passwd",
    "$(reboot)",
    "`id`",
    "'; DROP TABLE tasks; --",
    "${jndi:ldap://127.0.0.1/a}",
    "%s%n%x",
    "\u{202e}\u{feff}\u{1f4a5}",
    "\u{1b}]0;title\u{7}\u{1b}[2J",
    "null",
    "NaN",
    "-1",
    "a\\",
    "podling.task=1",
];

/// A value that fits.
pub(crate) fn fitting(document: &Value, schema: &Value, rng: &mut Rng) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#'));
        return fitting(document, found.unwrap_or(&Value::Null), rng);
    }
    if let Some(one) = schema["anyOf"].as_array().and_then(|any| rng.pick(any)) {
        return fitting(document, one, rng);
    }
    if let Some(word) = schema["enum"].as_array().and_then(|words| rng.pick(words)) {
        return word.clone();
    }
    match schema["type"].as_str() {
        Some("object") => object(document, schema, rng),
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(0) + rng.within(0, 3);
            (0..count).map(|_| fitting(document, &schema["items"], rng)).collect()
        }
        Some("integer") => json!(schema["minimum"].as_i64().unwrap_or(0).max(0) + rng.within(0, 3) as i64),
        Some("boolean") => json!(rng.permille(500)),
        Some(_) | None => text(schema),
    }
}

fn object(document: &Value, schema: &Value, rng: &mut Rng) -> Value {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut made = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) || rng.permille(250) {
            made.insert(name.clone(), fitting(document, field, rng));
        }
    }
    if schema["additionalProperties"].is_object() {
        made.insert("a".to_owned(), fitting(document, &schema["additionalProperties"], rng));
    }
    made.into()
}

fn text(schema: &Value) -> Value {
    if let Some(example) = schema["examples"].get(0) {
        return example.clone();
    }
    let mut schema = schema.clone();
    schema["type"] = "string".into();
    let fits = jsonschema::draft202012::options().build(&schema);
    let found = fits.ok().and_then(|fits| TEXTS.iter().find(|text| fits.is_valid(&json!(text))));
    json!(found.unwrap_or(&"a"))
}

/// A value that hardly fits anywhere.
pub(crate) fn hostile(rng: &mut Rng) -> Value {
    let numbers =
        [json!(-1), json!(1.5), json!(u64::MAX), json!(i64::MIN), json!(4_294_967_296_u64), json!(1e300)];
    match rng.within(0, 9) {
        0 => Value::Null,
        1 => json!(rng.permille(500)),
        2 | 3 => rng.pick(&numbers).cloned().unwrap_or_default(),
        4 => json!([]),
        5 => json!({}),
        6 => json!("a".repeat(rng.within(1, 70_000) as usize)),
        7 => (0..rng.within(1, 100)).fold(json!(1), |inner, _| json!([inner])),
        _ => json!(hostile_text(rng)),
    }
}

/// A text that means ill.
pub(crate) fn hostile_text(rng: &mut Rng) -> &'static str {
    rng.pick(HOSTILE).copied().unwrap_or_default()
}

/// Spoils one place of a value. `spares` names a field that stays as it is.
pub(crate) fn spoil(value: &mut Value, spares: &str, rng: &mut Rng) {
    let goes_deeper = rng.permille(600);
    match value {
        Value::Object(members) if !members.is_empty() && goes_deeper => {
            let names: Vec<String> = members.keys().filter(|name| *name != spares).cloned().collect();
            let Some(name) = rng.pick(&names) else { return };
            match rng.within(0, 6) {
                0 => drop(members.remove(name)),
                1 => drop(members.insert(hostile_text(rng).to_owned(), json!(1))),
                _ => members.get_mut(name).into_iter().for_each(|member| spoil(member, spares, rng)),
            }
        }
        Value::Array(items) if !items.is_empty() && goes_deeper => {
            let at = rng.within(0, items.len() as u64) as usize;
            spoil(&mut items[at], spares, rng);
        }
        Value::Object(members) if members.contains_key(spares) => {
            members.insert("colour".to_owned(), hostile(rng));
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = hostile(rng),
    }
}
