//! Pages of somebody who is not signed in, and of what went wrong.

use askama::Template;

use crate::form::Form;
use crate::frame::Frame;

/// A form alone on its page: signing in, signing up, opening a link.
#[derive(Template)]
#[template(path = "alone_form.html")]
pub struct AloneForm {
    frame: Frame,
    form: Form,
    provider: Option<(String, &'static str)>,
}

impl AloneForm {
    /// The page; `provider` is the address at which one can sign in by an identity provider.
    pub fn new(frame: Frame, form: Form, provider: Option<String>) -> Self {
        Self { frame, form, provider: provider.map(|href| (href, "Continue with single sign-on")) }
    }
}

/// That something was done.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct DonePage {
    frame: Frame,
    detail: String,
    can_retry: bool,
}

impl DonePage {
    /// The page, under the frame's title.
    pub fn new(frame: Frame, detail: impl Into<String>) -> Self {
        Self { frame, detail: detail.into(), can_retry: false }
    }
}

/// Something that could not be shown or done.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    frame: Frame,
    detail: String,
    can_retry: bool,
}

impl ProblemPage {
    /// The page.
    pub const fn new(frame: Frame, detail: String, can_retry: bool) -> Self {
        Self { frame, detail, can_retry }
    }
}
