//! Following a pull: lines of JSON about each layer, and the one that says what went wrong.
//!
//! `POST /images/create` answers 200 before anything is fetched; whether it worked is told inside the stream.
//! A pull takes as long as it takes: only silence ends it early, because large images over slow lines are
//! ordinary. Without a tag or a digest the API would pull every tag there is, so [`Source`] always names one.

use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read};
use std::time::Duration;

use serde::Deserialize;

use crate::engine::{EngineError, PullProgress};
use crate::model::spec::ImageRef;

/// What to pull, as the API's two parameters say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source<'a> {
    /// `fromImage`: registry and path.
    pub(super) repository: &'a str,
    /// `tag`: a tag or a digest.
    pub(super) version: &'a str,
}

impl<'a> Source<'a> {
    /// Takes a reference apart. A digest beats the tag beside it; neither means `latest`.
    pub(super) fn of(image: &'a ImageRef) -> Self {
        let (name, digest) = match image.as_str().split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image.as_str(), None),
        };
        let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match name[path_start..].find(':') {
            Some(colon) => (&name[..path_start + colon], &name[path_start + colon + 1..]),
            None => (name, "latest"),
        };
        Self { repository, version: digest.unwrap_or(tag) }
    }
}

/// One line of the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    id: String,
    status: String,
    #[serde(rename = "progressDetail")]
    progress: Detail,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: u64,
    total: u64,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: String,
}

impl Line {
    /// The registry's words, if this line is about a failure.
    fn failure(self) -> Option<String> {
        self.error_detail.map(|detail| detail.message).or(self.error)
    }
}

/// How far each layer has come.
#[derive(Debug, Default)]
struct Layers(HashMap<String, PullProgress>);

impl Layers {
    /// Takes in a line. True if a byte moved.
    fn note(&mut self, line: &Line) -> bool {
        match line.status.as_str() {
            "Downloading" => {
                let Detail { current, total } = line.progress;
                let progress = PullProgress { current_bytes: current, total_bytes: total };
                self.0.insert(line.id.clone(), progress) != Some(progress)
            }
            "Download complete" => match self.0.get_mut(&line.id) {
                Some(layer) => {
                    std::mem::replace(&mut layer.current_bytes, layer.total_bytes) != layer.total_bytes
                }
                None => false,
            },
            _ => false,
        }
    }

    fn sum(&self) -> PullProgress {
        self.0.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            current_bytes: sum.current_bytes.saturating_add(layer.current_bytes),
            total_bytes: sum.total_bytes.saturating_add(layer.total_bytes),
        })
    }
}

/// Reads the stream to its end. `stall` is the silence after which the source gives up.
pub(super) fn follow(
    image: &ImageRef,
    source: impl Read,
    stall: Duration,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<(), EngineError> {
    let pull = |why: String| EngineError::Pull { image: image.to_string(), why };
    let mut layers = Layers::default();
    for line in serde_json::Deserializer::from_reader(BufReader::new(source)).into_iter::<Line>() {
        let line = line.map_err(|error| match error.io_error_kind() {
            Some(ErrorKind::TimedOut) => pull(stalled(stall)),
            Some(_) => EngineError::Unreachable { operation: "pull", why: error.to_string() },
            None => EngineError::Malformed { operation: "pull", why: error.to_string() },
        })?;
        if layers.note(&line) {
            progress(layers.sum());
        }
        if let Some(why) = line.failure() {
            return Err(pull(why));
        }
    }
    Ok(())
}

/// How a pull that doesn't move is called.
pub(super) fn stalled(stall: Duration) -> String {
    format!("nothing moved for {} s", stall.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    fn follow_text(text: &str) -> (Result<(), EngineError>, Vec<(u64, u64)>) {
        let image = "r.io/a:1".parse().unwrap();
        let mut seen = Vec::new();
        let result =
            follow(&image, text.as_bytes(), STALL, &mut |p| seen.push((p.current_bytes, p.total_bytes)));
        (result, seen)
    }

    #[test]
    fn a_reference_always_names_one_version() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let with_both = format!("a/b:1@{digest}");
        for (text, repository, version) in [
            ("busybox", "busybox", "latest"),
            ("a/b:1.2", "a/b", "1.2"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a", "latest"),
            ("127.0.0.1:5000/a:x", "127.0.0.1:5000/a", "x"),
            (&with_both, "a/b", &digest),
        ] {
            assert_eq!(Source::of(&text.parse().unwrap()), Source { repository, version }, "{text}");
        }
    }

    #[test]
    fn progress_is_the_sum_of_all_layers() {
        let (result, seen) = follow_text(
            r#"{"status":"Pulling from a","id":"1"}
            {"status":"Downloading","progressDetail":{"current":1,"total":10},"id":"x"}
            {"status":"Downloading","progressDetail":{"current":2,"total":20},"id":"y"}
            {"status":"Downloading","progressDetail":{"current":2,"total":20},"id":"y"}
            {"status":"Download complete","progressDetail":{},"id":"x"}
            {"status":"Extracting","progressDetail":{"current":5,"total":10},"id":"x"}
            {"status":"Status: Downloaded newer image for a:1"}"#,
        );
        assert_eq!((result, seen), (Ok(()), vec![(1, 10), (3, 30), (12, 30)]));
    }

    #[test]
    fn a_failure_inside_the_stream_is_told_in_its_own_words() {
        let (result, _) = follow_text(
            r#"{"status":"Pulling from a"}
            {"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#,
        );
        assert_eq!(result.map_err(|e| e.to_string()), Err("pull r.io/a:1: manifest unknown".to_owned()));
        assert!(matches!(follow_text("{\"status\":").0, Err(EngineError::Malformed { .. })));
    }

    #[test]
    fn a_silence_is_a_stall_and_a_break_is_not() {
        struct Fails(ErrorKind);
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(self.0.into())
            }
        }
        let image = "a".parse().unwrap();
        let end = |kind| follow(&image, Fails(kind), STALL, &mut |_| {});
        let why = "nothing moved for 60 s".to_owned();
        assert_eq!(end(ErrorKind::TimedOut), Err(EngineError::Pull { image: "a".to_owned(), why }));
        assert!(matches!(end(ErrorKind::UnexpectedEof), Err(EngineError::Unreachable { .. })));
    }
}
