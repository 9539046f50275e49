//! The border that every export goes through: it checks handles and arguments, and lets no panic pass.

mod args;
mod call;
mod context;
mod handle;

pub(crate) use args::{
    Out, buffer, bytes, c_string, given, items, name_of, null, optional, optional_out, out, sized, string, write_sized,
    write_text,
};
pub(crate) use call::{guard, guard_about, with, with_hold_off};
pub(crate) use context::Context;
pub(crate) use handle::{Handle, Opaque, free, give, opaque, take};
