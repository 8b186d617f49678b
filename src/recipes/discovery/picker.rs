//! Which of the instances to ask.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::recipes::discovery::failures::Failures;
use crate::recipes::discovery::{ServiceCache, ServiceInstance};

/// Picks one instance of a service at a time, of those that are enabled and not down. Asks no server.
///
/// It does not know whether an instance answers: whoever asked one in vain
/// [notes the error](Self::note_error), and it is left out for a while.
///
/// ```no_run
/// use std::net::TcpStream;
/// use zookeeper_blocking::{Client, recipes::{Discovery, Picker}};
///
/// let zk = Client::connect("localhost:2181")?;
/// let picker = Picker::round_robin(&Discovery::new(&zk, "/services")?.cache("mail")?);
/// while let Some(mail) = picker.pick() {
///     match TcpStream::connect((&*mail.address, mail.port.unwrap_or(25))) {
///         Ok(_stream) => break,
///         Err(_) => picker.note_error(&mail),
///     }
/// }
/// # Ok::<(), zookeeper_blocking::Error>(())
/// ```
///
/// Curator's `ServiceProvider`, with its `DownInstancePolicy`. What it does not promise: that others
/// know. Each picker counts for itself, and an instance that is down for all of them is registered
/// still.
pub struct Picker {
    cache: ServiceCache,
    strategy: Strategy,
    failures: Mutex<Failures>,
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
        Self::of(cache, Strategy::Random)
    }

    /// One after the other, in the order of their ids.
    pub fn round_robin(cache: &ServiceCache) -> Self {
        // Programs that start together do not all begin with the same.
        let first = AtomicUsize::new(fastrand::usize(..));
        Self::of(cache, Strategy::RoundRobin(first))
    }

    /// One at random, and the same again as long as it is there and not down.
    pub fn sticky(cache: &ServiceCache) -> Self {
        Self::of(cache, Strategy::Sticky(Mutex::default()))
    }

    fn of(cache: &ServiceCache, strategy: Strategy) -> Self {
        Self { cache: cache.clone(), strategy, failures: Mutex::default() }
    }

    /// How many errors in which time make an instance count as down: it is left out until `window`
    /// has passed since the first of them. Defaults to 2 in 30 s, as in Curator.
    pub fn down_after(mut self, errors: u32, window: Duration) -> Self {
        self.failures = Mutex::new(Failures::new(errors, window));
        self
    }

    /// Counts an error of this instance: it did not answer, or not as it should. An instance that is
    /// registered anew with other data is another one.
    pub fn note_error(&self, instance: &ServiceInstance) {
        self.failures.lock().note(instance, Instant::now());
    }

    /// One that is enabled and not down; `None` if there is none.
    pub fn pick(&self) -> Option<Arc<ServiceInstance>> {
        self.pick_where(|_| true)
    }

    /// One of those that are enabled, not down, and `fit`; `None` if there is none.
    pub fn pick_where(
        &self,
        fit: impl Fn(&ServiceInstance) -> bool,
    ) -> Option<Arc<ServiceInstance>> {
        let mut instances = self.cache.instances();
        {
            let (failures, now) = (self.failures.lock(), Instant::now());
            instances.retain(|instance| instance.enabled && failures.is_up(instance, now));
        }
        instances.retain(|instance| fit(instance));
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
