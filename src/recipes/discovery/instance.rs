//! What an instance of a service says of itself: Curator's JSON.
//!
//! ```text
//! {"name":"mail","id":"7c4…","address":"h7","port":25,"sslPort":null,"payload":null,
//!  "registrationTimeUTC":1586597630241,"serviceType":"DYNAMIC","uriSpec":null}
//! ```
//!
//! In one line, in this order, as Jackson writes it; `"enabled":false` at the end of one that is
//! not to be used. Read in any order and with anything beside, as Curator reads it.
//!
//! Source: Curator 5 `ServiceInstance`, `details/JsonInstanceSerializer`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::recipes::json::{self, Value};
use crate::recipes::role::NameStyle;

/// One instance of a service, as it is registered with a [`Discovery`](super::Discovery).
///
/// ```
/// use zookeeper_blocking::recipes::ServiceInstance;
///
/// let instance = ServiceInstance::new("mail").address("h7.example").port(25);
/// assert_eq!((instance.name.as_str(), instance.port), ("mail", Some(25)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceInstance {
    /// The service.
    pub name: String,
    /// What tells the instance from the others of the service. Random unless it is set.
    pub id: String,
    /// The host. Empty if there is none.
    pub address: String,
    /// The port.
    pub port: Option<u16>,
    /// The port of the same service with TLS.
    pub ssl_port: Option<u16>,
    /// Anything more: a JSON value, as it is written. In Java it names its class, as `@class`.
    pub payload: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch, by the clock of its process; 0 unless
    /// it is set. Nobody goes by it.
    pub registered_ms: i64,
    /// How long its node lives.
    pub kind: ServiceKind,
    /// How an address is made of it, for Java: a JSON value, as it is written.
    pub uri_spec: Option<String>,
    /// Whether it is to be used. [`Picker`](super::Picker)s leave others out.
    pub enabled: bool,
}

/// How long the node of an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceKind {
    /// As long as the process: an ephemeral node. The default.
    #[default]
    Dynamic,
    /// The same with a number in its name. Read, but not registered.
    DynamicSequential,
    /// Until somebody takes it away.
    Permanent,
    /// Until somebody takes it away; Curator makes no difference.
    Static,
}

impl ServiceInstance {
    /// An instance of the service `name`, with a random id.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            id: NameStyle::Kazoo.unique(""),
            address: String::new(),
            port: None,
            ssl_port: None,
            payload: None,
            registered_ms: 0,
            kind: ServiceKind::Dynamic,
            uri_spec: None,
            enabled: true,
        }
    }

    /// Sets the id: a name of a node, which no other instance of the service has.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the host.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets the port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets the port of the same service with TLS.
    pub fn ssl_port(mut self, port: u16) -> Self {
        self.ssl_port = Some(port);
        self
    }

    /// Sets the payload: a JSON value.
    pub fn payload(mut self, json: impl Into<String>) -> Self {
        self.payload = Some(json.into());
        self
    }

    /// Sets when it was made: the present time, mostly.
    pub fn registered(mut self, time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.registered_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Sets how long the node lives.
    pub fn kind(mut self, kind: ServiceKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the specification of addresses: a JSON value.
    pub fn uri_spec(mut self, json: impl Into<String>) -> Self {
        self.uri_spec = Some(json.into());
        self
    }

    /// Sets whether it is to be used.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// `Err` tells what is no JSON.
    pub(crate) fn encode(&self) -> Result<String, &'static str> {
        let mut text = String::from("{\"name\":");
        json::write_text(&self.name, &mut text);
        text.push_str(",\"id\":");
        json::write_text(&self.id, &mut text);
        text.push_str(",\"address\":");
        json::write_text(&self.address, &mut text);
        for (name, port) in [("port", self.port), ("sslPort", self.ssl_port)] {
            let port = port.map_or_else(|| NULL.to_owned(), |port| port.to_string());
            // To a String, which takes everything.
            let _ = write!(text, ",\"{name}\":{port}");
        }
        let payload = self.payload.as_deref().unwrap_or(NULL);
        let uri_spec = self.uri_spec.as_deref().unwrap_or(NULL);
        for (value, why) in
            [(payload, "the payload is no JSON"), (uri_spec, "the uri_spec is no JSON")]
        {
            if !json::is_value(value) {
                return Err(why);
            }
        }
        let (registered, kind) = (self.registered_ms, self.kind.word());
        let _ = write!(
            text,
            ",\"payload\":{payload},\"registrationTimeUTC\":{registered},\"serviceType\":\"{kind}\",\"uriSpec\":{uri_spec}"
        );
        if !self.enabled {
            text.push_str(",\"enabled\":false");
        }
        text.push('}');
        Ok(text)
    }

    /// `None` if it is no record of an instance.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let members = json::object(std::str::from_utf8(data).ok()?)?;
        // Of two of one name the last counts, as in Jackson. What is null is not there.
        let find = |name| {
            let known = members.iter().rev().find(|(known, _)| known == name).map(|(_, it)| it);
            known.filter(|value| **value != Value::Other(NULL))
        };
        let text = |name| match find(name) {
            None => Some(None),
            Some(Value::Text(text)) => Some(Some(text.clone())),
            Some(Value::Other(_)) => None,
        };
        let number = |name| match find(name) {
            None => Some(None),
            Some(Value::Other(number)) => number.parse::<i64>().ok().map(Some),
            Some(Value::Text(_)) => None,
        };
        let port = |name| match number(name)? {
            None => Some(None),
            Some(port) => u16::try_from(port).ok().map(Some),
        };
        let raw = |name| {
            find(name).map(|value| match value {
                Value::Other(raw) => (*raw).to_owned(),
                Value::Text(text) => {
                    let mut raw = String::new();
                    json::write_text(text, &mut raw);
                    raw
                }
            })
        };
        Some(Self {
            name: text("name")??,
            id: text("id")??,
            address: text("address")?.unwrap_or_default(),
            port: port("port")?,
            ssl_port: port("sslPort")?,
            payload: raw("payload"),
            registered_ms: number("registrationTimeUTC")?.unwrap_or(0),
            kind: match text("serviceType")? {
                None => ServiceKind::Dynamic,
                Some(word) => ServiceKind::of(&word)?,
            },
            uri_spec: raw("uriSpec"),
            enabled: find("enabled") != Some(&Value::Other("false")),
        })
    }
}

