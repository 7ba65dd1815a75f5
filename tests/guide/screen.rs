//! Whether two screens say the same, apart from what differs from one run to the next.
//!
//! Made equal are: ids of tasks and containers, points in time, lengths of time, how often a place was looked for,
//! addresses, the Engine's version, and runs of spaces. For `podling top` also what is used, and the bars that
//! show it. All else counts: names, nodes, states, codes, amounts that were asked for, and every word.

/// What lengths of time are told in.
const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

/// Whether what a command showed is what is expected of it. An expected line `...` stands for any lines.
pub(crate) fn matches(command: &str, expected: &str, shown: &str) -> bool {
    let lines = |text: &str| text.lines().map(|line| plain(command, line)).collect::<Vec<_>>();
    are_equal(&lines(expected), &lines(shown))
}

fn are_equal(expected: &[String], shown: &[String]) -> bool {
    match expected.split_first() {
        None => shown.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=shown.len()).any(|skipped| are_equal(rest, &shown[skipped..]))
        }
        Some((first, rest)) => {
            shown.split_first().is_some_and(|(line, left)| first == line && are_equal(rest, left))
        }
    }
}

/// A line without what differs.
fn plain(command: &str, line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(word).collect();
    let mut out: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |before| bare(&words[before]));
        let after = words.get(at + 1).map_or("", |after| bare(after));
        let text = bare(word);
        let instead = if is_number(text) && UNITS.contains(&after) {
            ""
        } else if is_number(before) && UNITS.contains(&text) {
            "AGE"
        } else if ["docker", "podling"].contains(&before) && text.starts_with(|c: char| c.is_ascii_digit()) {
            "VERSION"
        } else if before == "backoff" && text.ends_with('s') {
            "AGE"
        } else if before == "port" && words[0].starts_with('"') {
            "PORT"
        } else {
            text
        };
        out.push(word.replacen(text, instead, 1));
    }
    out.retain(|word| !word.is_empty());
    let line = out.join(" ");
    let line = looks(&line);
    if command.starts_with("podling top") { used(&line) } else { line }
}

/// A word without the signs around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c| "\"'(),:;".contains(c))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// A word by itself: JSON without spaces has several parts.
fn word(word: &str) -> String {
    word.split('"').map(part).collect::<Vec<_>>().join("\"")
}

fn part(word: &str) -> String {
    let text = bare(word);
    let all = |is: fn(char) -> bool| text.chars().all(is);
    let is_id = text.len() == 26 && all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    let is_hex = all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let instead = if is_id {
        "ID"
    } else if is_hex && [12, 64].contains(&text.len()) {
        "CONTAINER"
    } else if text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T' {
        "TIME"
    } else if text.starts_with("127.0.0.1:") {
        "ADDRESS"
    } else {
        text
    };
    if text.is_empty() { word.to_owned() } else { word.replacen(text, instead, 1) }
}

/// `(14 looks, last 1 s ago)` and `(1 look, 1 s ago)` are the same.
fn looks(line: &str) -> String {
    let Some((before, rest)) = line.split_once(" look").and_then(|(before, rest)| {
        let start = before.rfind('(')?;
        Some((&before[..start], rest))
    }) else {
        return line.to_owned();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}(LOOKS){after}")
}

/// A line of `podling top` without what is used: in a node's line the bars, and the first of three amounts; in a task's
/// line all amounts.
fn used(line: &str) -> String {
    let Some((node, bars)) = line.split_once(" [") else {
        let is_used = |word: &&str| is_number(word) || ["%", "B", "KiB", "MiB"].contains(word);
        return line.split(' ').filter(|word| !is_used(word)).collect::<Vec<_>>().join(" ");
    };
    let amounts = bars.split('[').map(|bar| {
        let amounts = bar.split_once("] ").map_or(bar, |(_, amounts)| amounts).trim();
        let (_, rest) =
            amounts.split_once('/').filter(|(_, rest)| rest.contains('/')).unwrap_or(("", amounts));
        format!(" BAR {rest}")
    });
    std::iter::once(node.to_owned()).chain(amounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_made_equal() {
        for (line, is) in [
            (
                "01M89ZJ5480KMPMZV673WY9XT5   web   running 5 s   worker-1   1 m",
                "ID web running AGE worker-1 AGE",
            ),
            (
                "web is pending for 1 s: no node fits (25 looks, last 0 s ago)",
                "web is pending for AGE: no node fits (LOOKS)",
            ),
            (
                "web is pending for 1 s: no node fits (1 look, 0 s ago)",
                "web is pending for AGE: no node fits (LOOKS)",
            ),
            ("\"created_at\": \"2026-02-02T02:40:00.123Z\",", "\"created_at\": \"TIME\","),
            ("[{\"task_id\":\"01M89ZJ5480KMPMZV673WY9XT5\",\"name\"", "[{\"task_id\":\"ID\",\"name\""),
            ("pending: backoff 3s (exit 7, try 3)", "pending: backoff AGE (exit 7, try 3)"),
            ("\"port\": 39951,", "\"port\": PORT,"),
            ("\"engine\": \"docker 20.10.24\",", "\"engine\": \"docker VERSION\","),
            (
                "web (01M89ZJ5480KMPMZV673WY9XT5): now on worker-2, attempt 2",
                "web (ID): now on worker-2, attempt 2",
            ),
            ("worker-1 failed (exit 7) 256 MiB", "worker-1 failed (exit 7) 256 MiB"),
        ] {
            assert_eq!(plain("podling ps", line), is, "{line}");
        }
        let top = "worker-3   online   [#.........] 1/10   [..........] 0.1/0.5/4      [#.........] 340 KiB/64 MiB/8 GiB";
        assert_eq!(plain("podling top", top), "worker-3 online BAR 1/10 BAR 0.5/4 BAR 64 MiB/8 GiB");
    }

    #[test]
    fn dots_stand_for_any_lines_and_all_else_counts() {
        let matches = |expected, shown| matches("podling ps", expected, shown);
        assert!(matches("a\n...\nb\n", "a\nb\n") && matches("a\n...\nb\n", "a\nx\nb\ny\nb\n"));
        assert!(
            !matches("a\n...\nb\n", "a\nb\nc\n") && !matches("a\n", "a\nb\n") && !matches("a\nb\n", "a\n")
        );
        assert!(matches("a   5 s\n", "a  17 m\n") && !matches("worker-1\n", "worker-2\n"));
    }
}
