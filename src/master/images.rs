//! Asking a worker to have an image ready, before a task that needs it is moved there.
//!
//! [`ask`] is one question and its answer; whoever wants the image there asks again until it is. The worker pulls
//! meanwhile, and says how far it has come.

use std::fmt;
use std::time::Duration;

use crate::api::routes;
use crate::api::wire::image::{ImageReply, ImageRequest, ImageStatus};
use crate::http::ClientError;
use crate::master::reach::Reach;
use crate::model::spec::{ImageRef, PullPolicy};

/// How long a worker may take. It gives its Engine a little less.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Where a worker is with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It has it.
    Present,
    /// It pulls it. Ask again.
    Pulling {
        /// How far that is, in words: `pulling 412 MiB of 1.1 GiB`.
        detail: String,
    },
}

/// Why an image isn't there, and isn't coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPrepared {
    /// It can't be had there, in the Engine's words. The worker tries again if it is asked some seconds later.
    Failed(String),
    /// The worker, or its Engine, doesn't answer, or has too much to do. Asking again may help.
    Unreachable(String),
}

impl fmt::Display for NotPrepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NotPrepared {}

/// Asks a worker for an image, under the policy of the task that will need it. Blocks for three seconds at most, six
/// where a connection breaks. Asking again changes nothing.
///
/// # Errors
/// See [`NotPrepared`].
pub fn ask(reach: &Reach, image: &ImageRef, pull: PullPolicy) -> Result<Prepared, NotPrepared> {
    let request = ImageRequest::new(image, pull);
    let asked = reach
        .client()
        .and_then(|client| client.post::<ImageReply>(routes::IMAGES, &request, ANSWER_WITHIN, true));
    match asked {
        Ok(reply) => Ok(match reply.status {
            ImageStatus::Present => Prepared::Present,
            ImageStatus::Pulling => Prepared::Pulling { detail: reply.detail.unwrap_or_default() },
        }),
        Err(ClientError::Refused(problem)) if problem.code == "image_pull" => {
            Err(NotPrepared::Failed(problem.detail))
        }
        Err(error) => Err(NotPrepared::Unreachable(error.to_string())),
    }
}
