//! One route's entry in the document: what it takes, what it answers, and what it needs.
//!
//! Main type: [`Operation`], which the tables [`super::master`] and [`super::worker`] fill in. What follows from the rest
//! is added here: a body can be malformed, a query can hold what nobody knows, a token can be missing, and the gate may
//! refuse any request ([`Code::is_the_gates`](super::problems::Code)). Answers of one status with the same codes are
//! written once, among the document's components.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::problems::{self, CODES};
use super::schema::Schema;
use crate::model::access::Needs;

/// The answers that refuse, by their names among the components.
pub(super) type Refusals = BTreeMap<String, Value>;

/// One route's entry.
pub(super) struct Operation {
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
    codes: BTreeSet<&'static str>,
}

impl Operation {
    /// An entry without anything. `id` never changes: clients are made from it.
    pub(super) fn new(id: &'static str, summary: &'static str, description: &'static str) -> Self {
        let (parameters, answers, codes) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { id, summary, description, parameters, body: None, answers, codes }
    }

    /// What the path's word stands for.
    pub(super) fn path(mut self, doc: &str, schema: Schema) -> Self {
        self.parameters.push(parameter("path", "id", doc, schema));
        self.refuses(&["malformed_path"])
    }

    /// A parameter of the query; a list may be given again.
    pub(super) fn query(mut self, name: &str, doc: &str, schema: Schema) -> Self {
        self.parameters.push(parameter("query", name, doc, schema));
        self.refuses(&["malformed_query", "invalid", "unknown_parameter"])
    }

    /// A header of the request.
    pub(super) fn header(mut self, name: &str, doc: &str, schema: Schema) -> Self {
        self.parameters.push(parameter("header", name, doc, schema));
        self
    }

    /// A body that has to be there.
    pub(super) fn takes(self, schema: Schema) -> Self {
        self.body(true, schema)
    }

    /// A body that may be absent.
    pub(super) fn may_take(self, schema: Schema) -> Self {
        self.body(false, schema)
    }

    fn body(mut self, required: bool, schema: Schema) -> Self {
        let content = json!({"application/json": {"schema": Value::from(schema)}});
        self.body = Some(json!({"required": required, "content": content}));
        self.refuses(&["malformed_json", "unsupported_media_type", "invalid"])
    }

    /// A JSON answer.
    pub(super) fn answers(mut self, status: u16, doc: &str, schema: Schema) -> Self {
        let content = json!({"application/json": {"schema": Value::from(schema)}});
        self.answers.push((status, json!({"description": doc, "content": content})));
        self
    }

    /// An answer without a body.
    pub(super) fn answers_empty(mut self, status: u16, doc: &str) -> Self {
        self.answers.push((status, json!({"description": doc})));
        self
    }

    /// An answer that may be streamed, in one of several media types, each with its schema. Where an answer holds many
    /// JSON documents, `x-podling-parts` is the schema of one of them.
    pub(super) fn streams(mut self, doc: &str, media: &[(&str, Schema, Option<Schema>)]) -> Self {
        let content: Map<String, Value> = media
            .iter()
            .map(|(kind, whole, parts)| {
                let mut media = json!({"schema": Value::from(whole.clone())});
                if let Some(parts) = parts {
                    media["x-podling-parts"] = parts.clone().into();
                }
                ((*kind).to_owned(), media)
            })
            .collect();
        self.answers.push((200, json!({"description": doc, "content": content})));
        self
    }

    /// A header of the answers so far.
    pub(super) fn tells(mut self, name: &str, doc: &str) -> Self {
        for (_, answer) in &mut self.answers {
            answer["headers"][name] = json!({"description": doc, "schema": {"type": "string"}});
        }
        self
    }

