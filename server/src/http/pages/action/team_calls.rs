//! The actions on what is the team's: which form each shows, and which call of the API it becomes.

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metergate_pages::answers::{Fault, Key, Meter, Organization, Paged, Plan, Prices, Problem};
use metergate_pages::form::Form;
use metergate_pages::forms::plan::PlanDraft;
use metergate_pages::forms::{people, team};
use metergate_pages::frame::Place;
use metergate_pages::{prices, subscription};
use serde_json::{Value, json};

use super::super::api::{Answer, Api, Call};
use super::super::sent::Typed;
use super::super::trouble::Trouble;
use super::super::visit::{Visit, in_path, unless};
use super::Then;
use super::calls::{new_key, present};
use super::webhook_calls;

/// An action on what is the team's.
pub(super) struct Action {
    /// Its word in the address.
    pub(super) word: &'static str,
    /// The page on which its effect is seen.
    pub(super) back: &'static str,
    pub(super) place: Place,
    pub(super) done: &'static str,
    pub(super) call: fn(&Typed) -> Result<Call, Problem>,
}

pub(super) const fn action(
    word: &'static str,
    back: &'static str,
    place: Place,
    done: &'static str,
    call: fn(&Typed) -> Result<Call, Problem>,
) -> Action {
    Action { word, back, place, done, call }
}

pub(super) const ACTIONS: [Action; 17] = [
    action("new-organization", "/admin/organizations", Place::Organizations, "created", new_organization),
    action("plan", "/admin/plans", Place::Plans, "plan-saved", plan),
    action("delete-plan", "/admin/plans", Place::Plans, "plan-deleted", |typed| deletion("/v1/plans", typed)),
    action("meter", "/admin/meters", Place::Meters, "meter-saved", meter),
    action("delete-meter", "/admin/meters", Place::Meters, "meter-deleted", |typed| deletion("/v1/meters", typed)),
    action("price", "/admin/prices", Place::Prices, "price-saved", |typed| {
        Ok(Call::new(Method::PATCH, "/v1/prices", json!({"set": [price(typed)]})))
    }),
    action("remove-price", "/admin/prices", Place::Prices, "price-removed", |typed| {
        Ok(Call::new(Method::PATCH, "/v1/prices", json!({"remove": [price(typed)], "reason": typed.word("reason")})))
    }),
    action("key", "/admin/keys", Place::Keys, "settings", |typed| {
        let mut body = new_key(typed, "UTC");
        if let (Some(object), Some(organization)) = (body.as_object_mut(), typed.text("organization")) {
            object.insert("organization".to_owned(), organization.into());
        }
        Ok(Call::new(Method::POST, "/v1/api-keys", body))
    }),
    action("revoke-key", "/admin/keys", Place::Keys, "key-revoked", |typed| deletion("/v1/api-keys", typed)),
    action("rotate-key", "/admin/keys", Place::Keys, "settings", |typed| {
        Ok(Call::new(Method::POST, format!("/v1/api-keys/{}/rotate", part(typed, "key")), Value::Null))
    }),
    action("settings", "/admin/settings", Place::Settings, "settings", settings),
    action("logo", "/admin/settings", Place::Settings, "settings", logo),
    action("administrator", "/admin/settings", Place::Settings, "settings", |typed| {
        let body = present(json!({"email": typed.word("email"), "name": typed.value("name")}));
        Ok(Call::new(Method::POST, "/v1/administrators", body))
    }),
    action("remove-administrator", "/admin/settings", Place::Settings, "administrator-removed", |typed| {
        let path = format!("/v1/administrators/{}", part(typed, "administrator"));
        Ok(Call::new(Method::DELETE, path, json!({"reason": typed.word("reason")})))
    }),
    action("password-link", "/admin/settings", Place::Settings, "settings", |typed| {
        Ok(Call::new(Method::POST, "/v1/password-resets", json!({"email": typed.word("email")})))
    }),
    action("retry-stripe-event", "/admin/stripe", Place::Settings, "retried", |typed| {
        Ok(Call::new(Method::POST, format!("/v1/stripe-events/{}/retry", part(typed, "event")), Value::Null))
    }),
    action("resolve", "/admin/audit", Place::Audit, "resolved", |typed| {
        let (organization, entry) = (part(typed, "organization"), part(typed, "entry"));
        let path = format!("/v1/organizations/{organization}/audit-log/{entry}/resolve");
        Ok(Call::new(Method::POST, path, json!({"note": typed.word("note")})))
    }),
];

