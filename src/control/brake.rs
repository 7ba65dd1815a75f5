//! The brake: when a whole cluster falls silent at once, it is more likely the master that is cut off.
//!
//! Main type: [`Brake`]. Of three or more nodes, one that fell silent is judged only if another was heard after its
//! lease had run out: that one shows that the master can hear, and by then nothing ran under the silent node's lease
//! any more. If none was, the brake is on: nodes that fall silent are offline, and their tasks are left as they are,
//! until a beat comes in (then every node has one full timeout again) or ten timeouts have passed.
//!
//! Deliberately absent: the nodes themselves, and clocks; times are the master's running time.

use std::time::Duration;

use crate::control::lease;
use crate::model::time::Mono;

/// Fewer nodes than this may well fall silent together by themselves.
const FEWEST_NODES: usize = 3;

/// How many timeouts the brake stays on where nothing is heard.
const MOST_TIMEOUTS: u32 = 10;

/// What the brake has to know when nodes are to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How many nodes may be judged, now or later.
    pub nodes: usize,
    /// When the node that has been silent longest was last heard.
    pub first: Mono,
    /// When the node that was heard last was heard.
    pub last: Mono,
    /// How long a node may be silent.
    pub timeout: Duration,
    /// The moment.
    pub now: Mono,
}

/// Whether it is on, and since when. The default is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    since: Option<Mono>,
}

impl Brake {
    /// Whether it is on.
    pub const fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Asked when there are silent nodes: whether they are to be left unjudged.
    pub fn holds(&mut self, view: View) -> bool {
        match self.since {
            Some(since) if view.now.since(since) > view.timeout * MOST_TIMEOUTS => {
                self.since = None;
                return false;
            }
            Some(_) => return true,
            None => {}
        }
        let can_hear = view.last > view.first + lease::of_timeout(view.timeout);
        if view.nodes >= FEWEST_NODES && !can_hear {
            self.since = Some(view.now);
        }
        self.is_on()
    }

    /// A beat came in. True: the brake was on, and every node is to get one full timeout again.
    pub const fn release(&mut self) -> bool {
        self.since.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn at(secs: u64) -> Mono {
        Mono::from_boot(Duration::from_secs(secs))
    }

    fn view(nodes: usize, first: u64, last: u64, now: u64) -> View {
        View { nodes, first: at(first), last: at(last), timeout: TIMEOUT, now: at(now) }
    }

    #[test]
    fn three_nodes_that_fall_silent_together_are_left_and_two_are_not() {
        assert!(Brake::default().holds(view(3, 100, 106, 131)));
        assert!(!Brake::default().holds(view(2, 100, 106, 131)));
        assert!(Brake::default().holds(view(3, 100, 120, 131)), "heard when its lease ended, no later");
        assert!(!Brake::default().holds(view(3, 100, 121, 131)), "the master can hear, so it is the node");
    }

    #[test]
    fn once_on_it_stays_on_for_ten_timeouts_or_until_a_beat() {
        let mut brake = Brake::default();
        assert!(brake.holds(view(3, 100, 106, 131)));
        assert!(brake.holds(view(2, 103, 106, 134)), "whoever is left");
        assert!(brake.holds(view(3, 100, 106, 131 + 300)));
        assert!(!brake.holds(view(3, 100, 106, 131 + 301)));
        assert!(!brake.is_on());

        assert!(brake.holds(view(3, 100, 106, 131)));
        assert!(brake.release() && !brake.is_on());
        assert!(!brake.release(), "it is off already");
    }
}
