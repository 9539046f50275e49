//! The border that every export goes through: it checks handles and arguments, and lets no panic pass.

mod args;
mod call;
mod context;
mod handle;

pub(crate) use args::{
    Given, Growing, Out, buffer, c_string, given, items, name_of, null, optional_out, optional_string, out, reference,
    sized, sized_out, string, text_buffer, write_text,
};
pub(crate) use call::{ask, guard, guard_about, with, with_hold_off};
pub(crate) use context::Context;
pub(crate) use handle::{Handle, Opaque, Owned, free, give, opaque, owned};
