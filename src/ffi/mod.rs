//! The C interface: casts and checks, and nothing else. The modules behind it take every decision.
//!
//! The header `include/noxu_feeder.h` is generated from these files, in the order of the modules below. Each export
//! begins with [`given`](crate::ffi::border): its pointers become references and places, and what follows is safe code.
//! It does its work inside [`guard`](crate::ffi::border): arguments are checked, a fork is noticed, a panic becomes a
//! status.
#![allow(non_camel_case_types, reason = "these are the names that C sees")]
#![allow(clippy::missing_safety_doc, reason = "the documentation is the header's: what C has to keep is said there")]

// In the order of the header. The empty lines between them keep rustfmt from sorting them.

pub mod status;

pub mod version;

pub mod error;

pub mod options;

pub mod log;

pub mod scanner;

pub mod source;

pub mod channel;

pub mod host_channel;

pub mod runner;

pub mod connection;

pub mod event;

pub mod server;

pub mod feeder;

pub mod codec;

mod border;
