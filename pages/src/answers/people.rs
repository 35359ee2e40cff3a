//! Who is invited and has not come yet.

use serde::Deserialize;

use super::User;

/// An invitation to an organization that is open.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) invited_by: String,
    pub(crate) invited_at: String,
    pub(crate) expires_at: String,
}

impl Invitation {
    /// Who invited them, as the audit log names them.
    pub fn by(&self) -> &str {
        &self.invited_by
    }
}

/// A platform administrator.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administrator {
    #[serde(flatten)]
    pub(crate) user: User,
    pub(crate) can_sign_in: bool,
    pub(crate) sign_in_link: Option<SignInLink>,
}

impl Administrator {
    /// Whether they have a way in, or a link to come by.
    pub(crate) const fn comes_in(&self) -> bool {
        self.can_sign_in || self.sign_in_link.is_some()
    }

    /// What people call them.
    pub(crate) fn title(&self) -> String {
        let User { name, email, .. } = &self.user;
        if name == email { email.clone() } else { format!("{name} ({email})") }
    }
}

/// A link by which somebody can sign in.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignInLink {
    pub(crate) made_by: String,
    pub(crate) expires_at: String,
}
