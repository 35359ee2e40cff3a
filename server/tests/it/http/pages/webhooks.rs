//! Pages of webhook endpoints.

use metergate_rules::notice::Kind;
use serde_json::json;

use super::super::server::Server;
use super::browser::Browser;
use super::{administrator, done};

/// Nobody listens there, so each try fails at once: the tests are given ports that are free, of those far above.
const URL: &str = "http://127.0.0.1:1025/hooks";

fn started() -> (Server, Browser) {
    let server = Server::with(&[("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8")]);
    let ops = administrator(&server);
    (server, ops)
}

#[test]
fn an_endpoint_is_made_edited_tried_rotated_and_deleted_by_forms() {
    let (server, mut ops) = started();
    let empty = ops.page("/admin/webhooks");
    assert!(empty.contains("No endpoints yet") && empty.contains("href=\"/admin/do/new-webhook\""), "{empty}");
    let form = ops.page("/admin/do/new-webhook");
    for kind in Kind::ALL {
        assert!(form.contains(&format!("name=\"type.{}\"", kind.as_str())), "{}", kind.as_str());
    }
    let wrong = ops.submit("/admin/do/new-webhook", &[("url", "https://10.0.0.1/")]).is(422).text;
    assert!(wrong.contains("id=\"field-url-error\"") && wrong.contains("private"), "{wrong}");
    let typed = [("url", URL), ("description", "Billing"), ("type.usage.reset", "true")];
    let shown = ops.submit("/admin/do/new-webhook", &typed).is(200).text;
    let endpoint = server.admin().list("/v1/webhook-endpoints").remove(0);
    let id = endpoint["id"].as_str().unwrap();
    assert_eq!(endpoint["types"], json!(["usage.reset"]));
    let secret = |server: &Server| {
        let answer = server.admin().get(&format!("/v1/webhook-endpoints/{id}?secret=true")).is(200).json();
        answer["secret"].as_str().unwrap().to_owned()
    };
    assert!(shown.contains(&secret(&server)), "{shown}");
    let page = format!("/admin/webhooks/{id}");
    assert!(ops.page("/admin/webhooks").contains(&format!("href=\"{page}\">Billing</a>")));
    let one = ops.page(&page);
    assert!(one.contains("Nothing was sent yet") && !one.contains(&secret(&server)), "{one}");
    assert!(ops.page(&format!("{page}/secret")).contains(&secret(&server)));
    let action = |word: &str| format!("/admin/do/{word}?endpoint={id}");
    let edited = [("description", "Ops"), ("type.trial.ended", "true")];
    done(&ops.submit(&action("webhook"), &edited), "webhook-saved");
    let changed = server.admin().get(&format!("/v1/webhook-endpoints/{id}")).is(200).json();
    assert_eq!((&changed["description"], &changed["types"]), (&json!("Ops"), &json!(["trial.ended", "usage.reset"])));
    done(&ops.submit(&action("test-webhook"), &[]), "webhook-tested");
    let tried = ops.page(&page);
    assert!(tried.contains("webhook.test") && tried.contains("pending") && tried.contains("1 try"), "{tried}");
    assert!(ops.page(&format!("{page}?state=delivered")).contains("Nothing found"));
    assert!(ops.page(&format!("{page}?state=pending")).contains("webhook.test"));
    ops.page(&format!("{page}?state=lost"));
    let delivery = server.admin().list(&format!("/v1/webhook-endpoints/{id}/deliveries")).remove(0);
    let resend = format!("{}&delivery={}", action("resend-webhook"), delivery["id"].as_str().unwrap());
    done(&ops.submit(&resend, &[]), "webhook-resent");
    let before = secret(&server);
    let rotated = ops.submit(&action("rotate-webhook"), &[]).is(200).text;
    assert!(before != secret(&server) && rotated.contains(&secret(&server)), "{rotated}");
    let again = ops.submit(&action("rotate-webhook"), &[]).is(409).text;
    assert!(again.contains("check “End the present secret at once”") && !again.contains("oldEndsInSeconds"), "{again}");
    done(&ops.submit(&action("disable-webhook"), &[("reason", "it moves")]), "webhook-disabled");
    let disabled = ops.page(&page);
    assert!(disabled.contains("An operator has disabled it.") && disabled.contains(">Enable</a>"), "{disabled}");
    assert!(!ops.page("/admin").contains("A webhook endpoint is"), "an operator knows of it");
    done(&ops.submit(&action("enable-webhook"), &[]), "webhook-enabled");
    done(&ops.submit(&action("delete-webhook"), &[("reason", "it has moved")]), "webhook-deleted");
    ops.get(&page).is(404);
    ops.get(&action("webhook")).is(404);
}

#[test]
fn endpoints_are_listed_in_the_order_in_which_they_were_made() {
    let (server, mut ops) = started();
    let names = ["Eve", "Ada", "Cleo", "Bob", "Dan", "Fay"];
    for name in names {
        server.admin().post("/v1/webhook-endpoints", json!({"url": URL, "description": name})).is(201);
    }
    let page = ops.page("/admin/webhooks");
    let places = names.map(|name| page.find(&format!(">{name}</a>")).unwrap());
    assert!(places.is_sorted(), "{places:?}: {page}");
}

#[test]
fn the_first_page_says_which_endpoints_were_stopped() {
    let receiver = super::super::webhooks::gone();
    let (server, mut ops) = started();
    let admin = server.admin();
    let made =
        admin.post("/v1/webhook-endpoints", json!({"url": receiver.url, "description": "Billing"})).is(201).json();
    let path = format!("/v1/webhook-endpoints/{}", made["id"].as_str().unwrap());
    assert!(!ops.page("/admin").contains("A webhook endpoint is"));
    admin.call("POST", &format!("{path}/test")).send().is(201);
    let stopped = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        admin.get(&path).json()["enabled"] == false
    });
    assert!(stopped);
    let overview = ops.page("/admin");
    assert!(overview.contains("A webhook endpoint is gone.") && overview.contains(">Billing</a>"), "{overview}");
    let page = ops.page(&format!("/admin/webhooks/{}", made["id"].as_str().unwrap()));
    assert!(page.contains("It answered 410 Gone"), "{page}");
    assert!(ops.page("/admin/webhooks").contains(">gone</span>"));
}
