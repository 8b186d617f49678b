//! Who may do what with a node.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::jute::{DecodeError, Reader, Writer};

/// A set of permissions on a node.
///
/// Prints as the letters that ZooKeeper's own shell uses: `cdrwa` for all, `-` for none.
///
/// Source: ZooKeeper `ZooDefs.java`, interface `Perms`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(i32);

impl Permissions {
    /// To read the data and list the children.
    pub const READ: Self = Self(1);
    /// To set the data.
    pub const WRITE: Self = Self(2);
    /// To create children.
    pub const CREATE: Self = Self(4);
    /// To delete children. Deleting a node asks the ACL of its parent, not its own.
    pub const DELETE: Self = Self(8);
    /// To set the ACL.
    pub const ADMIN: Self = Self(16);
    /// All of the above.
    pub const ALL: Self = Self(31);

    /// The set with these bits. Bits that this crate has no name for are kept.
    pub const fn from_bits(bits: i32) -> Self {
        Self(bits)
    }

    /// The set as it is on the wire.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether every permission of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Permissions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Permissions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        for (permission, letter) in LETTERS {
            if self.contains(permission) {
                f.write_str(letter)?;
            }
        }
        let unnamed = self.0 & !Self::ALL.0;
        if unnamed != 0 {
            write!(f, "+{unnamed:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One entry of a node's access control list: these permissions for this identity.
///
/// A list with several entries grants what any of them grants. A node's ACL is its own; children do
/// not inherit it.
///
/// `Debug` leaves out the hash in the id of a `digest` entry, so that an ACL can be logged.
///
/// Source: ZooKeeper `ACL` and `Id` in `zookeeper.jute`; `ZooDefs.java`, interface `Ids`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Acl {
    /// What is granted.
    pub permissions: Permissions,
    /// The kind of identity: `world`, `auth`, `digest`, `ip`, `x509`, `sasl`, …
    pub scheme: String,
    /// Who, in the form that the scheme asks for.
    pub id: String,
}

impl Acl {
    /// The least that one takes on the wire: an int and two empty strings.
    const MIN_LEN: usize = 12;

    /// Grants `permissions` to `id` of `scheme`.
    pub fn new(permissions: Permissions, scheme: impl Into<String>, id: impl Into<String>) -> Self {
        Self { permissions, scheme: scheme.into(), id: id.into() }
    }

    /// Grants everything to everyone, `OPEN_ACL_UNSAFE` in Java.
    pub fn open() -> Self {
        Self::world(Permissions::ALL)
    }

    /// [`open`](Self::open) alone, made once: nearly every create has it.
    pub(crate) fn open_list() -> &'static [Self] {
        static OPEN: LazyLock<[Acl; 1]> = LazyLock::new(|| [Acl::open()]);
        &*OPEN
    }

    /// Lets everyone read, `READ_ACL_UNSAFE` in Java.
    pub fn read_open() -> Self {
        Self::world(Permissions::READ)
    }

    /// Grants everything to the identities that the session has authenticated as when the node is
    /// made, `CREATOR_ALL_ACL` in Java.
    ///
    /// The server writes those identities in its place. A session without any is refused with
    /// [`Code::InvalidAcl`](super::code::Code::InvalidAcl).
    pub fn creator_all() -> Self {
        Self::new(Permissions::ALL, "auth", "")
    }

    /// Grants `permissions` to whoever authenticates with scheme `digest` and `user:password`.
    ///
    /// The password stays here; the entry holds [`digest_id`].
    pub fn digest(user: &str, password: &str, permissions: Permissions) -> Self {
        Self::new(permissions, DIGEST, digest_id(user, password))
    }

    /// Grants `permissions` to clients from an address, or from a network written `addr/bits`.
    pub fn ip(addr: impl Into<String>, permissions: Permissions) -> Self {
        Self::new(permissions, "ip", addr)
    }

    /// Grants `permissions` to everyone.
    pub fn world(permissions: Permissions) -> Self {
        Self::new(permissions, "world", "anyone")
    }

    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.i32(self.permissions.0);
        w.string(&self.scheme);
        w.string(&self.id);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { permissions: Permissions(r.i32()?), scheme: r.string()?, id: r.string()? })
    }

    /// Writes a whole list, its count first.
    pub(crate) fn encode_all(list: &[Self], w: &mut Writer<'_>) {
        w.count(list.len());
        for acl in list {
            acl.encode(w);
        }
    }

    /// Reads a whole list.
    pub(crate) fn decode_all(r: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        r.vector(Self::MIN_LEN, Self::decode)
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match self.id.split_once(':') {
            Some((user, _hash)) if self.scheme == DIGEST => Some(user),
            _ => None,
        };
        let mut out = f.debug_struct("Acl");
        out.field("permissions", &self.permissions).field("scheme", &self.scheme);
        match user {
            Some(user) => out.field("id", &format_args!("\"{}:…\"", user.escape_debug())),
            None => out.field("id", &self.id),
        };
        out.finish()
    }
}

