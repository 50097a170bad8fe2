//! Who takes part in the demo, and on what.

use std::path::Path;

use alloy_primitives::{B256, U256};
use galen_chain::{Account, Ledger, deploy};
use galen_crypto::RootSeed;
use galen_devchain::{Config, DevChain};
use galen_sdk::{Galen, Grantee, Identity, Organization, Patient};
use galen_storage::Storage;

use crate::{commands::demo::report::Report, error::CliError};

/// What the relayer starts with, in wei: it pays for everybody.
const RELAYER_FUNDS: u128 = 1_000_000_000_000_000_000_000;

/// Everybody, on one network.
pub(crate) struct Cast {
    pub(crate) galen: Galen,
    pub(crate) chain_id: u64,
    pub(crate) hospital_a: Organization,
    pub(crate) hospital_b: Organization,
    /// Hospital B as a reader.
    pub(crate) physician: Grantee,
    pub(crate) insurer: Grantee,
    pub(crate) stranger: Grantee,
    pub(crate) patient: Patient,
}

impl Cast {
    /// Starts a chain and a store in a directory, deploys the contracts and makes everybody.
    pub(crate) async fn gather(place: &Path, report: &mut Report) -> Result<Self, CliError> {
        let sdk = |doing| move |source| CliError::Sdk { doing, source };
        let relayer = Account::random();
        let accounts = vec![(relayer.controller(), U256::from(RELAYER_FUNDS))];
        let config = Config { accounts, ..Config::default() };
        let chain = DevChain::open(place.join("chain"), config)?;

        let mut hospitals = [identity()?, identity()?];
        hospitals.sort_by_key(Identity::id);
        let founders: Vec<_> = hospitals.iter().map(Identity::id).collect();
        let deploying = sdk("deploy the contracts");
        let deployment = deploy(chain.provider(), &relayer, &founders, B256::ZERO)
            .await
            .map_err(|error| deploying(error.into()))?;
        report.add_gas("deployment", deployment.gas);
        let ledger = Ledger::connect(chain.provider(), deployment.ledger, deployment.block)
            .await
            .map_err(|error| deploying(error.into()))?
            .paid_by(&relayer);
        let storage = Storage::local(place.join("content"))
            .await
            .map_err(|error| sdk("open the content store")(error.into()))?;
        let chain_id = ledger.id().chain_id;

        let galen = Galen::new(ledger, storage);
        let [a, b] = hospitals;
        Ok(Self {
            hospital_a: galen.organization(a),
            physician: galen.grantee(b.clone()),
            hospital_b: galen.organization(b),
            insurer: galen.grantee(identity()?),
            stranger: galen.grantee(identity()?),
            patient: galen.patient(identity()?),
            chain_id,
            galen,
        })
    }
}

fn identity() -> Result<Identity, CliError> {
    let failed =
        |error: galen_crypto::Error| CliError::Sdk { doing: "make keys", source: error.into() };
    let seed = RootSeed::generate().map_err(failed)?;
    Ok(Identity::new(Account::random(), &seed))
}
