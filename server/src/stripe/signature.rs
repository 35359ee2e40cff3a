//! Whether a webhook is Stripe's: `Stripe-Signature: t=…,v1=…`, HMAC-SHA256 of `{t}.{body}` under the whole secret.

use hmac::{Hmac, KeyInit, Mac};
use metergate_rules::time::{SECOND, Time};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::hex::hex;

/// How far the time in a signature may be from ours, either way, in microseconds.
const TOLERANCE: i64 = 300 * SECOND;
/// Signatures in a header that are looked at.
const MOST: usize = 16;

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// There is no header, or it has another form.
    #[error("Send Stripe's own Stripe-Signature header: t=<seconds>,v1=<hex>.")]
    Malformed,
    /// It was signed too long ago, or is yet to be.
    #[error("The signature is older or newer than 300 seconds: is the clock of this server right?")]
    Untimely,
    /// No secret makes this signature.
    #[error(
        "No configured signing secret makes this signature: set METERGATE_STRIPE_WEBHOOK_SECRET to the endpoint's."
    )]
    Wrong,
}

/// Whether one of these secrets has signed a body, as of now.
///
/// # Errors
/// [`Unsigned`] where none has, or not now.
pub fn verify(header: &str, body: &[u8], secrets: &[Secret], now: Time) -> Result<(), Unsigned> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let stamp = parts().find(|(name, _)| *name == "t").map(|(_, stamp)| stamp).ok_or(Unsigned::Malformed)?;
    let seconds = Some(stamp).filter(|stamp| stamp.bytes().all(|b| b.is_ascii_digit())).and_then(|s| s.parse().ok());
    let signed_at = seconds.map(|seconds: i64| Time::from_micros(seconds.saturating_mul(SECOND)));
    let signed_at = signed_at.ok_or(Unsigned::Malformed)?;
    let given: Vec<&str> = parts().filter(|(name, _)| *name == "v1").map(|(_, given)| given).take(MOST).collect();
    if given.is_empty() {
        return Err(Unsigned::Malformed);
    }
    // Each is compared, whichever of them is right.
    let is_right = secrets.iter().fold(false, |right, secret| {
        let ours = signature(secret, stamp, body);
        given.iter().fold(right, |right, theirs| right | bool::from(ours.as_bytes().ct_eq(theirs.as_bytes())))
    });
    match (is_right, now.since(signed_at).unsigned_abs() <= TOLERANCE.unsigned_abs()) {
        (false, _) => Err(Unsigned::Wrong),
        (true, false) => Err(Unsigned::Untimely),
        (true, true) => Ok(()),
    }
}

/// The signature of a body under a secret, which is the key as it is, with its `whsec_`.
fn signature(secret: &Secret, stamp: &str, body: &[u8]) -> String {
    // Keys of any length are taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    mac.update(stamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_test","object":"event"}"#;
    const V1: &str = "691252e266ce41cb94d709c84e9580d4172b117a510bbc81723f657d2cd5d215";

    #[test]
    fn a_signature_by_any_secret_within_the_tolerance_is_taken() {
        let secrets = |texts: &[&str]| texts.iter().map(|text| Secret::new((*text).to_owned())).collect::<Vec<_>>();
        let (right, both) = (secrets(&["whsec_test_secret"]), secrets(&["whsec_other", "whsec_test_secret"]));
        let header = format!("t=1492774577,v1={V1}");
        let two = format!("t=1492774577,v1={},v0=x,v1={V1}", "0".repeat(64));
        let others = secrets(&["whsec_other", "test_secret"]);
        type Case<'a> = (&'a str, &'a [u8], &'a [Secret], i64, Result<(), Unsigned>);
        #[rustfmt::skip]
        let cases: [Case<'_>; 14] = [
            (&header,                          BODY,    &right,  0,    Ok(())),
            (&header,                          BODY,    &both,   0,    Ok(())),
            (&two,                             BODY,    &right,  0,    Ok(())),
            (&header,                          BODY,    &right,  300,  Ok(())),
            (&header,                          BODY,    &right, -300,  Ok(())),
            (&header,                          BODY,    &right,  301,  Err(Unsigned::Untimely)),
            (&header,                          BODY,    &right, -301,  Err(Unsigned::Untimely)),
            (&header,                          BODY,    &others, 0,    Err(Unsigned::Wrong)),
            (&header,                          b"{}",   &right,  0,    Err(Unsigned::Wrong)),
            (&header[..header.len() - 1],      BODY,    &right,  0,    Err(Unsigned::Wrong)),
            (&format!("t=1492774578,v1={V1}"), BODY,    &right,  0,    Err(Unsigned::Wrong)),
            ("",                               BODY,    &right,  0,    Err(Unsigned::Malformed)),
            (&format!("v1={V1}"),              BODY,    &right,  0,    Err(Unsigned::Malformed)),
            ("t=1492774577",                   BODY,    &right,  0,    Err(Unsigned::Malformed)),
        ];
        for (header, body, secrets, late, expected) in cases {
            let now = Time::from_micros((1_492_774_577 + late) * SECOND);
            assert_eq!(verify(header, body, secrets, now), expected, "{header} {late} s later");
        }
    }
}