pub(super) fn part(typed: &Typed, name: &str) -> String {
    typed.text(name).map_or_else(|| "-".to_owned(), in_path)
}

fn deletion(path: &str, typed: &Typed) -> Result<Call, Problem> {
    Ok(Call::new(Method::DELETE, format!("{path}/{}", part(typed, "key")), json!({"reason": typed.word("reason")})))
}

fn new_organization(typed: &Typed) -> Result<Call, Problem> {
    let body = json!({"name": typed.value("name"), "key": typed.word("key"), "plan": typed.value("plan"),
        "timeZone": typed.value("timeZone"), "test": typed.is_checked("test")});
    Ok(Call::new(Method::POST, "/v1/organizations", present(body)))
}

/// The API says what is wrong with a definition; only that it is JSON is seen here.
fn plan(typed: &Typed) -> Result<Call, Problem> {
    let definition = match typed.raw("definition") {
        None => PlanDraft::typed(typed.pairs()).compact().definition(),
        Some(definition) => serde_json::from_str(definition).map_err(|error| {
            let detail = format!("This is no JSON: {error}.");
            Problem { errors: vec![Fault { detail, pointer: "#/definition".to_owned() }], ..Problem::default() }
        })?,
    };
    Ok(Call::new(Method::PUT, format!("/v1/plans/{}", part(typed, "key")), definition))
}

fn meter(typed: &Typed) -> Result<Call, Problem> {
    let dimensions =
        typed.text("dimensions").unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let decimals = typed.text("decimals").unwrap_or("0");
    let body = json!({"name": typed.value("name"), "unit": typed.value("unit"), "aggregation": typed.word("aggregation"),
        "eventType": typed.value("eventType"), "valueProperty": typed.value("valueProperty"),
        "decimals": decimals.parse::<u32>().map_or_else(|_| decimals.into(), Value::from),
        "dimensions": dimensions.collect::<Vec<_>>(), "record": typed.is_checked("record")});
    Ok(Call::new(Method::PUT, format!("/v1/meters/{}", part(typed, "key")), present(body)))
}

/// A price, or what names it.
fn price(typed: &Typed) -> Value {
    let above = typed.text("inputAbove").map(|text| text.parse::<i64>().map_or_else(|_| text.into(), Value::from));
    let mut price = json!({"model": typed.word("model"), "provider": typed.value("provider"),
        "effectiveFrom": typed.word("effectiveFrom"), "inputAbove": above});
    if let (Some(object), Some(input)) = (price.as_object_mut(), typed.text("input")) {
        object.insert("input".to_owned(), input.into());
        for name in ["cachedInput", "cacheWrite", "output", "source"] {
            object.insert(name.to_owned(), typed.value(name));
        }
    }
    present(price)
}

fn settings(typed: &Typed) -> Result<Call, Problem> {
    let months = typed.text("bringForwardMonths").unwrap_or("12");
    let body = json!({"teamName": typed.value("teamName"), "color": typed.value("color"), "contact": typed.value("contact"),
        "bringForwardMonths": months.parse::<u32>().map_or_else(|_| months.into(), Value::from)});
    Ok(Call::new(Method::PATCH, "/v1/settings", body))
}

/// The picture goes as the settings take it; whatever it is called, its bytes say what it is.
fn logo(typed: &Typed) -> Result<Call, Problem> {
    let address = match (typed.file(), typed.is_checked("remove")) {
        (_, true) => Value::Null,
        (Some(picture), false) => format!("data:image/png;base64,{}", STANDARD.encode(picture)).into(),
        (None, false) => {
            let detail = "Choose a picture.".to_owned();
            let errors = vec![Fault { detail, pointer: "#/logoUrl".to_owned() }];
            return Err(Problem { errors, ..Problem::default() });
        }
    };
    Ok(Call::new(Method::PATCH, "/v1/settings", json!({"logoUrl": address})))
}

