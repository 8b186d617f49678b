//! The operations of the protocol.

/// Writes the enum, its numbers, names and versions from one table.
macro_rules! opcodes {
    ($($variant:ident = $raw:literal, $name:literal, $since:literal;)+) => {
        /// What a request asks for.
        ///
        /// `Debug` prints the operation as the wire knows it (`GetChildren2`), [`OpCode::name`] as
        /// the caller does (`get_children`).
        ///
        /// Source: ZooKeeper `ZooDefs.java`, interface `OpCode`. What only servers send to each
        /// other is left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub(crate) enum OpCode {
            $($variant = $raw,)+
        }

        impl OpCode {
            /// The operation that a number stands for, if a client may ask for it.
            pub(crate) const fn from_raw(raw: i32) -> Option<Self> {
                match raw {
                    $($raw => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The number as it is on the wire.
            pub(crate) const fn raw(self) -> i32 {
                self as i32
            }

            /// The name in snake case, as the method of the client is called: the four kinds of
            /// create are all `create`.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The first server version that knows the operation.
            pub(crate) const fn since(self) -> &'static str {
                match self {
                    $(Self::$variant => $since,)+
                }
            }
        }
    };
}

opcodes! {
    CloseSession         = -11, "close",                    "3.0.0";
    Create               = 1,   "create",                   "3.0.0";
    Delete               = 2,   "delete",                   "3.0.0";
    Exists               = 3,   "exists",                   "3.0.0";
    GetData              = 4,   "get_data",                 "3.0.0";
    SetData              = 5,   "set_data",                 "3.0.0";
    GetAcl               = 6,   "get_acl",                  "3.0.0";
    SetAcl               = 7,   "set_acl",                  "3.0.0";
    GetChildren          = 8,   "get_children",             "3.0.0";
    Sync                 = 9,   "sync",                     "3.0.0";
    Ping                 = 11,  "ping",                     "3.0.0";
    GetChildren2         = 12,  "get_children",             "3.3.0";
    Check                = 13,  "check",                    "3.4.0";
    Multi                = 14,  "multi",                    "3.4.0";
    Create2              = 15,  "create",                   "3.5.0";
    Reconfig             = 16,  "reconfig",                 "3.5.0";
    CheckWatches         = 17,  "check_watches",            "3.5.0";
    RemoveWatches        = 18,  "remove_watches",           "3.5.0";
    CreateContainer      = 19,  "create",                   "3.5.1";
    CreateTtl            = 21,  "create",                   "3.5.3";
    MultiRead            = 22,  "multi_read",               "3.6.0";
    Auth                 = 100, "auth",                     "3.0.0";
    SetWatches           = 101, "set_watches",              "3.0.0";
    Sasl                 = 102, "sasl",                     "3.4.0";
    GetEphemerals        = 103, "get_ephemerals",           "3.6.0";
    GetAllChildrenNumber = 104, "get_all_children_number",  "3.6.0";
    SetWatches2          = 105, "set_watches",              "3.6.0";
    AddWatch             = 106, "add_watch",                "3.6.0";
    WhoAmI               = 107, "who_am_i",                 "3.7.0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_comes_back_from_its_number() {
        let ops: Vec<_> = (-200..200).filter_map(OpCode::from_raw).collect();
        assert_eq!(ops.len(), 29);
        for op in ops {
            assert_eq!(OpCode::from_raw(op.raw()), Some(op));
        }
    }

    #[test]
    fn what_only_servers_send_is_unknown() {
        for raw in [-10, -1, 0, 10, 20, 99, i32::MIN, i32::MAX] {
            assert_eq!(OpCode::from_raw(raw), None);
        }
    }

    #[test]
    fn names_are_those_of_methods() {
        assert_eq!(OpCode::GetData.name(), "get_data");
        assert_eq!(OpCode::Create2.name(), "create");
        assert_eq!(OpCode::GetChildren2.name(), "get_children");
    }

    #[test]
    fn operations_know_their_first_server() {
        assert_eq!(OpCode::GetData.since(), "3.0.0");
        assert_eq!(OpCode::CreateTtl.since(), "3.5.3");
        assert_eq!(OpCode::AddWatch.since(), "3.6.0");
    }
}
