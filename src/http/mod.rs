//! HTTP, both ways: the gate and the server behind it, problem documents, and the client.
//!
//! ```text
//! client ── TCP ──▶ gate ── unix socket ──▶ tiny_http ──▶ http-N ──▶ Service ──▶ Responder
//!                   (one thread,            (a thread      (two threads,
//!                    every socket, TLS)      a connection)  never wait)
//! ```
//!
//! tiny_http never meets a client directly: [`gate`] takes whole, checked requests off the wire and passes on only
//! those. What it can't stand is told in `gate`'s header. Read [`server`] for the way in, [`gate`] for the loop.

mod backend;
pub mod client;
pub mod gate;
pub mod problem;
mod request;
mod response;
pub mod server;
mod stream;
mod tls;

pub use client::{Client, ClientError, Trust};
pub use gate::{Caps, Deadlines, Limits};
pub use problem::Problem;
pub use request::{BadEncoding, Headers, Method, Request, path_segments, query_pairs};
pub use response::{Body, Responder, Response, StreamHead};
pub use server::{ServeError, ServeSettings, Service, serve};
pub use stream::StreamWriter;
pub use tls::{TlsAcceptor, TlsError};