    /// Problem codes that it may be answered with.
    pub(super) fn refuses(mut self, codes: &[&'static str]) -> Self {
        debug_assert!(codes.iter().all(|code| problems::find(code).is_some()), "not listed: {codes:?}");
        self.codes.extend(codes);
        self
    }

    /// The entry as the document holds it.
    pub(super) fn render(mut self, method: &str, needs: Needs, refusals: &mut Refusals) -> Value {
        self.codes.extend(refused_by(needs));
        let mut answers = Map::new();
        for (status, answer) in &self.answers {
            answers.insert(status.to_string(), answer.clone());
        }
        for (status, name) in self.refusals(method, refusals) {
            answers.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
        }
        let mut entry = json!({
            "operationId": self.id, "summary": self.summary, "description": self.description,
            "responses": answers, "security": security(needs), "x-podling-scope": scope(needs),
        });
        if !self.parameters.is_empty() {
            entry["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            entry["requestBody"] = body;
        }
        entry
    }

    /// Makes sure that each refusal is among the components; gives their statuses and names.
    fn refusals(&self, method: &str, refusals: &mut Refusals) -> Vec<(u16, String)> {
        let has = |one: &&problems::Code| {
            let needs_length = one.status == 411 && method != "POST";
            self.codes.contains(one.code) || (one.is_the_gates && !needs_length)
        };
        let mut by_status: BTreeMap<u16, Vec<&problems::Code>> = BTreeMap::new();
        for code in CODES.iter().filter(has) {
            by_status.entry(code.status).or_default().push(code);
        }
        let name = |(status, codes): (u16, Vec<&problems::Code>)| {
            let own = codes.iter().filter(|one| !one.is_the_gates).map(|one| format!(".{}", one.code));
            let name = format!("Problem{status}{}", own.collect::<String>());
            refusals.entry(name.clone()).or_insert_with(|| refusal(status, &codes));
            (status, name)
        };
        by_status.into_iter().map(name).collect()
    }
}

/// What may be said to whoever doesn't show what is needed.
const fn refused_by(needs: Needs) -> &'static [&'static str] {
    match needs {
        Needs::Nothing => &[],
        Needs::Scope(_) | Needs::Join => {
            &["no_token", "unknown_token", "token_expired", "scope", "wrong_tokens"]
        }
        Needs::Node => &["no_token", "unknown_token", "token_expired", "foreign_node", "wrong_tokens"],
        Needs::Master => &["no_token", "unknown_token"],
        Needs::MasterOrTicket => &["no_token", "unknown_token", "token_expired"],
    }
}

fn parameter(place: &str, name: &str, doc: &str, schema: Schema) -> Value {
    let schema = Value::from(schema);
    let mut parameter = json!({"name": name, "in": place, "required": place == "path", "description": doc});
    if schema["type"] == "array" {
        (parameter["style"], parameter["explode"]) = ("form".into(), true.into());
    }
    parameter["schema"] = schema;
    parameter
}

fn refusal(status: u16, codes: &[&problems::Code]) -> Value {
    let words: Vec<&str> = codes.iter().map(|one| one.code).collect();
    let meanings: Vec<String> = codes.iter().map(|one| format!("`{}`: {}", one.code, one.means)).collect();
    let narrow = json!({"properties": {"status": {"const": status}, "code": {"enum": words}}});
    let schema = json!({"allOf": [Value::from(Schema::named("Problem")), narrow]});
    let mut refusal = json!({
        "description": format!("{}. {}.", problems::title(status), meanings.join("; ")),
        "content": {"application/problem+json": {"schema": schema}},
    });
    let header = |name: &str, doc: &str, kind: &str| json!({name: {"description": doc, "required": true, "schema": {"type": kind}}});
    match status {
        401 => refusal["headers"] = header("WWW-Authenticate", "`Bearer`.", "string"),
        429 | 503 => refusal["headers"] = header("Retry-After", "In seconds.", "integer"),
        _ => {}
    }
    refusal
}

/// What a request must show, as `security`: one of the ways.
fn security(needs: Needs) -> Value {
    match needs {
        Needs::Nothing => json!([]),
        Needs::Scope(scope) => json!([{"token": [scope.as_str()]}]),
        Needs::Node => json!([{"nodeToken": []}]),
        Needs::Join => json!([{"joinSecret": []}, {"nodeToken": []}, {"token": ["admin"]}]),
        Needs::Master => json!([{"nodeKey": []}]),
        Needs::MasterOrTicket => json!([{"nodeKey": []}, {"logsTicket": []}]),
    }
}

/// The same in one word.
fn scope(needs: Needs) -> &'static str {
    match needs {
        Needs::Nothing => "nothing",
        Needs::Scope(scope) => scope.as_str(),
        Needs::Node => "node",
        Needs::Join => "join",
        Needs::Master => "master",
        Needs::MasterOrTicket => "master_or_ticket",
    }
}