impl Action {
    /// What follows once it is done.
    pub(super) fn then(&self, typed: &Typed) -> Then {
        if self.place == Place::Webhooks {
            return webhook_calls::then(self, typed);
        }
        let back = self.back.to_owned();
        let shows = |title, intro, secret| Then::Show { title, intro, secret, back: back.clone(), done: self.done };
        match self.word {
            "key" | "rotate-key" => {
                shows("The API key", "Copy it now: it is kept as a hash, and cannot be shown again.", "key")
            }
            "administrator" => shows(
                "Sign-in link",
                "It signs the new administrator in, once. Pass it on to them and to nobody else.",
                "signInUrl",
            ),
            "password-link" => {
                shows("Password link", "It works once, within a day. Pass it on to the user and to nobody else.", "url")
            }
            "new-organization" => Then::Go(format!("/admin/organizations/{}", part(typed, "key")), self.done),
            "plan" => Then::Go(format!("/admin/plans/{}", part(typed, "key")), self.done),
            _ => Then::Go(back, self.done),
        }
    }
}

/// What an address names has to be there when its form is shown. When the form is sent the API says what became of it: sent
/// again, it is done once.
fn there<T>(found: Option<T>, typed: &Typed) -> Result<Option<T>, Trouble> {
    if found.is_none() && typed.is_empty() { Err(Trouble::not_found()) } else { Ok(found) }
}

/// The form of an action, with what is there already.
pub(super) async fn form(visit: &Visit, action: &Action, typed: &Typed) -> Result<Form, Trouble> {
    let api = &visit.api;
    let named = |name: &str| typed.text(name).or_else(|| visit.query(name)).unwrap_or_default().to_owned();
    Ok(match action.word {
        "new-organization" => team::new_organization(&api.all("/v1/plans").await?),
        "plan" => plan_form(visit, typed).await?,
        "delete-plan" => plan_removal(api, &named("key"), typed).await?,
        "meter" => {
            let key = visit.query("key").unwrap_or_default();
            let found = match key {
                "" => None,
                key => unless(StatusCode::NOT_FOUND, api.get(&format!("/v1/meters/{}", in_path(key))).await)?,
            };
            team::meter(found.as_ref())
        }
        "delete-meter" => {
            let key = named("key");
            let found =
                unless(StatusCode::NOT_FOUND, api.get::<Meter>(&format!("/v1/meters/{}", in_path(&key))).await)?;
            team::delete_meter(&key, there(found, typed)?.as_ref(), &api.all("/v1/plans").await?)
        }
        "price" => {
            let table: Prices = api.get("/v1/prices").await?;
            let of = |name: &str| visit.query(name).unwrap_or_default();
            let found = table
                .prices
                .iter()
                .find(|price| price.is_named(of("model"), of("provider"), of("effectiveFrom"), of("inputAbove")));
            let found = if of("model").is_empty() { None } else { there(found, typed)? };
            prices::form(found, of("new"), visit.frame.now.get(..10).unwrap_or_default())
        }
        "remove-price" => {
            let [model, provider, from, above] = ["model", "provider", "effectiveFrom", "inputAbove"].map(named);
            let table: Prices = api.get("/v1/prices").await?;
            let found = table.prices.iter().find(|price| price.is_named(&model, &provider, &from, &above));
            prices::removal([&model, &provider, &from, &above], there(found, typed)?)
        }
        "key" => people::new_key(None),
        "revoke-key" => people::revoke_key(&named("key"), &keys(api, &named("key")).await?),
        "rotate-key" => people::rotate_key(&named("key"), &keys(api, &named("key")).await?),
        "settings" => team::settings(&api.get("/v1/settings").await?),
        "logo" => team::logo(&visit.frame),
        "administrator" => team::new_administrator(),
        "remove-administrator" => {
            let (id, all) = (named("administrator"), api.all("/v1/administrators").await?);
            team::remove_administrator(&id, &all, visit.me().user.as_ref())
        }
        "retry-stripe-event" => subscription::retry(&named("event")),
        "resolve" => team::resolve(&named("organization"), &named("entry")),
        _ => team::password_link(&named("email")),
    })
}

/// The form of a plan's end, with the organizations that are in its way.
async fn plan_removal(api: &Api, key: &str, typed: &Typed) -> Result<Form, Trouble> {
    let found = unless(StatusCode::NOT_FOUND, api.get::<Plan>(&format!("/v1/plans/{}", in_path(key))).await)?;
    let found = there(found, typed)?;
    let path = format!("/v1/organizations?limit=4&plan={}", in_path(key));
    let on_it = match &found {
        Some(_) => api.get::<Paged<Organization>>(&path).await?.data,
        None => Vec::new(),
    };
    Ok(team::delete_plan(key, found.as_ref(), &on_it))
}

