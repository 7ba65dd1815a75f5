//! The attempts that a task had before the one that counts now, as a small table.

use crate::api::wire::format_time;
use crate::api::wire::task::PastView;
use crate::cli::render::table::Table;
use crate::model::task::Reason;

const HEADER: &[&str] = &["ATTEMPT", "NODE", "STARTED", "ENDED", "EXIT", "REASON"];

/// A line for each, oldest first. Empty where there was none: no table says that best.
pub(crate) fn table(attempts: &[PastView]) -> String {
    if attempts.is_empty() {
        return String::new();
    }
    let mut table = Table::new(HEADER);
    for past in attempts {
        table.push(vec![
            past.attempt.to_string(),
            past.node_id.to_string(),
            past.started_at.map(format_time).unwrap_or_default(),
            format_time(past.finished_at),
            past.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            past.reason.map(Reason::as_str).unwrap_or_default().to_owned(),
        ]);
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample::at;
    use crate::model::id::Attempt;

    #[test]
    fn a_line_for_each() {
        let past = |attempt, started_at, exit_code, reason| PastView {
            attempt: Attempt(attempt),
            node_id: "worker-1".parse().unwrap(),
            container_id: None,
            scheduled_at: at(0),
            started_at,
            finished_at: at(60),
            exit_code,
            reason,
            error: None,
        };
        let attempts = [
            past(9, Some(at(1)), Some(137), Some(Reason::OomKilled)),
            past(10, None, None, Some(Reason::ImagePull)),
            past(11, Some(at(1)), Some(0), None),
        ];
        assert_eq!(
            table(&attempts),
            "\
ATTEMPT   NODE       STARTED                    ENDED                      EXIT   REASON
9         worker-1   2026-02-02T02:40:01.000Z   2026-02-02T02:41:00.000Z   137    oom_killed
10        worker-1   -                          2026-02-02T02:41:00.000Z   -      image_pull
11        worker-1   2026-02-02T02:40:01.000Z   2026-02-02T02:41:00.000Z   0      -
"
        );
        assert_eq!(table(&[]), "");
    }
}
