//! The client listener: what is served where clients connect.

pub mod demo;
