//! The two threads of a client, and what they share.
//!
//! ```text
//!  callers ──requests──▶ IO thread (driver) ──events──▶ event thread (dispatch) ──▶ user code
//!     ▲                    │  owns socket, session, watches        owns every callback
//!     └────── slots ◀──────┘
//! ```
//!
//! The IO thread waits for nobody: slots and queues take what it gives without blocking. Queues
//! are unbounded; requests are bounded by the [`gate::Gate`] before they are queued, events
//! by what the server sends.
//!
//! Shutdown: the IO thread enters a terminal state, answers everything it holds, drops its end
//! of the request queue (what is still in it answers by its `Drop`, later sends fail), queues
//! [`dispatch::Event::Last`] and ends; the event thread drains up to that and ends. Nobody joins
//! himself: whoever closes from the event thread does not wait for it.

pub(crate) mod completion;
pub(crate) mod crowd;
pub(crate) mod dial;
pub(crate) mod dispatch;
pub(crate) mod doze;
pub(crate) mod driver;
pub(crate) mod four_letter;
pub(crate) mod gate;
pub(crate) mod life;
pub(crate) mod mailbox;
pub(crate) mod probe;
pub(crate) mod shared;
pub(crate) mod slot;
pub(crate) mod sync;
pub(crate) mod threads;
pub(crate) mod transport;
