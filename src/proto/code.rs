//! What a server says when it says no.

use std::fmt;

/// Writes the enum, its numbers and its sentences from one table, so that they cannot drift apart.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $raw:literal, $sentence:literal;)+) => {
        /// The error number of a reply, by name.
        ///
        /// The names and numbers are the server's. [`Display`](fmt::Display) gives a short
        /// lower-case sentence: `no node`, `bad version`.
        ///
        /// Two values are equal if they were made by [`Code::from_raw`] from the same number.
        ///
        /// Source: ZooKeeper `KeeperException.java`, enum `Code`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
            /// A number that this crate has no name for, from a newer server or from another
            /// implementation of the protocol.
            Unknown(i32),
        }

        impl Code {
            /// Names an error number. Every number has an answer; those without a name become
            /// [`Code::Unknown`].
            pub const fn from_raw(raw: i32) -> Self {
                match raw {
                    $($raw => Self::$name,)+
                    _ => Self::Unknown(raw),
                }
            }

            /// The number as it is on the wire.
            pub const fn raw(self) -> i32 {
                match self {
                    $(Self::$name => $raw,)+
                    Self::Unknown(raw) => raw,
                }
            }
        }

        impl fmt::Display for Code {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($sentence),)+
                    Self::Unknown(raw) => write!(f, "unknown error code {raw}"),
                }
            }
        }
    };
}

codes! {
    /// No error. Replies to calls that failed never carry it; the results of a transaction may.
    Ok = 0, "ok";

    /// Something failed inside the server.
    SystemError = -1, "system error";
    /// The server found its own state inconsistent. In a transaction: this operation was not tried,
    /// or was undone, because another one failed.
    RuntimeInconsistency = -2, "runtime inconsistency";
    /// The server found its data inconsistent.
    DataInconsistency = -3, "data inconsistency";
    /// The connection to the server is lost. Clients make it themselves, a server sends it hardly
    /// ever; this crate reports a lost connection as an error of its own kind.
    ConnectionLoss = -4, "connection loss";
    /// The server could not read the request, or does not know an option in it.
    MarshallingError = -5, "marshalling error";
    /// The server does not know the operation, or has it switched off: nodes with a time to live
    /// need `zookeeper.extendedTypesEnabled=true` there.
    Unimplemented = -6, "unimplemented";
    /// The operation took too long on the server.
    OperationTimeout = -7, "operation timeout";
    /// The server does not accept the arguments, for instance a time to live out of range.
    BadArguments = -8, "bad arguments";
    /// No such session; old name, no present server sends it.
    UnknownSession = -12, "unknown session";
    /// There is no quorum of the new configuration that is connected and up to date. Since 3.5.0.
    NewConfigNoQuorum = -13, "no quorum of the new configuration";
    /// Another reconfiguration is going on. Since 3.5.0.
    ReconfigInProgress = -14, "reconfiguration in progress";

    /// Not an error of its own: numbers from here down to -127 are errors of the calls.
    ApiError = -100, "api error";
    /// The node does not exist. For a create: its parent does not. A path that is not well formed
    /// is a node that does not exist, too.
    NoNode = -101, "no node";
    /// The session's credentials do not permit the operation.
    NoAuth = -102, "not authorized";
    /// The version given is not the version of the node; nothing was written.
    BadVersion = -103, "bad version";
    /// The parent node is ephemeral, and ephemeral nodes have no children.
    NoChildrenForEphemerals = -108, "ephemeral nodes have no children";
    /// The node exists already.
    NodeExists = -110, "node exists";
    /// The node has children, so it was not deleted.
    NotEmpty = -111, "not empty";
    /// The session is over; its ephemeral nodes are gone, or will be in a moment.
    SessionExpired = -112, "session expired";
    /// The callback is not valid; old, no present server sends it.
    InvalidCallback = -113, "invalid callback";
    /// The ACL is empty, malformed or of an unknown scheme, or asks for the creator's ids where the
    /// session has none.
    InvalidAcl = -114, "invalid acl";
    /// The server refused the credentials, or does not know their scheme.
    AuthFailed = -115, "authentication failed";
    /// The session is served by another server now; this connection is out of date.
    SessionMoved = -118, "session moved";
    /// The server is cut off from its quorum and serves reads only. Since 3.4.0.
    NotReadOnly = -119, "not possible on a read-only server";
    /// A session known to one server only cannot own ephemeral nodes. Since 3.5.0.
    EphemeralOnLocalSession = -120, "local sessions cannot have ephemeral nodes";
    /// There is no such watch. Since 3.5.0.
    NoWatcher = -121, "no watcher";
    /// No answer in time. The Java client makes it itself, a server does not send it. Since 3.5.5.
    RequestTimeout = -122, "request timeout";
    /// The server has `reconfigEnabled=false`. Since 3.5.3.
    ReconfigDisabled = -123, "reconfiguration disabled";
    /// The server demands SASL before anything else and has closed the session. Since 3.5.9.
    SessionClosedRequireSaslAuth = -124, "session closed, sasl authentication required";
    /// The write would go over a quota of a parent node; nothing was written. Since 3.7.0.
    QuotaExceeded = -125, "quota exceeded";
    /// The server is overloaded and has not run the operation. Since 3.7.0.
    ThrottledOp = -127, "throttled";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for raw in i32::from(i16::MIN)..=i32::from(i16::MAX) {
            assert_eq!(Code::from_raw(raw).raw(), raw);
        }
        for raw in [i32::MIN, i32::MAX] {
            assert_eq!(Code::from_raw(raw), Code::Unknown(raw));
        }
    }

    #[test]
    fn numbers_are_those_of_the_server() {
        let names = [
            (0, Code::Ok),
            (-2, Code::RuntimeInconsistency),
            (-5, Code::MarshallingError),
            (-6, Code::Unimplemented),
            (-8, Code::BadArguments),
            (-13, Code::NewConfigNoQuorum),
            (-101, Code::NoNode),
            (-102, Code::NoAuth),
            (-103, Code::BadVersion),
            (-108, Code::NoChildrenForEphemerals),
            (-110, Code::NodeExists),
            (-111, Code::NotEmpty),
            (-112, Code::SessionExpired),
            (-114, Code::InvalidAcl),
            (-115, Code::AuthFailed),
            (-118, Code::SessionMoved),
            (-119, Code::NotReadOnly),
            (-120, Code::EphemeralOnLocalSession),
            (-121, Code::NoWatcher),
            (-123, Code::ReconfigDisabled),
            (-124, Code::SessionClosedRequireSaslAuth),
            (-125, Code::QuotaExceeded),
            (-126, Code::Unknown(-126)),
            (-127, Code::ThrottledOp),
        ];
        for (raw, code) in names {
            assert_eq!(Code::from_raw(raw), code);
        }
    }

    #[test]
    fn codes_print_as_short_sentences() {
        assert_eq!(Code::NoNode.to_string(), "no node");
        assert_eq!(Code::BadVersion.to_string(), "bad version");
        assert_eq!(Code::NodeExists.to_string(), "node exists");
        assert_eq!(Code::NotEmpty.to_string(), "not empty");
        assert_eq!(Code::from_raw(-999).to_string(), "unknown error code -999");
    }

    #[test]
    fn no_two_codes_print_alike() {
        let mut sentences: Vec<_> = (-200..=0).map(|raw| Code::from_raw(raw).to_string()).collect();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), 201);
    }
}
