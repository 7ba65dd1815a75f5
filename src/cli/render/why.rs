//! Why a task is where it is, as a page.

use std::fmt::Write as _;

use crate::api::wire::why::{BecauseView, NodeFitView, WhyView};
use crate::cli::render::table::Table;
use crate::cli::render::text::{age, visible};
use crate::model::task::TaskStatus;
use crate::model::time::WallTime;

/// The whole answer.
pub(crate) fn page(why: &WhyView, now: WallTime) -> String {
    let mut out = format!("{}\n", visible(&sentence(why, now)));
    if why.status != TaskStatus::Pending {
        return out;
    }
    if !why.nodes.is_empty() {
        out += &nodes(why);
    }
    if why.nodes_total > why.nodes.len() {
        // Writing to a String can't fail.
        let _ = writeln!(out, "and {} more nodes", why.nodes_total - why.nodes.len());
    }
    for way in &why.would_run_if {
        let _ = writeln!(out, "would run if: {}", visible(way));
    }
    out
}

/// `web is pending for 42 s: no node fits (14 looks, last 1 s ago)`.
fn sentence(why: &WhyView, now: WallTime) -> String {
    let since = now.since(why.since);
    let when = if why.status.is_terminal() {
        format!("ended {} ago", age(since))
    } else {
        format!("is {} for {}", why.status.as_str(), age(since))
    };
    let looks = match (why.looks, why.last_look) {
        (0, _) | (_, None) => String::new(),
        (1, Some(last)) => format!(" (1 look, {} ago)", age(now.since(last))),
        (looks, Some(last)) => format!(" ({looks} looks, last {} ago)", age(now.since(last))),
    };
    format!("{} {when}: {}{looks}", why.name, why.summary)
}

fn nodes(why: &WhyView) -> String {
    let mut table = Table::new(&["NODE", "FITS", "BECAUSE"]);
    for NodeFitView { node_id, fits, reasons } in &why.nodes {
        let because: Vec<&str> = reasons.iter().map(|BecauseView { text, .. }| text.as_str()).collect();
        let fits = if *fits { "yes" } else { "no" };
        table.push(vec![node_id.to_string(), fits.to_owned(), because.join("; ")]);
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample::{at, task};

    fn because(text: &str) -> BecauseView {
        BecauseView { code: "x".to_owned(), needs: None, free: None, held_by: None, text: text.to_owned() }
    }

    #[test]
    fn a_task_that_waits_says_what_each_node_lacks() {
        let fit = |node: &str, reasons: &[&str]| NodeFitView {
            node_id: node.parse().unwrap(),
            fits: reasons.is_empty(),
            reasons: reasons.iter().map(|text| because(text)).collect(),
        };
        let why = WhyView {
            task_id: task().task_id,
            name: "web".to_owned(),
            status: TaskStatus::Pending,
            since: at(0),
            summary: "no node fits".to_owned(),
            looks: 14,
            last_look: Some(at(41)),
            nodes: vec![
                fit("worker-1", &["memory: needs 2 GiB, 716.8 MiB free (db holds 1.2 GiB)"]),
                fit("worker-2", &["cordoned", "port 8080 is taken by proxy"]),
            ],
            nodes_total: 2,
            would_run_if: vec!["worker-1 had 1.3 GiB more free".to_owned()],
        };
        assert_eq!(
            page(&why, at(42)),
            "web is pending for 42 s: no node fits (14 looks, last 1 s ago)\n\
             NODE       FITS   BECAUSE\n\
             worker-1   no     memory: needs 2 GiB, 716.8 MiB free (db holds 1.2 GiB)\n\
             worker-2   no     cordoned; port 8080 is taken by proxy\n\
             would run if: worker-1 had 1.3 GiB more free\n"
        );
        let ended = WhyView { status: TaskStatus::Failed, summary: "it failed".to_owned(), looks: 0, ..why };
        assert_eq!(page(&ended, at(42)), "web ended 42 s ago: it failed\n");
    }
}
