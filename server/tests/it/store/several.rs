//! Accounts of several organizations are read together, each as if it were alone.

use metergate::store::StoreError;
use metergate_rules::account::Account;
use metergate_rules::id::{OrganizationId, OrganizationRef};

use super::ENGINE;
use super::asks::{ask, create};
use super::engine::Engine;
use super::kit::Kit;

fn read(kit: &Kit, named: &[OrganizationRef]) -> Vec<Result<Account, StoreError>> {
    kit.runtime.block_on(kit.open().store.reader().accounts(named.to_vec())).unwrap()
}

#[test]
fn accounts_are_read_together_by_key_or_id_and_one_that_is_damaged_spoils_no_other() {
    let kit = Kit::new();
    kit.made(&create("other"));
    for key in ["acme", "other"] {
        assert!(kit.allows(&ask("calls", 2).of(key)));
    }
    let [acme, other] = ["acme", "other"].map(|key| kit.account(key));
    let key = |key: &str| OrganizationRef::Key(key.parse().unwrap());
    let nobody = OrganizationRef::Id(OrganizationId(metergate::random::bytes()));
    let named = [key("other"), OrganizationRef::Id(acme.id), key("nobody"), key("acme"), nobody];
    let unknown = || Err(StoreError::UnknownOrganization);
    assert_eq!(read(&kit, &named), [Ok(other), Ok(acme.clone()), unknown(), Ok(acme.clone()), unknown()]);
    assert!(read(&kit, &[]).is_empty());
    if ENGINE == Engine::Postgres {
        kit.server().run(
            "UPDATE metergate.accounts SET data = decode('00', 'hex') WHERE organization IN
             (SELECT organization FROM metergate.organizations WHERE key = 'other')",
        );
        let found = read(&kit, &named);
        assert_eq!(found, [Err(StoreError::Damaged), Ok(acme.clone()), unknown(), Ok(acme), unknown()]);
    }
}
