//! How long what is seen has stood still: only that is judged. Time in which nobody was awake to look does not count.

use std::time::{Duration, Instant};

use crate::log::attention::Attention;
use crate::log::format::Lsn;

/// What is to be seen where nothing can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scene {
    pub(super) at: Lsn,
    /// How long the file is.
    pub(super) len: u64,
    /// A digest of all else that the judgement comes from.
    pub(super) digest: u32,
    pub(super) listing_epoch: u64,
}

/// Whether what was seen has settled, and else when to look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settling {
    pub(super) has_settled: bool,
    pub(super) look_again: Option<Instant>,
}

impl Settling {
    /// Of what is not waited for to settle.
    pub(super) const NEVER: Settling = Settling { has_settled: false, look_again: None };
}

/// Something that has been the same at all looks, and since when.
#[derive(Debug)]
struct Since<T> {
    what: T,
    since: Instant,
    /// Whether that was long enough at the last look.
    has_settled: bool,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Stillness {
    settle: Duration,
    /// Whether whoever waits was awake.
    pub attention: Attention,
    scene: Option<Since<Scene>>,
    /// Where there are zeros, and what there is of the header of the entry that will stand there.
    zeros: Option<Since<(Lsn, u32)>>,
}

impl Stillness {
    /// Nothing was seen yet; what stands still for `settle` has settled.
    pub(super) fn new(settle: Duration) -> Stillness {
        Stillness { settle, attention: Attention::new(settle), scene: None, zeros: None }
    }

    /// All of this is seen.
    pub(super) fn see(&mut self, scene: Scene, now: Instant) -> Settling {
        let since = see(&mut self.scene, scene, now, self.settle);
        self.settling(since, now)
    }

    /// There are zeros at `at`, whatever else there is. `header`: a digest of what would be an entry's header there; not all
    /// of it need be zero.
    pub(super) fn see_zeros(&mut self, at: Lsn, header: u32, now: Instant) -> Settling {
        let since = see(&mut self.zeros, (at, header), now, self.settle);
        self.settling(since, now)
    }

    fn settling(&self, since: Instant, now: Instant) -> Settling {
        let settled_at = since + self.settle;
        let has_settled = now >= settled_at;
        Settling { has_settled, look_again: (!has_settled).then(|| self.attention.next_look(now, settled_at)) }
    }

    /// When the scene that is seen now has settled, or will have.
    pub(super) fn settled_at(&self) -> Option<Instant> {
        self.scene.as_ref().map(|scene| scene.since + self.settle)
    }

    /// Something was read, or another place is looked at.
    #[inline]
    pub(super) fn moved(&mut self) {
        self.scene = None;
    }

    /// There are no zeros where there were some. What was cut away does not count as having stood.
    pub(super) fn filled(&mut self) {
        self.zeros = None;
    }

    /// The first look after a sleep. True: it was overslept, and what had not settled before begins to anew.
    pub fn wakes(&mut self, now: Instant) -> bool {
        let is_overslept = self.attention.wakes(now);
        if is_overslept {
            self.scene.iter_mut().for_each(|scene| scene.begin_anew(now));
            self.zeros.iter_mut().for_each(|zeros| zeros.begin_anew(now));
        }
        is_overslept
    }
}

/// Sees `what`; since when it has been the same.
fn see<T: PartialEq>(seen: &mut Option<Since<T>>, what: T, now: Instant, settle: Duration) -> Instant {
    let same = seen.take().filter(|seen| seen.what == what);
    let since = same.map_or(now, |same| same.since);
    *seen = Some(Since { what, since, has_settled: now >= since + settle });
    since
}

impl<T> Since<T> {
    fn begin_anew(&mut self, now: Instant) {
        if !self.has_settled {
            self.since = now;
        }
    }
}
