//! Who takes part in the demo.

use alloy_primitives::B256;
use galen_chain::{Account, Ledger, deploy_with};
use galen_crypto::RootSeed;
use galen_sdk::{Galen, Grantee, Identity, Organization, Patient};

use crate::{
    commands::demo::{report::Report, stage::Stage},
    error::CliError,
};

/// Everybody, on one network.
pub(crate) struct Cast {
    pub(crate) galen: Galen,
    pub(crate) hospital_a: Organization,
    pub(crate) hospital_b: Organization,
    /// Hospital B as a reader.
    pub(crate) physician: Grantee,
    pub(crate) insurer: Grantee,
    pub(crate) stranger: Grantee,
    pub(crate) patient: Patient,
}

impl Cast {
    /// Deploys the contracts and makes everybody.
    pub(crate) async fn gather(stage: &Stage, report: &mut Report) -> Result<Self, CliError> {
        let failed = |source| CliError::Chain { doing: "deploy the contracts", source };
        let mut hospitals = [identity()?, identity()?];
        hospitals.sort_by_key(Identity::id);
        let founders: Vec<_> = hospitals.iter().map(Identity::id).collect();
        let deployment = deploy_with(stage.node.clone(), &stage.payer, &founders, B256::ZERO, None)
            .await
            .map_err(failed)?;
        report.add_gas("deployment", deployment.gas);
        let ledger = Ledger::connect(stage.node.clone(), deployment.ledger, deployment.block)
            .await
            .map_err(failed)?
            .with_payer(stage.payer.clone());
        report.chain_id = ledger.id().chain_id;

        let galen = Galen::new(ledger, stage.storage.clone());
        let [a, b] = hospitals;
        Ok(Self {
            hospital_a: galen.organization(a),
            physician: galen.grantee(b.clone()),
            hospital_b: galen.organization(b),
            insurer: galen.grantee(identity()?),
            stranger: galen.grantee(identity()?),
            patient: galen.patient(identity()?),
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
