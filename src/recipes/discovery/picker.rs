//! Which of the instances to ask.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::recipes::discovery::{ServiceCache, ServiceInstance};

/// Picks one instance of a service at a time, of those that are enabled. Asks no server.
///
/// It does not know whether an instance answers: leave out, with
/// [`pick_where`](Self::pick_where), those that did not of late.
///
/// Curator's `ServiceProvider`.
pub struct Picker {
    cache: ServiceCache,
    strategy: Strategy,
}

enum Strategy {
    Random,
    RoundRobin(AtomicUsize),
    /// The id of the one that it stays with.
    Sticky(Mutex<Option<String>>),
}

impl Picker {
    /// One at random each time.
    pub fn random(cache: &ServiceCache) -> Self {
        Self { cache: cache.clone(), strategy: Strategy::Random }
    }

    /// One after the other, in the order of their ids.
    pub fn round_robin(cache: &ServiceCache) -> Self {
        // Programs that start together do not all begin with the same.
        let first = AtomicUsize::new(fastrand::usize(..));
        Self { cache: cache.clone(), strategy: Strategy::RoundRobin(first) }
    }

    /// One at random, and the same again as long as it is there.
    pub fn sticky(cache: &ServiceCache) -> Self {
        Self { cache: cache.clone(), strategy: Strategy::Sticky(Mutex::default()) }
    }

    /// One that is enabled; `None` if there is none.
    pub fn pick(&self) -> Option<Arc<ServiceInstance>> {
        self.pick_where(|_| true)
    }

    /// One of those that are enabled and `fit`; `None` if there is none.
    pub fn pick_where(
        &self,
        fit: impl Fn(&ServiceInstance) -> bool,
    ) -> Option<Arc<ServiceInstance>> {
        let mut instances = self.cache.instances();
        instances.retain(|instance| instance.enabled && fit(instance));
        let random = || fastrand::choice(&instances).cloned();
        match &self.strategy {
            Strategy::Random => random(),
            Strategy::RoundRobin(next) => {
                let turn = next.fetch_add(1, Ordering::Relaxed).checked_rem(instances.len())?;
                instances.get(turn).cloned()
            }
            Strategy::Sticky(stuck) => {
                let mut stuck = stuck.lock();
                let same = instances.iter().find(|it| Some(&it.id) == stuck.as_ref()).cloned();
                let picked = same.or_else(random)?;
                *stuck = Some(picked.id.clone());
                Some(picked)
            }
        }
    }
}

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = match self.strategy {
            Strategy::Random => "random",
            Strategy::RoundRobin(_) => "round robin",
            Strategy::Sticky(_) => "sticky",
        };
        f.debug_struct("Picker").field("strategy", &strategy).finish_non_exhaustive()
    }
}
