//! The file behind the one that is read: what it holds, for the rule for leaving.

use std::time::Instant;

use super::disk::{Disk, Opened};
use super::hole::{ZEROS_AT_EACH_LOOK, again_after};
use super::judge::{Content, Sight, describe};
use super::place::low32;
use super::view::{SCENE_BYTES, scene_digest};
use super::wait::WaitReason;
use crate::error::{EntryFault, Result};
use crate::log::budget::{Halt, Searched};
use crate::log::files::{FileIdentity, NumberedFile};
use crate::log::format::{FILE_HEADER_LEN_V3, Lsn};
use crate::log::probe::Stop;
use crate::log::window::Look;

/// A file as it was seen just now.
pub(super) struct Seen {
    pub(super) opened: Opened,
    pub(super) content: Content,
    /// Where its first entry belongs, and what stands there instead: what that is waited for as, and what it is else.
    pub(super) first: Lsn,
    pub(super) instead: Option<(WaitReason, EntryFault)>,
    /// Tells two looks apart in which no entry was found.
    pub(super) digest: u32,
}

/// What is remembered of the next file from look to look.
#[derive(Default)]
pub(super) struct NextFile {
    of: Option<(u32, FileIdentity)>,
    /// Whether it had an entry at the last look.
    had_entry: bool,
    /// How far the zeros at its beginning were looked through, and when to look through them again; `None` while they are
    /// being looked through.
    zeros: Option<(u64, Option<Instant>)>,
}

impl NextFile {
    /// Looks at file `number` anew: a recovery may have cut it meanwhile, or put another in its place. `None`: it is not
    /// there any more.
    pub(super) fn look(&mut self, number: u32, now: Instant, disk: &mut Disk) -> Searched<Option<Seen>> {
        let Some(opened) = disk.open(number)? else {
            *self = NextFile::default();
            return Ok(None);
        };
        let file = &opened.file;
        let (of, len) = (Some((number, file.identity()?)), file.len()?);
        if self.of != of {
            *self = NextFile { of, ..NextFile::default() };
        }
        let digest = || digest_of_header(file).map(|digest| digest ^ low32(len));
        let first = match opened.header {
            Ok(header) => header.first_entry(),
            Err(fault) => {
                self.had_entry = false;
                let (content, first, digest) = (Content::NoHeader(fault), Lsn::new(number, 0), digest()?);
                return Ok(Some(Seen { opened, content, first, instead: None, digest }));
            }
        };
        let begins = self.begins_with_entry(file, first, now, disk)?;
        let look = if begins { None } else { Some(disk.probe.look(file, first)?) };
        let look = look.filter(|look| !matches!(look, Look::Entry(_)));
        let was_seen = std::mem::replace(&mut self.had_entry, look.is_none());
        let (content, instead, digest) = match &look {
            None => (Content::Entry { was_seen }, None, 0),
            Some(look) => {
                let sight = Sight::of(look, first, len);
                let instead = describe(look, sight, len.saturating_sub(first), None);
                let bytes = disk.probe.bytes(file, first, SCENE_BYTES)?;
                (Content::NoEntry(sight), Some(instead), digest()? ^ scene_digest(bytes, look))
            }
        };
        Ok(Some(Seen { opened, content, first: Lsn::new(number, low32(first)), instead, digest }))
    }

    /// Whether a file has an entry with nothing but zeros before it. Many zeros are looked through now and then; whether an
    /// entry stands where the first belongs is seen at once.
    fn begins_with_entry(&mut self, file: &NumberedFile, first: u64, now: Instant, disk: &mut Disk) -> Searched<bool> {
        let mut next = first;
        if let Some((passed, again_at)) = self.zeros.take() {
            if disk.probe.entry(file, first)?.is_some() {
                return Ok(true);
            }
            match again_at {
                None => next = passed,
                Some(at) if now < at => {
                    self.zeros = Some((passed, again_at));
                    return Ok(false);
                }
                Some(_) => {}
            }
        }
        let behind = disk.probe.behind_zeros(file, &mut next);
        let passed = next - first;
        self.zeros = match &behind {
            Err(Halt::Busy) => Some((next, None)),
            Ok(Stop::NoEntry | Stop::End) if passed >= ZEROS_AT_EACH_LOOK => {
                Some((next, Some(now + again_after(passed, disk.options.settle))))
            }
            _ => None,
        };
        Ok(behind? == Stop::Entry)
    }
}

/// Of the bytes of a file's header, whatever they are.
pub(super) fn digest_of_header(file: &NumberedFile) -> Result<u32> {
    let mut bytes = [0; FILE_HEADER_LEN_V3];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(crc32fast::hash(&bytes[..read]))
}
