//! The sorts of queues, as the tests use them that judge each in the same way.

use std::time::{Duration, SystemTime};

use zookeeper_blocking::recipes::{
    DelayQueue, DelayedItem, HeldItem, IdQueue, LockingQueue, Queue,
};
use zookeeper_blocking::{Client, Result};

use crate::locks::ms;
use crate::support::wait::{eventually, scaled};

/// Is told of each item that was taken.
pub(crate) type Had<'a> = &'a mut dyn FnMut(Vec<u8>);

/// A sort of queue, and how its items are named.
#[derive(Clone, Copy)]
pub(crate) struct Sort {
    pub(crate) name: &'static str,
    /// With what the nodes of items begin, below the queue's path.
    pub(crate) mark: &'static str,
    /// In one transaction; gives how many.
    pub(crate) put: fn(&Client, &str, Vec<String>) -> Result<usize>,
    /// One, waited for so long at most.
    pub(crate) take: fn(&Client, &str, Duration, Had<'_>) -> Result<()>,
    /// [`SEVERAL`] at most.
    pub(crate) try_take: fn(&Client, &str, Had<'_>) -> Result<()>,
    pub(crate) len: fn(&Client, &str) -> Result<usize>,
    /// How many there may be.
    pub(crate) most: Option<usize>,
}

pub(crate) const SEVERAL: usize = 4;

fn queue(client: &Client, path: &str) -> Queue {
    Queue::new(client, path).expect("legal")
}

pub(crate) const PLAIN: Sort = Sort {
    name: "queue",
    mark: "/entry-",
    put: |client, path, items| queue(client, path).put_all(items, 100).map(|names| names.len()),
    take: |client, path, most, had| {
        queue(client, path).take_timeout(most).map(|item| had(item.data))
    },
    try_take: |client, path, had| {
        let items = queue(client, path).try_take_all(SEVERAL)?;
        items.into_iter().for_each(|item| had(item.data));
        Ok(())
    },
    len: |client, path| queue(client, path).len(),
    most: None,
};

const MOST: usize = 7;

fn bounded_queue(client: &Client, path: &str) -> Queue {
    queue(client, path).max_items(MOST)
}

pub(crate) const BOUNDED: Sort = Sort {
    name: "bounded queue",
    put: |client, path, items| {
        bounded_queue(client, path).put_all(items, 100).map(|names| names.len())
    },
    most: Some(MOST),
    ..PLAIN
};

/// Each item by itself, and the next one always before those that are there.
pub(crate) const PRIORITY: Sort = Sort {
    name: "queue with priorities",
    put: |client, path, items| {
        let priority = 1_000 - (turn(&items) % 1_000) as i32;
        queue(client, path).put_all(items, priority).map(|names| names.len())
    },
    ..PLAIN
};

fn delay_queue(client: &Client, path: &str) -> DelayQueue {
    DelayQueue::new(client, path).expect("legal")
}

fn timely(item: DelayedItem) -> Vec<u8> {
    assert!(item.due <= SystemTime::now(), "before its time: {item:?}");
    item.data
}

pub(crate) const DELAY: Sort = Sort {
    name: "delay queue",
    mark: "/queue-|",
    put: |client, path, items| {
        // Not in the order of putting.
        let delay = ms(turn(&items) * 370 % 1_000);
        delay_queue(client, path).put_all(items, delay).map(|names| names.len())
    },
    take: |client, path, most, had| {
        delay_queue(client, path).take_timeout(most).map(|item| had(timely(item)))
    },
    try_take: |client, path, had| {
        let items = delay_queue(client, path).try_take_all(SEVERAL)?;
        items.into_iter().for_each(|item| had(timely(item)));
        Ok(())
    },
    len: |client, path| delay_queue(client, path).len(),
    most: None,
};

fn id_queue(client: &Client, path: &str) -> IdQueue {
    IdQueue::new(client, path).expect("legal")
}

pub(crate) const ID: Sort = Sort {
    name: "id queue",
    mark: "/queue-|",
    put: |client, path, items| {
        let items = items.into_iter().map(|item| (item.clone(), item));
        id_queue(client, path).put_all(items).map(|names| names.len())
    },
    take: |client, path, most, had| {
        id_queue(client, path).take_timeout(most).map(|item| had(item.data))
    },
    try_take: |client, path, had| {
        let items = id_queue(client, path).try_take_all(SEVERAL)?;
        items.into_iter().for_each(|item| had(item.data));
        Ok(())
    },
    len: |client, path| id_queue(client, path).len(),
    most: None,
};

fn locking_queue(client: &Client, path: &str) -> LockingQueue {
    LockingQueue::new(client, path).expect("legal")
}

/// Those after one that is not consumed are given back.
fn consume(held: Vec<HeldItem>, had: Had<'_>) -> Result<()> {
    held.into_iter().try_for_each(|held| {
        let data = held.data().to_owned();
        held.consume().map(|()| had(data))
    })
}

pub(crate) const LOCKING: Sort = Sort {
    name: "locking queue",
    mark: "/entries/entry-",
    put: |client, path, items| {
        locking_queue(client, path).put_all(items, 100).map(|names| names.len())
    },
    take: |client, path, most, had| {
        consume(locking_queue(client, path).get_all_timeout(1, most)?, had)
    },
    try_take: |client, path, had| consume(locking_queue(client, path).try_get_all(SEVERAL)?, had),
    len: |client, path| {
        // What was held by attempts that were given up is given back by then.
        let holds = || client.get_children(&format!("{path}/taken"));
        eventually("no hold left", scaled(ms(10_000)), || holds().is_ok_and(|h| h.is_empty()));
        locking_queue(client, path).len()
    },
    most: None,
};

/// The how manieth turn of its producer it was: items are named `producer-turn-part`.
fn turn(items: &[String]) -> u64 {
    let turn = items[0].split('-').nth(1).and_then(|turn| turn.parse().ok());
    turn.expect("a number")
}
