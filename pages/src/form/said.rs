//! What forms say where the API's own sentence tells a program what to send.

/// The sentence for people; the API's own where that is for them, too.
pub(super) fn said(code: &str, detail: &str) -> String {
    let of_code = match code {
        "rotation-under-way" => {
            "The secret before this one still signs: wait for its end, or check “End the present secret at once” to end both."
        }
        "unknown-meter" => "There is no such meter any more: load the page anew, and choose another.",
        "unknown-plan" => "There is no such plan any more: load the page anew, and choose another.",
        _ => "",
    };
    let of_words = || OF_WORDS.iter().find(|(words, _)| detail.contains(words)).map_or(detail, |(_, said)| said);
    if of_code.is_empty() { of_words().to_owned() } else { of_code.to_owned() }
}

/// By what stands in a sentence that is told at a field.
const OF_WORDS: [(&str, &str); 3] = [
    ("Send either max or \"unlimited\"", "Type a limit, or check “Unlimited”: one of the two."),
    ("not an RFC 3339 time", "Choose a date and a time of the years 1900 to 2199."),
    ("GET /v1/", "There is no such thing any more: load the page anew, and choose another."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_to_do_at_the_page_and_no_program_is() {
        #[rustfmt::skip]
        let cases = [ // the API's code and sentence, a part of what is said
            ("rotation-under-way", "… or send \"oldEndsInSeconds\": 0 to end both at once", "check “End the present secret at once”"),
            ("unknown-meter", "There is no such meter; GET /v1/meters lists them.", "load the page anew"),
            ("validation", "Send either max or \"unlimited\": true.", "check “Unlimited”"),
            ("validation", "not an RFC 3339 time between 1900 and 2200, such as 2026-11-22T11:06:00Z.", "Choose a date and a time"),
            ("validation", "Send 1 to 255 bytes.", "Send 1 to 255 bytes."),
        ];
        for (code, detail, part) in cases {
            let said = said(code, detail);
            assert!(said.contains(part) && !said.contains("\"unlimited\"") && !said.contains("/v1/"), "{said}");
        }
    }
}
