//! As much of a browser as a sign-in needs: cookies, redirects, forms.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Response;

/// The address under which Metergate is known to the provider.
pub(super) const PUBLIC_URL: &str = "http://metergate.test";

/// Somebody's browser.
pub(super) struct Browser {
    agent: Agent,
    /// From where it comes, as a proxy would say.
    from: String,
    /// Where [`PUBLIC_URL`] leads.
    server: String,
    /// Of each host.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// What it shows.
pub(super) struct Page {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) text: String,
    /// Where it leads, if it is a redirect.
    pub(super) to: Option<String>,
    /// What was to be kept.
    pub(super) set: Vec<String>,
}

impl Browser {
    pub(super) fn new(server: &str) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
        let agent = config.timeout_global(Some(Duration::from_secs(60))).build().new_agent();
        static BROWSERS: AtomicU32 = AtomicU32::new(0x0a00_0001);
        let from = Ipv4Addr::from(BROWSERS.fetch_add(1, Ordering::Relaxed)).to_string();
        Self { agent, from, server: server.to_owned(), cookies: BTreeMap::new() }
    }

    /// One page, without going on from it.
    pub(super) fn get(&mut self, url: &str) -> Page {
        let request = self.agent.get(self.address(url)).header("cookie", self.sent(url));
        let request = request.header("x-forwarded-for", &self.from);
        let answer = request.call().unwrap_or_else(|error| panic!("{url}: {error}"));
        self.shown(url, answer)
    }

    fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Page {
        let request = self.agent.post(self.address(url)).header("cookie", self.sent(url));
        let answer = request.send_form(form.iter().copied()).unwrap_or_else(|error| panic!("{url}: {error}"));
        self.shown(url, answer)
    }

    /// Goes where redirects lead.
    pub(super) fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            let Some(to) = page.to.clone() else { return page };
            page = self.get(&to);
        }
        panic!("too many redirects, the last to {:?}", page.to)
    }

    /// Answers the provider's forms as somebody who signs in with this name and allows what is asked.
    pub(super) fn sign_in(&mut self, start: &str, name: &str) -> Page {
        let mut page = self.get(start);
        page = self.follow(page);
        for _ in 0..5 {
            if page.url.starts_with(PUBLIC_URL) {
                return page;
            }
            let form: &[(&str, &str)] = match page.text.contains("name=\"login\"") {
                true => &[("prompt", "login"), ("login", name), ("password", "any")],
                false => &[("prompt", "consent")],
            };
            let action = attribute(&page.text, "action=\"").unwrap_or_else(|| panic!("no form: {}", page.text));
            let answer = self.post(&absolute(&page.url, action), form);
            page = self.follow(answer);
        }
        panic!("the provider asks on: {}", page.text)
    }

    /// Goes to the provider and back without allowing anything.
    pub(super) fn refuse(&mut self, start: &str) -> Page {
        let mut page = self.get(start);
        page = self.follow(page);
        let abort = attribute(&page.text, "href=\"").unwrap_or_else(|| panic!("no way back: {}", page.text)).to_owned();
        let answer = self.get(&absolute(&page.url, &abort));
        self.follow(answer)
    }

    /// Keeps a cookie of Metergate's.
    pub(super) fn keep(&mut self, cookie: &str) {
        let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
        self.cookies.entry(host(PUBLIC_URL).to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    fn address(&self, url: &str) -> String {
        url.strip_prefix(PUBLIC_URL).map_or_else(|| url.to_owned(), |path| format!("{}{path}", self.server))
    }

    fn sent(&self, url: &str) -> String {
        let of_host = self.cookies.get(host(url)).into_iter().flatten();
        of_host.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn shown(&mut self, url: &str, mut answer: Response<ureq::Body>) -> Page {
        let set = answer.headers().get_all("set-cookie").iter();
        let set: Vec<String> = set.map(|value| value.to_str().unwrap().to_owned()).collect();
        let kept = self.cookies.entry(host(url).to_owned()).or_default();
        for cookie in &set {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value.is_empty() {
                true => drop(kept.remove(name)),
                false => drop(kept.insert(name.to_owned(), value.to_owned())),
            }
        }
        let to = answer.headers().get("location").map(|to| absolute(url, to.to_str().unwrap()));
        let text = answer.body_mut().read_to_string().unwrap();
        Page { url: url.to_owned(), status: answer.status().as_u16(), text, to, set }
    }
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// What an address leads to that stands on a page.
fn absolute(page: &str, to: &str) -> String {
    match to.starts_with('/') {
        true => format!("{}{to}", page.split('/').take(3).collect::<Vec<_>>().join("/")),
        false => to.to_owned(),
    }
}

fn attribute<'t>(text: &'t str, begins: &str) -> Option<&'t str> {
    text.split_once(begins).and_then(|(_, rest)| rest.split('"').next())
}
