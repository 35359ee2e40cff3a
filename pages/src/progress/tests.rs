use super::*;

/// Used, held, base, extra, granted of a hard limit in messages.
fn standing(used: i64, held: i64, base: i64, extra: i64, granted: i64) -> Standing {
    let limit = base + extra + granted;
    Standing {
        meter: "messages".to_owned(),
        window: "billingPeriod".to_owned(),
        used: Amount::whole(used),
        held: Amount::whole(held),
        overage: None,
        base: Some(Amount::whole(base)),
        extra: Amount::whole(extra),
        granted: Amount::whole(granted),
        limit: Some(Amount::whole(limit)),
        remaining: Some(Amount::whole((limit - used - held).max(0))),
        unlimited: false,
        entitled: true,
    }
}

fn markup(standing: &Standing) -> String {
    Progress { standing, name: "Messages", unit: "message", is_level: false, is_distinct: false }.markup().to_string()
}

/// What is left of HTML without its tags.
fn text(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
        text.push('|');
    }
    let words: Vec<_> = text.split('|').map(str::trim).filter(|word| !word.is_empty()).collect();
    words.join(" | ")
}

fn class(html: &str) -> &str {
    html.split('"').nth(1).unwrap()
}

#[test]
fn every_state_is_said_in_words() {
    #[rustfmt::skip]
    let cases = [ // used, held, base, extra, granted, class, text
        (8_200, 300, 10_000, 2_000, 500, "meter is-far",
         "Messages | this billing period | 65% | 8,200 of 12,500 messages used, 300 reserved, 4,000 left | \
          10,000 plan | + | 2,000 extra | + | 500 credits"),
        (8_000, 0, 10_000, 0, 0, "meter is-near",
         "Messages | this billing period | 80%, near the limit | 8,000 of 10,000 messages used, 2,000 left"),
        (7_999, 0, 10_000, 0, 0, "meter is-far", "Messages | this billing period | 79% | 7,999 of 10,000 messages used, 2,001 left"),
        (9_999, 1, 10_000, 0, 0, "meter is-full",
         "Messages | this billing period | 99%, the rest is reserved | 9,999 of 10,000 messages used, 1 reserved, nothing left"),
        (10_000, 0, 10_000, 0, 0, "meter is-full",
         "Messages | this billing period | 100%, limit reached | 10,000 of 10,000 messages used, nothing left"),
        (11_200, 0, 10_000, 0, 0, "meter is-full is-over",
         "Messages | this billing period | 112%, over the limit | 11,200 of 10,000 messages used, 1,200 over the limit"),
        (-5, 0, 10, 0, 0, "meter is-far", "Messages | this billing period | 0% | \u{2212}5 of 10 messages used, 15 left"),
        (0, 0, 0, 0, 0, "meter is-full", "Messages | this billing period | 100%, limit reached | 0 of 0 messages used, nothing left"),
    ];
    for (used, held, base, extra, granted, expected_class, expected) in cases {
        let html = markup(&standing(used, held, base, extra, granted));
        assert_eq!((class(&html), text(&html).as_str()), (expected_class, expected));
    }
}

#[test]
fn no_limit_has_no_bar() {
    let unlimited =
        Standing { unlimited: true, base: None, limit: None, remaining: None, ..standing(8_200, 300, 0, 0, 0) };
    let html = markup(&unlimited);
    assert_eq!(text(&html), "Messages | this billing period | unlimited | 8,200 messages used, 300 reserved");
    assert!(!html.contains("<svg"));
    let absent = Standing { entitled: false, ..standing(0, 0, 0, 0, 0) };
    assert_eq!(text(&markup(&absent)), "Messages | this billing period | not in this plan");
    let before = Standing { entitled: false, ..standing(12, 0, 0, 0, 0) };
    assert_eq!(text(&markup(&before)), "Messages | this billing period | not in this plan | 12 messages used");
}

#[test]
fn a_level_is_in_use_now() {
    let mut stored = standing(327_680_000, 0, 524_288_000, 0, 0);
    stored.window = "lifetime".to_owned();
    let html = Progress { standing: &stored, name: "Storage", unit: "byte", is_level: true, is_distinct: false }
        .markup()
        .to_string();
    assert_eq!(text(&html), "Storage | now | 62% | 312.5 MB of 500 MB in use, 187.5 MB left");
}

