//! What a file may hold, and where a mistake is found in it.

use super::*;

const WHOLE: &str = r#"
# Everything that there is.
[[task]]
name = "web"
image = "nginx:1"
command = ["nginx", "-g", "daemon off;"]
env = { MODE = "fast" }
labels = { team = "a" }
ports = ["8080:80", "53:53/udp"]
cpu = "500m"
memory = "256Mi"
network = "bridge"
mounts = ["/srv/x:/x", "/srv/y:/y:ro"]
capabilities = ["NET_ADMIN"]
pull = "missing"
user = "nobody"
workdir = "/srv"
constraints = { disk = "ssd" }
restart = "on-failure:3"
on_node_lost = "reschedule"
pending_timeout = "5m"
stop_grace = "10s"
"#;

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// A task with one line more, which is the fourth.
fn task(line: &str) -> String {
    format!("[[task]]\nname = \"web\"\nimage = \"nginx\"\n{line}\n")
}

#[test]
fn every_key_has_its_field() {
    let wishes = parse(WHOLE).unwrap();
    assert_eq!((wishes.len(), wishes[0].line), (1, 4));
    assert_eq!(
        serde_json::to_string(&wishes[0].request).unwrap(),
        r#"{"name":"web","image":"nginx:1","command":["nginx","-g","daemon off;"],"env":{"MODE":"fast"},"labels":{"team":"a"},"ports":[{"host":8080,"container":80,"protocol":"tcp"},{"host":53,"container":53,"protocol":"udp"}],"cpu_millis":500,"memory_bytes":268435456,"network":"bridge","pull":"missing","user":"nobody","workdir":"/srv","constraints":{"disk":"ssd"},"restart":{"policy":"on-failure","max":3},"on_node_lost":"reschedule","pending_timeout_ms":300000,"stop_grace_ms":10000,"mounts":[{"source":"/srv/x","target":"/x"},{"source":"/srv/y","target":"/y","read_only":true}],"capabilities":["NET_ADMIN"]}"#
    );
    for key in KEYS.iter().filter(|key| **key != "count") {
        assert!(WHOLE.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn equals_have_numbers() {
    let wishes = parse(&task("count = 2")).unwrap();
    let requests: Vec<String> =
        wishes.iter().map(|wish| serde_json::to_string(&wish.request).unwrap()).collect();
    assert_eq!(
        requests,
        [
            r#"{"name":"web-0","image":"nginx","env":{"PODLING_INDEX":"0"}}"#,
            r#"{"name":"web-1","image":"nginx","env":{"PODLING_INDEX":"1"}}"#
        ]
    );
}

#[test]
fn a_mistake_is_told_with_its_line_and_column() {
    for (line, says) in [
        ("imge = \"x\"", "4:1: unknown key \"imge\": did you mean image?"),
        ("colour = \"x\"", "4:1: unknown key \"colour\""),
        ("cpu = 2", "4:7: cpu: must be a text in quotes, not a value of type integer"),
        ("cpu = \"500mm\"", "4:7: cpu: \"500mm\" is not an amount of CPU (500m, or 1.5 cores)"),
        ("memory = \"1e9Gi\"", "4:10: memory: \"1e9Gi\" is not a size"),
        ("image = \"nginx\"", "4:1: duplicate key"),
        ("ports = \"8080:80\"", "4:9: ports: must be a list: [\"…\"]"),
        ("ports = [\"80:80\", \"80\"]", "4:19: ports: \"80\" must be HOST:CONTAINER"),
        ("ports = [\"80:1\", \"80:2\"]", "4:9: ports: host port 80/tcp is asked for twice"),
        ("ports = [\"80:80\"]\nnetwork = \"none\"", "4:9: ports: the network none has no ports to publish"),
        ("env = { A = \"1\", B = 2 }", "4:22: env: must be a text in quotes, not a value of type integer"),
        ("env = [\"A=1\"]", "4:7: env: must be a table: { KEY = \"VALUE\" }"),
        (
            "labels = { a = \"1\", \"podling.x\" = \"2\" }",
            "4:21: labels: \"podling.x\": keys beginning podling.",
        ),
        ("restart = \"never:3\"", "4:11: restart: \"never:3\": never takes no number"),
        ("on_node_lost = \"cry\"", "4:16: on_node_lost: \"cry\" must be fail or reschedule"),
        ("stop_grace = \"soon\"", "4:14: stop_grace: \"soon\" is not a duration"),
        ("count = \"3\"", "4:9: count: must be a number without quotes"),
        ("count = 0", "4:9: count: \"0\" must be 1 to 100000"),
        ("count = 2\nenv = { PODLING_INDEX = \"7\" }", "5:7: env: PODLING_INDEX is what count sets"),
        ("command = [\"ä\", 1]", "4:17: command: must be a text in quotes"),
        ("[[tsk]]", "4:3: unknown key \"tsk\": did you mean task?"),
        ("user = \"x", "4:10: "),
    ] {
        let error = refused(&task(line));
        assert!(error.starts_with(says), "{line}: {error}");
        assert_eq!(error.lines().count(), 1, "{line}: {error}");
    }
}

#[test]
fn a_file_without_a_task_is_a_mistake() {
    assert_eq!(refused(""), "1:1: there is no [[task]] in it");
    assert_eq!(refused("# nothing\n"), "1:1: there is no [[task]] in it");
    assert_eq!(refused("task = 3\n"), "1:8: task must be written as [[task]]");
    assert_eq!(refused("[task]\nname = \"a\"\n"), "1:1: task must be written as [[task]]");
    assert_eq!(refused("[[task]]\nname = \"a\"\n"), "1:1: image is missing");
    assert_eq!(refused("\n [[task]]\nimage = \"a\"\n"), "2:2: name is missing");
}

#[test]
fn two_tasks_of_one_name_are_refused_with_both_lines() {
    let twice = format!("{}{}", task(""), task(""));
    assert_eq!(refused(&twice), "6:8: name: \"web\" is also what line 2 makes");
    let numbered = format!("{}[[task]]\nname = \"web-1\"\nimage = \"x\"\n", task("count = 2"));
    assert_eq!(refused(&numbered), "6:8: name: \"web-1\" is also what line 2 makes");
    let other = format!("{}[[task]]\nname = \"web-2\"\nimage = \"x\"\n", task("count = 2"));
    assert_eq!(parse(&other).unwrap().len(), 3);
}

#[test]
fn no_file_asks_for_more_than_a_batch_holds() {
    let more = format!("{}[[task]]\nname = \"one\"\nimage = \"x\"\n", task("count = 100000"));
    assert_eq!(refused(&more), "6:8: a file may ask for 100000 tasks at most");
}