/// The key of an id, and others that are like it.
async fn keys(api: &Api, id: &str) -> Result<Vec<Key>, Trouble> {
    Ok(api.get::<Paged<Key>>(&format!("/v1/api-keys?search={}", in_path(id))).await?.data)
}

/// The form of a plan: a field for each thing, or all of it as JSON.
async fn plan_form(visit: &Visit, typed: &Typed) -> Result<Form, Trouble> {
    let (api, key) = (&visit.api, visit.query("key"));
    let found = match key {
        Some(key) => unless(StatusCode::NOT_FOUND, api.answer(&format!("/v1/plans/{}", in_path(key))).await)?,
        None => None,
    };
    let version = found.as_ref().and_then(Answer::version);
    let address =
        key.map_or_else(|| "/admin/do/plan?".to_owned(), |key| format!("/admin/do/plan?key={}&", in_path(key)));
    let is_json = typed.raw("definition").is_some() || (typed.is_empty() && visit.query("as") == Some("json"));
    if is_json {
        let form =
            team::plan_as_json(key.unwrap_or_default(), &definition(found.map(|found| found.read()).transpose()?));
        return Ok(form.of_version(version).link(address.trim_end_matches(['?', '&']), "Edit in fields"));
    }
    let (meters, plans) = (api.all("/v1/meters").await?, api.all("/v1/plans").await?);
    let there = found.map(|found| PlanDraft::of(&found.text()));
    let draft = match typed.is_empty() {
        true => there.clone().unwrap_or_else(PlanDraft::new),
        false => PlanDraft::typed(typed.pairs()),
    };
    let draft = match typed.text("add") {
        Some(section) => draft.with_row(section),
        None if typed.is_empty() => draft,
        None => draft.compact(),
    };
    let differences = there.map_or_else(Vec::new, |there| draft.differences(&there, &meters));
    let form = draft.form(key, &meters, &plans).of_version(version).link(format!("{address}as=json"), "Edit as JSON");
    let form = match key {
        Some(key) => {
            form.link(format!("/admin/what-if?plan={}", in_path(key)), "What if? Past usage under other limits")
        }
        None => form,
    };
    Ok(if typed.is_empty() { form } else { form.filled(differences) })
}

/// Why something new cannot be made under its key: there is one, which a form for a new one would replace.
pub(super) async fn taken(visit: &Visit, action: &Action, typed: &Typed) -> Result<Option<Problem>, Trouble> {
    if action.word == "price" {
        return price_taken(visit, typed).await;
    }
    let (Some(key), true) = (typed.text("key"), matches!(action.word, "plan" | "meter")) else { return Ok(None) };
    if visit.query("key").is_some() {
        return Ok(None);
    }
    let path = format!("/v1/{}s/{}", action.word, in_path(key));
    let found: Option<Value> = unless(StatusCode::NOT_FOUND, visit.api.get(&path).await)?;
    Ok(found.map(|_| {
        let detail = "There is one with this key: edit that instead.".to_owned();
        Problem { errors: vec![Fault { detail, pointer: "#/key".to_owned() }], ..Problem::default() }
    }))
}

/// The same of a price, unless the form was one of that price.
async fn price_taken(visit: &Visit, typed: &Typed) -> Result<Option<Problem>, Trouble> {
    const NAMES: [&str; 4] = ["model", "provider", "effectiveFrom", "inputAbove"];
    let [model, provider, from, above] = NAMES.map(|name| typed.text(name).unwrap_or_default());
    if NAMES.map(|name| visit.query(name).unwrap_or_default()) == [model, provider, from, above] {
        return Ok(None);
    }
    let table: Prices = visit.api.get("/v1/prices").await?;
    let is_there = table.prices.iter().any(|price| price.is_named(model, provider, from, above));
    Ok(is_there.then(|| {
        let detail = "There is a price of this model from then on: edit that instead.".to_owned();
        Problem { errors: vec![Fault { detail, pointer: "#/effectiveFrom".to_owned() }], ..Problem::default() }
    }))
}

/// A plan as it is edited: what the server adds to it is left out.
fn definition(found: Option<Value>) -> String {
    let mut plan = found.unwrap_or_else(|| json!({"name": "", "limits": [], "features": {}}));
    if let Some(object) = plan.as_object_mut() {
        object.retain(|name, value| !matches!(name.as_str(), "key" | "version" | "createdAt") && !value.is_null());
    }
    serde_json::to_string_pretty(&plan).unwrap_or_default()
}