#[test]
fn the_parts_of_the_bar_tile_what_may_be_used() {
    let html = markup(&standing(2_000, 500, 5_000, 2_500, 2_500));
    for part in [
        r#"<rect class="plan" x="0%" y="0" width="50%" height="10"/>"#,
        r#"<rect class="extra" x="50%" y="0" width="25%" height="10"/>"#,
        r#"<rect class="credits" x="75%" y="0" width="25%" height="10"/>"#,
        r#"<rect class="used" x="0%" y="0" width="20%" height="10"/>"#,
        r#"<rect class="held" x="20%" y="3" width="5%" height="4"/>"#,
        r#"<line class="edge" x1="50%" x2="50%" y1="0" y2="10"/><line class="edge" x1="75%" x2="75%" y1="0" y2="10"/></svg>"#,
        r#"<div role="meter" aria-label="Messages, this billing period" aria-valuemin="0" aria-valuemax="10000" aria-valuenow="2000" aria-valuetext="20%">"#,
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
}

#[test]
fn what_is_over_the_limit_is_drawn_beyond_it() {
    let html = markup(&standing(12_500, 0, 10_000, 0, 0));
    for part in [
        r#"<rect class="used" x="0%" y="0" width="80%" height="10"/>"#,
        r#"<rect class="over" x="80%" y="0" width="20%" height="10"/>"#,
        r#"<line class="edge" x1="80%" x2="80%" y1="0" y2="10"/>"#,
        r#"aria-valuemax="10000" aria-valuenow="10000" aria-valuetext="125%, over the limit""#,
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
}

#[test]
fn any_figures_make_a_bar_within_its_frame() {
    let figures = [0, 1, 3, 80, 100, 10_000, i64::MAX / 4];
    for used in figures.into_iter().chain([-1, i64::MAX]) {
        for held in figures {
            for (base, extra, granted) in
                [(0, 0, 0), (1, 0, 0), (100, 7, 0), (0, 0, 3), (i64::MAX / 4, i64::MAX / 4, 1)]
            {
                let limit = base + extra + granted;
                let standing = Standing { remaining: None, ..standing(0, 0, base, extra, granted) };
                let standing = Standing { used: Amount::whole(used), held: Amount::whole(held), ..standing };
                let html = markup(&standing);
                for rect in html.split("<rect ").skip(1) {
                    let attribute = |name: &str| {
                        let (_, rest) = rect.split_once(&format!(" {name}=\"")).unwrap();
                        rest.split_once("%\"").unwrap().0.parse::<f64>().unwrap()
                    };
                    let (x, width) = (attribute("x"), attribute("width"));
                    assert!(x >= 0.0 && width > 0.0 && x + width <= 100.002, "{used} {held} {limit}: {rect}");
                }
            }
        }
    }
}

#[test]
fn names_are_escaped() {
    let standing = standing(1, 0, 10, 0, 0);
    let html = Progress { standing: &standing, name: "<b>\"", unit: "<i>", is_level: false, is_distinct: false }
        .markup()
        .to_string();
    assert!(!html.contains("<b>") && !html.contains("<i>"), "{html}");
}

#[test]
fn it_reads_what_the_api_says() {
    let json = r#"{"meter": "messages", "window": "billingPeriod", "used": "12.5", "held": "0", "overage": "0", "base": "100",
        "extra": "0", "granted": "0", "limit": "100", "remaining": "87.5", "unlimited": false, "entitled": true}"#;
    let standing: Standing = serde_json::from_str(json).unwrap();
    assert!(text(&markup(&standing)).ends_with("12.5 of 100 messages used, 87.5 left"));
    let json = r#"{"meter": "api_calls", "window": "minute", "source": {"kind": "plan"}, "unlimited": true, "extra": "0",
        "granted": "0", "used": "3", "held": "0", "enforcement": "hard", "status": 429}"#;
    let limit: Standing = serde_json::from_str(json).unwrap();
    assert!(limit.entitled && text(&markup(&limit)).contains("this minute | unlimited"));
}
