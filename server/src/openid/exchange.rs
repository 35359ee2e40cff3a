//! A code exchanged for a token, and what the token proves.

use std::time::{Duration, UNIX_EPOCH};

use metergate_rules::time::{MINUTE, SECOND, Time};
use openidconnect::core::{CoreIdTokenClaims, CoreJwsSigningAlgorithm, CoreTokenResponse, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, EndUserEmail, EndUserName, LocalizedClaim, Nonce,
    OAuth2TokenResponse, PkceCodeVerifier, RequestTokenError, SignatureVerificationError, TokenResponse,
};

use super::transport::{Transport, told};
use super::{Client, Provider, ProviderError, Visit};
use crate::people::email::Email;
use crate::people::identity::IdentityKey;

/// How far the provider's clock may be ahead of ours, and how old a token may be that was just made, in microseconds.
const APART: i64 = 5 * MINUTE;
/// Only keys that the provider publishes: a secret that two know proves nothing of who has signed.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a provider has said of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who they are there.
    pub key: IdentityKey,
    /// Their address, where there is one that we can take.
    pub email: Option<Email>,
    /// Whether the provider says that it is theirs.
    pub is_verified: bool,
    /// Their name.
    pub name: Option<String>,
}

impl Provider {
    /// Exchanges a code for what the provider says of who has signed in there. A key that is not known yet is asked for, once.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] where the code is not taken, or the token is not of this provider, for us, for this visit, in
    /// time, and signed by one of its keys; [`ProviderError::Unavailable`] where the provider cannot be asked.
    pub async fn exchange(&self, code: String, visit: Visit, back: &str, now: Time) -> Result<Said, ProviderError> {
        let (metadata, asked_at) = self.metadata(now, None).await?;
        let client = self.client(&metadata, back)?;
        let Visit { nonce, verifier, .. } = visit;
        let (with, nonce) = (client.clone(), Nonce::new(nonce));
        let tokens = self.ask(move |transport| exchanged(transport, &with, code, verifier)).await?;
        let client = match verified(&client, &tokens, &nonce, now) {
            Err(error) if is_of_key(&error) => {
                let (metadata, _) = self.metadata(now, Some(asked_at)).await?;
                self.client(&metadata, back)?
            }
            _ => client,
        };
        self.ask(move |transport| said(transport, &client, &tokens, &nonce, now)).await
    }
}

fn exchanged(
    transport: &Transport,
    client: &Client,
    code: String,
    verifier: String,
) -> Result<CoreTokenResponse, ProviderError> {
    let asked = client
        .exchange_code(AuthorizationCode::new(code))
        .map_err(|error| ProviderError::Unavailable(told(&error)))?
        .set_pkce_verifier(PkceCodeVerifier::new(verifier));
    asked.request(transport).map_err(|error| match &error {
        RequestTokenError::ServerResponse(_) => ProviderError::Refused(told(&error)),
        _ => ProviderError::Unavailable(told(&error)),
    })
}

/// Issuer, audience, signature, expiry and nonce, by our own clock.
fn verified<'t>(
    client: &Client,
    tokens: &'t CoreTokenResponse,
    nonce: &Nonce,
    now: Time,
) -> Result<&'t CoreIdTokenClaims, ClaimsVerificationError> {
    let token = tokens.id_token().ok_or_else(|| ClaimsVerificationError::Other("there is no ID token".to_owned()))?;
    let since_epoch = UNIX_EPOCH + Duration::from_micros(now.micros().max(0).unsigned_abs());
    let verifier = client
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || since_epoch.into())
        .set_issue_time_verifier_fn(move |issued| {
            let age = now.since(Time::from_micros(issued.timestamp().saturating_mul(SECOND)));
            if (-APART..=APART).contains(&age) { Ok(()) } else { Err("issued long ago, or in the future".to_owned()) }
        });
    let claims = token.claims(&verifier, nonce)?;
    let other = claims.authorized_party().filter(|party| party.as_str() != client.client_id().as_str());
    if other.is_some() {
        return Err(ClaimsVerificationError::InvalidAudience("it was made for another party".to_owned()));
    }
    let Some(expected) = claims.access_token_hash() else { return Ok(claims) };
    let signed = |error| ClaimsVerificationError::SignatureVerification(error);
    let (algorithm, key) = (token.signing_alg().map_err(signed)?, token.signing_key(&verifier).map_err(signed)?);
    match AccessTokenHash::from_token(tokens.access_token(), algorithm, key) {
        Ok(hash) if hash == *expected => Ok(claims),
        _ => Err(ClaimsVerificationError::Other("the access token is another one's".to_owned())),
    }
}

/// Whether a newer set of keys may have the right one.
fn is_of_key(error: &ClaimsVerificationError) -> bool {
    use SignatureVerificationError::{AmbiguousKeyId, CryptoError, NoMatchingKey};
    let ClaimsVerificationError::SignatureVerification(error) = error else { return false };
    matches!(error, NoMatchingKey | CryptoError(_) | AmbiguousKeyId(_))
}

/// Where the token has no address, the provider is asked for it by the token that goes with it, as the standard has it (5.4).
fn said(
    transport: &Transport,
    client: &Client,
    tokens: &CoreTokenResponse,
    nonce: &Nonce,
    now: Time,
) -> Result<Said, ProviderError> {
    let claims = verified(client, tokens, nonce, now).map_err(|error| ProviderError::Refused(told(&error)))?;
    let key = IdentityKey::new(claims.issuer(), claims.subject())
        .ok_or_else(|| ProviderError::Refused("its subject is empty or too long".to_owned()))?;
    let made = |email: Option<&EndUserEmail>, is_verified: Option<bool>, name: Option<&LocalizedClaim<EndUserName>>| {
        let email = email.and_then(|email| Email::new(email).ok());
        let name = name.and_then(|name| name.get(None)).map(|name| name.as_str().to_owned());
        Said { key, email, is_verified: is_verified == Some(true), name }
    };
    if claims.email().is_some() || !tokens.access_token().secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(made(claims.email(), claims.email_verified(), claims.name()));
    }
    let Ok(asked) = client.user_info(tokens.access_token().clone(), Some(claims.subject().clone())) else {
        return Ok(made(None, None, claims.name()));
    };
    let answer: Result<CoreUserInfoClaims, _> = asked.request(transport);
    let answer = answer.map_err(|error| ProviderError::Unavailable(told(&error)))?;
    Ok(made(answer.email(), answer.email_verified(), answer.name().or(claims.name())))
}
