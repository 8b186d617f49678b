//! The operations of the protocol.

/// Writes the enum, its numbers and versions from one table.
macro_rules! opcodes {
    ($($variant:ident = $raw:literal, $since:literal;)+) => {
        /// What a request asks for.
        ///
        /// Source: ZooKeeper `ZooDefs.java`, interface `OpCode`. What only servers send to each
        /// other is left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        // All fit; each request in flight holds one.
        #[repr(i16)]
        pub(crate) enum OpCode {
            $(#[doc = concat!("Since ", $since, ".")] $variant = $raw,)+
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
                self as i16 as i32
            }
        }
    };
}

opcodes! {
    CloseSession         = -11, "3.0.0";
    Create               = 1,   "3.0.0";
    Delete               = 2,   "3.0.0";
    Exists               = 3,   "3.0.0";
    GetData              = 4,   "3.0.0";
    SetData              = 5,   "3.0.0";
    GetAcl               = 6,   "3.0.0";
    SetAcl               = 7,   "3.0.0";
    GetChildren          = 8,   "3.0.0";
    Sync                 = 9,   "3.0.0";
    Ping                 = 11,  "3.0.0";
    GetChildren2         = 12,  "3.3.0";
    Check                = 13,  "3.4.0";
    Multi                = 14,  "3.4.0";
    Create2              = 15,  "3.5.0";
    Reconfig             = 16,  "3.5.0";
    CheckWatches         = 17,  "3.5.0";
    RemoveWatches        = 18,  "3.5.0";
    CreateContainer      = 19,  "3.5.1";
    CreateTtl            = 21,  "3.5.3";
    MultiRead            = 22,  "3.6.0";
    Auth                 = 100, "3.0.0";
    SetWatches           = 101, "3.0.0";
    Sasl                 = 102, "3.4.0";
    GetEphemerals        = 103, "3.6.0";
    GetAllChildrenNumber = 104, "3.6.0";
    SetWatches2          = 105, "3.6.0";
    AddWatch             = 106, "3.6.0";
    WhoAmI               = 107, "3.7.0";
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
}
