//! Text that is safe to show: control characters made visible, ages as people say them, JSON laid out.
//!
//! A name, an error or a label may hold what a terminal obeys: escape sequences, carriage returns, marks that turn
//! the direction of writing. [`visible`] is where they end. It leaves all other text alone, so that it can be applied
//! to what is shown without a thought.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// A character that a terminal would obey, or that would make a text look like another one.
const fn is_hidden(c: char) -> bool {
    // Controls; line and paragraph separators; marks that turn the direction of writing.
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of text without anything that a terminal would obey: `\n`, `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// As [`visible`], with its line breaks left alone: for messages of our own that hold lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

fn escaped(text: &str, is_hidden: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let show = |mut out: String, c: char| {
        if is_hidden(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    };
    Cow::Owned(text.chars().fold(String::with_capacity(text.len() + 8), show))
}

/// A JSON document without raw control characters, which mean the same when escaped.
pub(crate) fn json(document: &str) -> String {
    document.chars().fold(String::with_capacity(document.len()), |mut out, c| {
        if is_hidden(c) && !c.is_ascii() || c == '\u{7f}' {
            // Writing to a String can't fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// A JSON document laid out over lines, its members in the order that they came in.
pub(crate) fn pretty_json(document: &str) -> String {
    let (mut out, mut depth, mut in_string, mut is_escaped) = (String::new(), 0_usize, false, false);
    let mut rest = document.chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        if in_string {
            (in_string, is_escaped) = (c != '"' || is_escaped, c == '\\' && !is_escaped);
            out.push(c);
            continue;
        }
        match c {
            ' ' => {}
            '{' | '[' => {
                while rest.next_if_eq(&' ').is_some() {}
                out.push(c);
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    json(&out)
}

/// A length of time in its largest unit: `5 s`, `3 m`, `47 h`, `2 d`.
pub(crate) fn age(age: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match age.as_secs() {
        secs if secs < MINUTE => format!("{secs} s"),
        secs if secs < HOUR => format!("{} m", secs / MINUTE),
        secs if secs < 2 * DAY => format!("{} h", secs / HOUR),
        secs => format!("{} d", secs / DAY),
    }
}

/// A text cut to a number of characters, the last of which then is `…`.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        assert_eq!(visible("plain ä 漢"), "plain ä 漢");
        assert_eq!(visible("\u{1b}[31mred\n\0\u{9b}"), "\\u{1b}[31mred\\n\\u{0}\\u{9b}");
        assert_eq!(visible("a\u{202e}b\u{7f}"), "a\\u{202e}b\\u{7f}");
        assert_eq!(visible_lines("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn json_stays_the_same_document() {
        let document = r#"{"b":"x,{\"}: y\\","a":[],"c":{ },"d":[1,{"e":null}]}"#;
        let laid_out = "{\n  \"b\": \"x,{\\\"}: y\\\\\",\n  \"a\": [],\n  \"c\": {},\n  \"d\": [\n    1,\n    {\n      \
                        \"e\": null\n    }\n  ]\n}";
        assert_eq!(pretty_json(document), laid_out);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&pretty_json(document)), value(document));
        let hostile = "{\"error\":\"\u{9b}31m\u{7f}\u{202e}\"}";
        assert_eq!(json(hostile), r#"{"error":"\u009b31m\u007f\u202e"}"#);
        assert_eq!(value(&json(hostile)), value(hostile));
    }

    #[test]
    fn ages_are_said_in_one_unit() {
        let said = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(|secs| age(Duration::from_secs(secs)));
        assert_eq!(said, ["0 s", "59 s", "1 m", "59 m", "1 h", "47 h", "2 d"]);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(shortened("abcd", 4), "abcd");
        assert_eq!(shortened("abcde", 4), "abc…");
    }
}
