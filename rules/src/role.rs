//! Who may do what: the one table of roles, key scopes and rights. Every check and the test of all routes are made from it.

use serde::{Deserialize, Serialize};

/// What a member may do in an organization; each may what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Appends entries to the audit log, and chooses what mails they get, too.
    Editor,
    /// Changes members below owner, keys, the billing cycle, time zone and name, too.
    Admin,
    /// Changes owners and deletes the organization, too.
    Owner,
}

impl Role {
    /// From the least to the most.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Admin, Self::Owner];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Whether a member of this role may change one who has `before` so that they have `after`; `None` where they are no
    /// member before, or none after. Owners are changed by owners alone.
    pub fn may_change(self, before: Option<Self>, after: Option<Self>) -> bool {
        let highest = before.max(after);
        self == Self::Owner || (self == Self::Admin && highest < Some(Self::Owner))
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Record events, nothing else.
    Ingest,
    /// Decide and reserve, and record events.
    Consume,
    /// Read.
    Read,
    /// Everything, if the key is not bound to one organization.
    Admin,
}

impl KeyScope {
    /// In the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Consume, Self::Read, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Consume => "consume",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The scope of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To be anybody who is known.
    Any,
    /// To be a person who is signed in.
    Person,
    /// To decide and to reserve.
    Consume,
    /// To record events and completions, and how far an import is.
    Record,
    /// To read what the team defines: meters and plans.
    Catalogue,
    /// To read an organization's use, limits, cycle and credits.
    Read,
    /// To append to an organization's audit log.
    Append,
    /// To choose what one is told by mail of an organization.
    Notify,
    /// To read an organization's audit log.
    ReadAudit,
    /// To read who an organization's members are.
    ReadMembers,
    /// To change an organization's members, keys, billing cycle, time zone and name.
    Administer,
    /// To delete an organization.
    Delete,
    /// To list an organization's keys.
    ReadKeys,
    /// To be sent to where an organization's subscription is paid: also while it is locked because it is not.
    Pay,
    /// To mint a link into an organization's portal.
    Link,
    /// To do what operators do.
    Operate,
}

/// Which users a right is for, apart from platform administrators, who may everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// None of them.
    None,
    /// All who are signed in.
    All,
    /// Members of the organization, from this role on.
    From(Role),
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Any,
        Self::Person,
        Self::Consume,
        Self::Record,
        Self::Catalogue,
        Self::Read,
        Self::Append,
        Self::Notify,
        Self::ReadAudit,
        Self::ReadMembers,
        Self::Administer,
        Self::Delete,
        Self::ReadKeys,
        Self::Pay,
        Self::Link,
        Self::Operate,
    ];

    /// The table: the scopes of keys that give it, the users who have it, and whether it changes something, which members
    /// may not while their organization is locked.
    const fn row(self) -> (&'static [KeyScope], Users, bool) {
        use KeyScope::{Consume, Ingest, Read};
        match self {
            Self::Any => (&KeyScope::ALL, Users::All, false),
            Self::Person => (&[], Users::All, false),
            Self::Consume => (&[Consume], Users::None, true),
            Self::Record => (&[Ingest, Consume], Users::None, true),
            Self::Catalogue => (&[Read], Users::None, false),
            Self::Read => (&[Read], Users::From(Role::Viewer), false),
            Self::Append => (&[Ingest], Users::From(Role::Editor), true),
            Self::Notify => (&[], Users::From(Role::Editor), true),
            Self::ReadAudit => (&[], Users::From(Role::Admin), false),
            Self::ReadMembers => (&[], Users::From(Role::Viewer), false),
            Self::Administer => (&[], Users::From(Role::Admin), true),
            Self::Delete => (&[], Users::From(Role::Owner), true),
            Self::ReadKeys => (&[], Users::From(Role::Admin), false),
            Self::Pay => (&[], Users::From(Role::Admin), false),
            Self::Link => (&[Consume], Users::None, false),
            Self::Operate => (&[], Users::None, true),
        }
    }

    /// The scopes of which one gives it to a key. One that is bound to no organization and has scope `admin` has every
    /// right but to be a person.
    pub const fn scopes(self) -> &'static [KeyScope] {
        self.row().0
    }

    /// Who has it among users.
    pub const fn users(self) -> Users {
        self.row().1
    }

    /// Whether it changes something.
    pub const fn changes(self) -> bool {
        self.row().2
    }

    /// Whether a key has it.
    pub fn is_of_key(self, scopes: &[KeyScope], bound: bool) -> bool {
        let operator = !bound && scopes.contains(&KeyScope::Admin) && self != Self::Person;
        operator || self.scopes().iter().any(|scope| scopes.contains(scope))
    }

    /// Whether a member of an organization has it there.
    pub fn is_of_member(self, role: Role) -> bool {
        match self.users() {
            Users::None => false,
            Users::All => true,
            Users::From(least) => role >= least,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_all_that_the_roles_below_it_may() {
        for right in Right::ALL {
            let having: Vec<bool> = Role::ALL.iter().map(|role| right.is_of_member(*role)).collect();
            assert!(having.is_sorted(), "{right:?}: {having:?}");
        }
    }

    #[test]
    fn owners_are_changed_by_owners_alone_and_nobody_by_those_below_admin() {
        let (none, viewer, admin, owner) = (None, Some(Role::Viewer), Some(Role::Admin), Some(Role::Owner));
        #[rustfmt::skip]
        let cases = [ // before, after, viewer, editor, admin, owner
            (none,   viewer, [false, false, true,  true]),
            (none,   owner,  [false, false, false, true]),
            (viewer, admin,  [false, false, true,  true]),
            (admin,  none,   [false, false, true,  true]),
            (admin,  owner,  [false, false, false, true]),
            (owner,  viewer, [false, false, false, true]),
            (owner,  none,   [false, false, false, true]),
        ];
        for (before, after, expected) in cases {
            assert_eq!(Role::ALL.map(|role| role.may_change(before, after)), expected, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn only_an_unbound_key_with_scope_admin_operates_and_no_key_is_a_person() {
        for scope in KeyScope::ALL {
            for bound in [false, true] {
                let operates = scope == KeyScope::Admin && !bound;
                assert_eq!(Right::Operate.is_of_key(&[scope], bound), operates, "{scope:?} {bound}");
                assert!(!Right::Person.is_of_key(&[scope], bound));
            }
        }
    }
}