/// The id that scheme `digest` has for a user and password: `user:` and the base64 of the SHA-1 of
/// `user:password`.
///
/// This is the server's default algorithm; one with another `zookeeper.DigestAlgorithm` needs
/// another id.
///
/// Source: ZooKeeper `DigestAuthenticationProvider.java`, `generateDigest`.
pub fn digest_id(user: &str, password: &str) -> String {
    let hash = sha1_smol::Sha1::from(format!("{user}:{password}")).digest();
    format!("{user}:{}", STANDARD.encode(hash.bytes()))
}

/// In the order of ZooKeeper's shell.
const LETTERS: [(Permissions, &str); 5] = [
    (Permissions::CREATE, "c"),
    (Permissions::DELETE, "d"),
    (Permissions::READ, "r"),
    (Permissions::WRITE, "w"),
    (Permissions::ADMIN, "a"),
];
/// The scheme whose ids hold a hash of a password.
const DIGEST: &str = "digest";

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::captured::unhex;

    pub(in crate::proto) fn any_acl() -> impl Strategy<Value = Acl> {
        (any::<i32>(), ".{0,8}", ".{0,8}")
            .prop_map(|(bits, scheme, id)| Acl::new(Permissions::from_bits(bits), scheme, id))
    }

    #[test]
    fn digest_ids_are_golden() {
        assert_eq!(digest_id("super", "test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(digest_id("u", "p"), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
    }

    #[test]
    fn open_list_is_golden() {
        let mut out = Vec::new();
        Acl::encode_all(&[Acl::open()], &mut Writer::new(&mut out));
        let golden = "000000010000001f00000005776f726c6400000006616e796f6e65";
        assert_eq!(out, unhex(golden));
    }

    #[test]
    fn constructors_name_their_scheme() {
        let list = [
            (Acl::open(), 31, "world", "anyone"),
            (Acl::read_open(), 1, "world", "anyone"),
            (Acl::creator_all(), 31, "auth", ""),
            (Acl::ip("10.0.0.0/8", Permissions::READ), 1, "ip", "10.0.0.0/8"),
            (
                Acl::digest("u", "p", Permissions::ADMIN),
                16,
                "digest",
                "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=",
            ),
        ];
        for (acl, bits, scheme, id) in list {
            assert_eq!(acl.permissions.bits(), bits);
            assert_eq!((acl.scheme.as_str(), acl.id.as_str()), (scheme, id));
        }
    }

    #[test]
    fn permissions_print_as_the_letters_of_the_shell() {
        assert_eq!(Permissions::ALL.to_string(), "cdrwa");
        assert_eq!((Permissions::WRITE | Permissions::READ).to_string(), "rw");
        assert_eq!(format!("{:?}", Permissions::ADMIN), "a");
        assert_eq!(Permissions::default().to_string(), "-");
        assert_eq!(Permissions::from_bits(0x21).to_string(), "r+0x20");
    }

    #[test]
    fn permissions_contain_what_was_put_in() {
        let mut some = Permissions::READ;
        some |= Permissions::CREATE;
        assert!(some.contains(Permissions::READ) && some.contains(Permissions::default()));
        assert!(!some.contains(Permissions::READ | Permissions::WRITE));
        assert!(Permissions::ALL.contains(some));
    }

    #[test]
    fn hash_of_a_digest_is_not_printed() {
        let shown = format!("{:?}", Acl::digest("bob", "secret", Permissions::ALL));
        assert_eq!(shown, "Acl { permissions: cdrwa, scheme: \"digest\", id: \"bob:…\" }");
        let shown = format!("{:?}", Acl::ip("::1", Permissions::READ));
        assert_eq!(shown, "Acl { permissions: r, scheme: \"ip\", id: \"::1\" }");
    }

    proptest! {
        #[test]
        fn list_comes_back(list in prop::collection::vec(any_acl(), 0..8)) {
            let mut out = Vec::new();
            Acl::encode_all(&list, &mut Writer::new(&mut out));
            prop_assert_eq!(Acl::decode_all(&mut Reader::new(&out))?, list);
        }

        #[test]
        fn any_bytes_are_a_list_or_an_error(bytes: Vec<u8>) {
            let _ = Acl::decode_all(&mut Reader::new(&bytes));
        }
    }
}
