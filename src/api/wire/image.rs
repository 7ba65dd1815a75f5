//! An image that is to be on a node before a task needs it (POST /images on the worker).

use serde::{Deserialize, Serialize};

use super::{Mistake, present};
use crate::model::spec::{ImageRef, PullPolicy};

/// The body of a worker's POST /images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRequest {
    /// The image.
    pub image: String,
    /// `missing` (where it is absent), `always` or `never`: the policy of the task that will need it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pull: Option<String>,
}

impl ImageRequest {
    /// The request for an image under a policy.
    pub fn new(image: &ImageRef, pull: PullPolicy) -> Self {
        Self { image: image.to_string(), pull: Some(pull.as_str().to_owned()) }
    }

    /// What it asks for, checked.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn read(&self) -> Result<(ImageRef, PullPolicy), Mistake> {
        let image = self.image.parse().map_err(|error| Mistake::invalid("image", error))?;
        let pull = self.pull.as_deref().map_or(Ok(PullPolicy::default()), str::parse);
        Ok((image, pull.map_err(|error| Mistake::invalid("pull", error))?))
    }
}

/// The reply: 200 where the image is there, 202 while it is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReply {
    /// The image.
    pub image: String,
    /// Whether it is there.
    pub status: ImageStatus,
    /// How far its pull has come, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whether a node has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageStatus {
    /// It has.
    Present,
    /// It is being pulled, or waits for its turn.
    Pulling,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::read;

    fn read_text(text: &str) -> Result<(ImageRef, PullPolicy), String> {
        let request: ImageRequest = read(text.as_bytes()).map_err(|mistake| mistake.to_string())?;
        request.read().map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (image, pull) = read_text(r#"{"image":"a/b:1"}"#).unwrap();
        assert_eq!((image.as_str(), pull), ("a/b:1", PullPolicy::Missing));
        assert_eq!(read_text(r#"{"image":"a","pull":"never"}"#).unwrap().1, PullPolicy::Never);
        for (text, field) in [
            (r#"{"image":""}"#, "image: "),
            (r#"{"image":"a","pull":"often"}"#, "pull: "),
            (r#"{"image":"a","pull":null}"#, "pull: "),
            (r#"{"image":"a","colour":1}"#, "colour: "),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.starts_with(field), "{text}: {error}");
        }
    }
}
