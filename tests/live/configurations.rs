//! Typed values that are kept fresh.

use std::sync::mpsc::channel;

use zookeeper_blocking::recipes::{Configuration, ConfigurationProblem};
use zookeeper_blocking::{Client, Code, CreateMode, RecipeError, Result, Version};

use crate::clients::{doomed, expire, patience};
use crate::locks::{Yard, assert_code, assert_recipe, ms};
use crate::nodes::in_callback;
use crate::support::wait::eventually;

fn number(bytes: &[u8]) -> std::result::Result<i32, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    text.parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

fn limit(client: &Client) -> Result<Configuration<i32>> {
    Configuration::new(client, "/limit", number)
}

#[test]
fn new_values_come_by_themselves_and_bad_ones_replace_nothing() {
    let yard = Yard::new();
    let (client, writer) = (yard.client(), yard.client());
    assert_code(limit(&client), Code::NoNode);
    writer.create("/limit", "many", CreateMode::Persistent).expect("new");
    let refused = limit(&client);
    assert_recipe(refused, RecipeError::Unreadable, std::time::Instant::now(), ms(5_000));
    writer.set_data("/limit", "1", Version::Any).expect("there");
    let limit = limit(&client).expect("read");
    let (tell, told) = channel();
    limit.on_change(move |value| tell.send(**value).expect("the test listens"));
    let mut known = limit.get();
    assert!(*known == 1 && limit.problem().is_none());
    assert!(limit.wait_change(&known, ms(50)).is_none(), "the same is no change");
    for value in 2..5 {
        writer.set_data("/limit", value.to_string(), Version::Any).expect("there");
        known = limit.wait_change(&known, patience()).expect("told");
        assert_eq!((*known, told.recv_timeout(patience())), (value, Ok(value)));
    }
    writer.set_data("/limit", "none", Version::Any).expect("there");
    eventually("told what is wrong", patience(), || {
        matches!(limit.problem(), Some(ConfigurationProblem::Refused(_)))
    });
    assert_eq!(*limit.get(), 4);
    writer.delete("/limit", Version::Any).expect("there");
    eventually("told what is wrong", patience(), || {
        matches!(limit.problem(), Some(ConfigurationProblem::Missing))
    });
    assert_eq!(*limit.get(), 4);
    writer.create("/limit", "5", CreateMode::Persistent).expect("new");
    assert_eq!(told.recv_timeout(patience()), Ok(5));
    assert!(limit.problem().is_none());
    drop(limit);
    eventually("no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn value_is_fresh_after_expiry_and_the_last_stays_when_the_client_is_closed() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let (client, session) = doomed(|| yard.through(&proxy));
    let writer = yard.client();
    let limit = Configuration::with_default(&client, "/limit", 7, number).expect("there is none");
    assert!(matches!(limit.problem(), Some(ConfigurationProblem::Missing)));
    assert_eq!(*limit.get(), 7);
    expire(&proxy, yard.chroot.server(), &session);
    writer.create("/limit", "8", CreateMode::Persistent).expect("new");
    eventually("fresh", patience(), || *limit.get() == 8);
    client.close().expect("acknowledged");
    eventually("told", patience(), || {
        matches!(limit.problem(), Some(ConfigurationProblem::Ended(_)))
    });
    assert_eq!(*limit.get(), 8);
}

#[test]
fn configurations_may_be_made_in_callbacks_and_a_callback_that_panics_is_called_again() {
    let yard = Yard::new();
    let client = yard.client();
    client.create("/limit", "1", CreateMode::Persistent).expect("new");
    let own = client.clone();
    let limit = in_callback(&client, move || limit(&own)).expect("read");
    let (tell, told) = channel();
    limit.on_change(move |value| {
        tell.send(**value).expect("the test listens");
        assert_ne!(**value, 2, "as a user's callback may");
    });
    for value in 2..4 {
        client.set_data("/limit", value.to_string(), Version::Any).expect("there");
        assert_eq!(told.recv_timeout(patience()), Ok(value));
    }
}
