//! What of the log is in memory: what the last read brought and, where it is wanted, what the read before it did.

use std::ops::Range;
use std::sync::Arc;

use super::place::OpenFile;
use crate::error::{Error, Result};
use crate::log::block::Block;
use crate::log::budget::Budget;
use crate::log::format::{ENTRY_HEADER_LEN, EntryHeader, Lsn};
use crate::log::window::{Look, Passage, Window};

/// How much of what stands at the cursor is compared to see whether it has changed; of an unreadable entry the checksum
/// covers the rest.
pub(super) const SCENE_BYTES: usize = 64 * 1024;

/// See the module's comment.
pub(super) struct View {
    /// What the last read brought.
    pub(super) window: Window,
    /// How many entries the window has shown.
    pub(super) shown: usize,
    /// What the window showed before it was read last, of which file.
    before: Option<(u32, Passage)>,
}

impl View {
    pub(super) fn new(read_bytes: usize, budget: Budget) -> View {
        View { window: Window::new(read_bytes, budget), shown: 0, before: None }
    }

    /// Drops what was read: the next look reads anew.
    pub(super) fn forget(&mut self) {
        self.window.forget();
        self.before = None;
    }

    /// What is in the window was read; it is kept as what was before it if it will be wanted again, and all looks see
    /// nothing until there is a read. How much that should bring.
    pub(super) fn turn_over(&mut self, current: Option<&OpenFile>, is_recalled: bool) -> usize {
        let shown = current.filter(|_| is_recalled);
        self.before = shown.and_then(|OpenFile { place, .. }| Some((place.number, self.window.passage(place.cursor)?)));
        let entries = std::mem::take(&mut self.shown);
        // What is to be recalled is sought in what was read last: the more of it, the better.
        let cursor = current.map_or(0, |current| current.place.cursor);
        let most = if is_recalled { usize::MAX } else { self.window.read_next(cursor, entries) };
        self.window.forget();
        most
    }

    /// The window's block, or the one that it had before, if anything was recalled from there.
    #[inline]
    pub(super) fn block(&self, is_before: bool) -> &Arc<Block> {
        if is_before { self.before.as_ref().expect("it was just there").1.block() } else { self.window.block() }
    }

    /// The entry at `lsn`, which was shown before, if its bytes are still in memory; neither read nor checked again: its
    /// header, where in the block its payload is, and whether that is the block that the window had before.
    #[inline]
    pub(super) fn recall(&self, lsn: Lsn, current: Option<&OpenFile>) -> Option<(EntryHeader, Range<usize>, bool)> {
        let offset = u64::from(lsn.offset());
        if let Some(current) = current.filter(|current| current.place.number == lsn.file())
            && let Some((header, payload)) = self.window.shown(offset, current.place.cursor)
        {
            return Some((header, payload, false));
        }
        let (_, before) = self.before.as_ref().filter(|&&(number, _)| number == lsn.file())?;
        before.entry(offset).map(|(header, payload)| (header, payload, true))
    }

    /// Reads at the cursor and looks at what is there, with as much of it read as the file has. Confirms that the entry
    /// before the cursor is still the one that was returned.
    pub(super) fn read_and_look(&mut self, current: &OpenFile, most: usize) -> Result<Look> {
        let OpenFile { place, file } = current;
        let mut needed = ENTRY_HEADER_LEN;
        let look = loop {
            self.window.read_at_most(file, place.cursor, needed, most)?;
            match self.window.look(place.cursor) {
                // What the read before did not bring because it had what it was to bring at least.
                Look::Short { needed: more } if more > needed => needed = more,
                look => break look,
            }
        };
        if place.has_last(file)? == Some(false) {
            let at = place.last_lsn().expect("it was looked for");
            return Err(Error::LogRewritten { at });
        }
        Ok(look)
    }

    /// Tells two looks apart at what would be an entry's header at `offset`.
    pub(super) fn header_digest(&self, offset: u64) -> u32 {
        let header = self.window.from(offset);
        crc32fast::hash(&header[..header.len().min(ENTRY_HEADER_LEN)])
    }

    /// Tells two looks at what is no entry apart, where `present` bytes are.
    pub(super) fn digest(&mut self, current: &OpenFile, present: u64, look: &Look) -> Result<u32> {
        // A read may bring more than it has to, or not: what is compared from look to look is always as much.
        let compared = usize::try_from(present).unwrap_or(usize::MAX).min(SCENE_BYTES);
        let cursor = current.place.cursor;
        if self.window.from(cursor).len() < compared {
            self.window.read_at_most(&current.file, cursor, compared, compared)?;
        }
        Ok(scene_digest(self.window.from(cursor), look))
    }
}

/// Tells two looks at what is no entry apart. Of a large entry the checksum covers what is not compared.
pub(super) fn scene_digest(seen: &[u8], look: &Look) -> u32 {
    crc32fast::hash(&seen[..seen.len().min(SCENE_BYTES)])
        ^ match look {
            Look::Checksum { computed, .. } => *computed,
            _ => 0,
        }
}
