//! The hand-off between threads, tried in every order of its steps.
//!
//! The files of `src/io` that callers and the IO thread meet in are compiled here a second time,
//! as they are, against the checker's primitives ([`io::sync`]). Each model is a few threads that
//! use them as the client does; the checker runs it again and again, with every order of the steps
//! and every value that a read may see. A model fails by a panic, or by a deadlock: that is how a
//! lost wake-up shows, since here no time passes but by [`io::sync::clock`].
//!
//! The checker is exhaustive up to a number of preemptions, given beside each model: more find
//! more, and take longer.

mod crowds;
mod dozing;
mod gates;
mod slots;

mod io {
    //! The library's files, and in place of their surroundings as much as they ask for.
    #![allow(dead_code, reason = "the models use a part of them")]

    #[path = "../../../../src/io/completion.rs"]
    pub(crate) mod completion;
    #[path = "../../../../src/io/crowd.rs"]
    pub(crate) mod crowd;
    #[path = "../../../../src/io/doze.rs"]
    pub(crate) mod doze;
    #[path = "../../../../src/io/gate.rs"]
    pub(crate) mod gate;
    #[path = "../../../../src/io/slot.rs"]
    pub(crate) mod slot;
    pub(crate) mod sync;

    pub(crate) mod dispatch {
        use super::completion::Owed;
        use crate::session::Outcome;

        /// What the event thread is told.
        #[derive(Debug)]
        pub(crate) enum Event {
            Complete { run: Box<dyn Owed>, outcome: Outcome },
        }
    }
}

mod session {
    //! Outcomes, in so far as the hand-off looks into them.

    #[derive(Debug)]
    pub(crate) enum Outcome {
        Reply(u32),
        Failed(Failure),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Failure {
        Timeout { sent: bool },
        Closed { sent: bool },
    }
}

use std::time::Instant;

/// A name that says what holds, the preemptions to try, and the threads.
type Model = (&'static str, usize, fn());

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let models = [slots::MODELS, crowds::MODELS, gates::MODELS, dozing::MODELS].concat();
    for (name, preemptions, model) in models {
        if !name.contains(&wanted) {
            continue;
        }
        println!("{name} ...");
        let start = Instant::now();
        let mut checker = loom::model::Builder::new();
        checker.preemption_bound = Some(preemptions);
        checker.max_branches = 10_000;
        checker.check(move || {
            io::sync::clock::reset();
            model();
        });
        println!("    holds, up to {preemptions} preemptions; {:.1?}", start.elapsed());
    }
}
