//! What is said between the parts: JSON bodies and paths.
//!
//! [`wire`] holds one type per JSON document and the only conversions between those and the model's types;
//! [`routes`] holds each server's table of methods and paths; [`openapi`] describes both to others. Nothing in here opens a
//! socket.

pub mod openapi;
pub mod routes;
pub mod wire;
