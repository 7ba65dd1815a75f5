//! An image that is made ready on a node before a task needs it: asked for again and again, pulled once, and told how
//! far it is or why it can't be had.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use podling::api::routes;
use podling::master::images::{NotPrepared, Prepared, ask};
use podling::master::reach::Reach;
use podling::model::node::NodeAddress;
use podling::model::spec::PullPolicy;
use podling::model::task::TaskStatus;
use serde_json::{Value, json};
use support::docker::IMAGE;
use support::part::{LONG, within};
use support::proxy::{Flow, Proxy};
use support::registry::{Registry, Tag};
use support::{Cluster, MasterOptions, WorkerOptions};

/// In all, and in a second.
const BYTES: usize = 96 << 10;
const SPEED: usize = BYTES / 3;

/// How the master reaches a worker.
fn reach(cluster: &Cluster, worker: &str) -> Reach {
    let at = cluster.worker(worker).address;
    let key = cluster.key_of(worker).parse().unwrap();
    Reach { address: NodeAddress { host: at.ip().to_string(), port: at.port() }, key: Some(key), trust: None }
}

fn ask_for(reach: &Reach, image: &str, pull: PullPolicy) -> Result<Prepared, NotPrepared> {
    ask(reach, &image.parse().unwrap(), pull)
}

#[test]
fn an_image_is_pulled_once_for_whoever_asks_and_for_the_task() {
    let registry = Registry::start();
    let tag = registry.push_with_noise(BYTES as u64);
    let way = Proxy::to(registry.socket_address());
    let image = Tag(format!("{}/podling/busybox:{tag}", way.address()));
    way.flows(Flow::Crawls(SPEED));
    // Order: dropped before the image is, which its container holds.
    let cluster = Cluster::with_workers(1);
    let (worker, reach) = (cluster.worker("worker-1"), reach(&cluster, "worker-1"));
    let begun = ask_for(&reach, &image.0, PullPolicy::Always);
    assert_eq!(begun, Ok(Prepared::Pulling { detail: format!("pulling {}", image.0) }));
    let spec = json!({"name": "pulls", "image": image.0, "command": ["true"], "network": "none"});
    let id = cluster.create(&spec).task_id.to_string();

    let mut seen: Vec<String> = Vec::new();
    within(LONG, "it is there", || match ask_for(&reach, &image.0, PullPolicy::Missing).unwrap() {
        Prepared::Present => Some(()),
        Prepared::Pulling { detail } => {
            if seen.last() != Some(&detail) {
                seen.push(detail);
            }
            None
        }
    });
    assert!(seen.iter().filter(|detail| detail.contains(" kB of ")).count() >= 3, "{seen:?}");
    assert_eq!(cluster.wait_for_end(&id).status, TaskStatus::Completed);
    assert_eq!(worker.log().matches(&format!("pulling image={}", image.0)).count(), 1, "{}", worker.log());
    assert_eq!(ask_for(&reach, &image.0, PullPolicy::Never), Ok(Prepared::Present));
}

#[test]
fn an_image_that_can_not_be_had_is_told_in_the_engines_words_and_tried_again() {
    let registry = Registry::start();
    let cluster = Cluster::with_workers(1);
    let (worker, reach) = (cluster.worker("worker-1"), reach(&cluster, "worker-1"));
    let absent = registry.image("absent");
    let settled = |pull: PullPolicy| {
        within(LONG, "it has failed", || match ask_for(&reach, &absent, pull) {
            Ok(Prepared::Pulling { .. }) => None,
            Ok(Prepared::Present) => panic!("nobody has it"),
            Err(error) => Some(error),
        })
    };
    let failed = settled(PullPolicy::Missing);
    let NotPrepared::Failed(why) = &failed else { panic!("{failed:?}") };
    assert!(why.contains("manifest unknown"), "{why}");
    let pulls = || worker.log().matches(&format!("pulling image={absent}")).count();
    assert_eq!((settled(PullPolicy::Missing), pulls()), (failed, 1), "it stands for a while");
    within(LONG, "it is tried again", || {
        let _ = ask_for(&reach, &absent, PullPolicy::Missing);
        (pulls() == 2).then_some(())
    });

    let never = ask_for(&reach, "podling/nowhere:1", PullPolicy::Never);
    let why = "podling/nowhere:1 is not on this node, and it is never to be pulled".to_owned();
    assert_eq!(never, Err(NotPrepared::Failed(why)));
    assert_eq!(ask_for(&reach, IMAGE, PullPolicy::Always), Ok(Prepared::Present));
}

#[test]
fn so_many_pulls_are_remembered_and_what_is_wrong_is_refused() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    let reach = reach(&cluster, "worker-1");
    let image = |number: u32| format!("remote/pull-60000/a:{number}");
    for number in 0..16 {
        let asked = ask_for(&reach, &image(number), PullPolicy::Missing);
        assert!(matches!(asked, Ok(Prepared::Pulling { .. })), "{asked:?}");
    }
    let one_more = ask_for(&reach, &image(16), PullPolicy::Missing);
    assert!(matches!(one_more, Err(NotPrepared::Unreachable(_))), "{one_more:?}");
    assert!(matches!(ask_for(&reach, &image(3), PullPolicy::Missing), Ok(Prepared::Pulling { .. })));

    let client = reach.client().unwrap();
    let refusal = |body: Value| {
        let error = client.post::<Value>(routes::IMAGES, &body, LONG, false).unwrap_err();
        let problem = error.problem().unwrap_or_else(|| panic!("{error}")).clone();
        (problem.status, problem.code.to_string(), problem.retry_after_secs)
    };
    assert_eq!(refusal(json!({"image": image(16)})), (503, "busy".to_owned(), Some(1)));
    for body in [
        json!({}),
        json!({"image": ""}),
        json!({"image": "a", "pull": "often"}),
        json!({"image": "a", "x": 1}),
    ] {
        assert_eq!(refusal(body.clone()).0, 422, "{body}");
    }
    assert!(cluster.worker_mut("worker-1").terminate().success(), "pulls under way hold nobody up");
}
