//! Tokens: a line of a table each, without their text, which nobody has any more.

use crate::api::wire::format_time;
use crate::api::wire::token::TokenView;
use crate::cli::render::list::Shown;
use crate::cli::render::text::age;
use crate::model::time::WallTime;

impl Shown for TokenView {
    const HEADER: &'static [&'static str] = &["TOKEN", "MAY", "AGE", "UNTIL", "LABEL"];
    const WIDE_HEADER: &'static [&'static str] = &["TOKEN", "MAY", "AGE", "UNTIL", "LABEL", "MADE BY"];

    fn id(&self) -> &str {
        self.token_id.as_str()
    }

    fn name(&self) -> &str {
        self.token_id.as_str()
    }

    fn cells(&self, now: WallTime, is_wide: bool) -> Vec<String> {
        let mut cells = vec![
            self.token_id.to_string(),
            may(self),
            age(now.since(self.created_at)),
            self.expires_at.map_or_else(String::new, |end| {
                if end <= now { "expired".to_owned() } else { format_time(end) }
            }),
            self.label.clone().unwrap_or_default(),
        ];
        if is_wide {
            cells.push(self.made_by.as_ref().map_or_else(|| "the master".to_owned(), ToString::to_string));
        }
        cells
    }
}

/// What it is good for, in a word or two.
fn may(token: &TokenView) -> String {
    match (&token.scope, &token.node_id) {
        (Some(scope), _) => scope.to_string(),
        (None, Some(node)) => format!("be {node}"),
        (None, None) => "join".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Scope;

    #[test]
    fn a_line_says_what_a_token_may_and_for_how_long() {
        let token = TokenView {
            token_id: "01JD0000000000000000000000".parse().unwrap(),
            kind: "user".to_owned(),
            scope: Some(Scope::Submit),
            node_id: None,
            label: Some("CI".to_owned()),
            created_at: WallTime::from_unix_millis(0),
            expires_at: Some(WallTime::from_unix_millis(60_000)),
            made_by: None,
        };
        let cells = |token: &TokenView, at| token.cells(WallTime::from_unix_millis(at), true)[1..].to_vec();
        assert_eq!(cells(&token, 30_000), ["submit", "30 s", "1970-01-01T00:01:00.000Z", "CI", "the master"]);
        assert_eq!(cells(&token, 60_000)[2], "expired");
        let node = TokenView { scope: None, node_id: Some("n1".parse().unwrap()), ..token.clone() };
        assert_eq!(cells(&node, 0)[0], "be n1");
        assert_eq!(cells(&TokenView { scope: None, ..token }, 0)[0], "join");
    }
}
