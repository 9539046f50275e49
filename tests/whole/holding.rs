//! What the host does to hold a session back, and whether the session keeps to it.

use std::num::NonZeroU64;
use std::time::Duration;

use noxu_feeder::session::link::Link;

use crate::judge::Met;
use crate::rng::Rng;

/// A session sends so much at once at a limited rate, or an eighth of what it may send in a second.
const PIECE_MIN: u64 = 4096;

/// See the module's comment.
#[derive(Default)]
pub(crate) struct Holding {
    odds: u64,
    is_paused: bool,
    rate: Option<u64>,
    /// What was sent since the first send behind the last change: that one may have been allowed before the change.
    since: Option<(Duration, u64)>,
    changed_at: Duration,
    sent_at: Duration,
}

impl Holding {
    pub(crate) fn draw(rng: &mut Rng) -> Holding {
        Holding { odds: rng.pick(&[0, 0, 3]), ..Holding::default() }
    }

    /// Now and then the host holds the session back in another way.
    pub(crate) fn change(&mut self, rng: &mut Rng, now: Duration) -> Option<Met> {
        if !rng.one_in(self.odds) {
            return None;
        }
        let met = match rng.below(4) {
            0 => {
                self.is_paused = true;
                Some(Met::Paused)
            }
            1 => {
                self.rate = Some(rng.pick(&[700, 20_000, 1_000_000]));
                Some(Met::Limited)
            }
            _ => {
                (self.is_paused, self.rate) = (false, None);
                None
            }
        };
        (self.since, self.changed_at) = (None, now);
        met
    }

    /// Tells the session.
    pub(crate) fn tell(is_paused: bool, rate: Option<u64>, link: &Link) {
        if is_paused {
            link.pause()
        } else {
            link.resume()
        }
        link.set_rate(rate.and_then(NonZeroU64::new));
    }

    pub(crate) fn wanted(&self) -> (bool, Option<u64>) {
        (self.is_paused, self.rate)
    }

    fn piece(rate: u64) -> u64 {
        (rate / 8).max(PIECE_MIN)
    }

    /// The session has sent so many bytes. An error if it was not to.
    pub(crate) fn note_sent(&mut self, count: u64, begins_another: bool, now: Duration) -> Result<(), String> {
        self.sent_at = now;
        let Some((since, sent)) = &mut self.since else {
            self.since = Some((now, 0));
            return Ok(());
        };
        *sent += count;
        if self.is_paused && begins_another {
            return Err("it begins another frame while it is paused".into());
        }
        let Some(rate) = self.rate.filter(|_| !self.is_paused) else { return Ok(()) };
        let most = Holding::piece(rate) + (u128::from(rate) * (now - *since).as_nanos() / 1_000_000_000) as u64 + 1;
        if *sent > most {
            return Err(format!("it has sent {sent} bytes, and may send {most} at {rate} a second"));
        }
        Ok(())
    }

    /// Whether it is right that it sends nothing now.
    pub(crate) fn holds(&self, now: Duration, slack: Duration) -> bool {
        let Some(rate) = self.rate else { return self.is_paused };
        let piece = Duration::from_nanos(Holding::piece(rate) * 1_000_000_000 / rate);
        self.is_paused || now <= self.sent_at.max(self.changed_at) + piece + slack
    }
}