impl ServiceKind {
    const ALL: [Self; 4] = [Self::Dynamic, Self::DynamicSequential, Self::Permanent, Self::Static];

    /// Curator's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Dynamic => "DYNAMIC",
            Self::DynamicSequential => "DYNAMIC_SEQUENTIAL",
            Self::Permanent => "PERMANENT",
            Self::Static => "STATIC",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

const NULL: &str = "null";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Spring Cloud registers it with Curator, but for the spaces of this page.
    const SPRING: &str = concat!(
        r#"{"name":"x","id":"7c4","address":"h","port":8004,"sslPort":null,"#,
        r#""payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","#,
        r#""id":"x:8004","name":"x","metadata":{"k":"v"}},"#,
        r#""registrationTimeUTC":1586597630241,"serviceType":"DYNAMIC","#,
        r#""uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false},"#,
        r#"{"value":"address","variable":true},{"value":":","variable":false},"#,
        r#"{"value":"port","variable":true}]}}"#,
    );

    fn mail() -> ServiceInstance {
        let mut instance = ServiceInstance::new("mail").id("7c4").address("h7").port(25);
        instance.registered_ms = 1_586_597_630_241;
        instance
    }

    #[test]
    fn record_of_curator_is_read_and_written_byte_by_byte() {
        let read = ServiceInstance::decode(SPRING.as_bytes()).expect("sound");
        assert_eq!((read.name.as_str(), read.id.as_str()), ("x", "7c4"));
        assert_eq!((read.address.as_str(), read.port, read.ssl_port), ("h", Some(8004), None));
        assert!(read.payload.as_deref().is_some_and(|json| json.starts_with("{\"@class\":")));
        assert_eq!((read.registered_ms, read.kind), (1_586_597_630_241, ServiceKind::Dynamic));
        assert!(read.enabled && read.uri_spec.is_some());
        assert_eq!(read.encode().as_deref(), Ok(SPRING));
    }

    #[test]
    fn fields_are_written_in_curators_order() {
        let text = concat!(
            r#"{"name":"mail","id":"7c4","address":"h7","port":25,"sslPort":null,"payload":null,"#,
            r#""registrationTimeUTC":1586597630241,"serviceType":"DYNAMIC","uriSpec":null}"#
        );
        assert_eq!(mail().encode().as_deref(), Ok(text));
        let off = mail().enabled(false).encode().expect("sound");
        assert!(off.ends_with(r#""uriSpec":null,"enabled":false}"#), "{off}");
        assert_eq!(ServiceInstance::decode(off.as_bytes()), Some(mail().enabled(false)));
    }

    #[test]
    fn little_is_enough_and_more_is_passed_over() {
        let read = ServiceInstance::decode(br#"{ "id": "1", "more": [{}], "name": "mail" }"#);
        let read = read.expect("sound");
        assert_eq!((read.address.as_str(), read.port, read.kind), ("", None, ServiceKind::Dynamic));
        assert!(read.enabled && read.payload.is_none());
        let text =
            br#"{"name":"m","id":"1","payload":"\u00e9","serviceType":"STATIC","enabled":true}"#;
        let read = ServiceInstance::decode(text).expect("sound");
        assert_eq!(read.payload.as_deref(), Some("\"\\u00e9\""));
        assert_eq!(read.kind, ServiceKind::Static);
    }

    #[test]
    fn junk_is_no_instance() {
        for junk in [
            "",
            "{}",
            "null",
            r#"{"name":"m"}"#,
            r#"{"name":"m","id":null}"#,
            r#"{"name":"m","id":7}"#,
            r#"{"name":"m","id":"1","port":"25"}"#,
            r#"{"name":"m","id":"1","port":-1}"#,
            r#"{"name":"m","id":"1","port":65536}"#,
            r#"{"name":"m","id":"1","serviceType":"OTHER"}"#,
            r#"{"name":"m","id":"1"} x"#,
        ] {
            assert_eq!(ServiceInstance::decode(junk.as_bytes()), None, "{junk}");
        }
        assert!(mail().payload("{").encode().is_err());
        assert!(mail().uri_spec("1 2").encode().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            name: String,
            id: String,
            address: String,
            port: Option<u16>,
            ssl_port: Option<u16>,
            registered_ms: i64,
            kind in proptest::sample::select(&ServiceKind::ALL[..]),
            enabled: bool,
            note: String,
        ) {
            let mut payload = String::from("{\"@class\": ");
            json::write_text(&note, &mut payload);
            payload.push('}');
            let instance = ServiceInstance {
                name,
                id,
                address,
                port,
                ssl_port,
                payload: Some(payload),
                registered_ms,
                kind,
                uri_spec: None,
                enabled,
            };
            let text = instance.encode().expect("sound");
            prop_assert_eq!(ServiceInstance::decode(text.as_bytes()), Some(instance));
        }

        #[test]
        fn nothing_panics(data: Vec<u8>, text: String) {
            let _ = ServiceInstance::decode(&data);
            let _ = ServiceInstance::decode(text.as_bytes());
        }
    }
}
