//! Who takes part in the demo.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use galen_chain::{Account, KeySigner, Ledger, deploy_with};
use galen_crypto::{RootSeed, VaultKey};
use galen_sdk::{Copies, Galen, Grantee, Identity, Organization, Patient};
use zeroize::Zeroizing;

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
    /// The patient's pseudonym.
    pub(crate) patient_id: Address,
    /// The patient, while the profile is open.
    patient: Option<Patient>,
    profile: Profile,
}

/// A wallet and a seed in a file, and what stands for the password in the patient's head.
struct Profile {
    file: PathBuf,
    password: VaultKey,
}

/// What the file holds: the wallet's key and the seed.
const PROFILE_LEN: usize = 64;

const LABEL: &str = "galen.demo.profile";

impl Cast {
    /// Deploys the contracts and makes everybody.
    pub(crate) async fn gather(
        stage: &Stage,
        place: &Path,
        report: &mut Report,
    ) -> Result<Self, CliError> {
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
        let profile = Profile::make(place.join("patient.profile"))?;
        let patient = galen.patient(profile.open()?);
        let copies = |who| Copies::in_directory(place.join("copies").join(who));
        Ok(Self {
            hospital_a: galen.organization(a).with_copies(copies("hospital-a")),
            physician: galen.grantee(b.clone()),
            hospital_b: galen.organization(b).with_copies(copies("hospital-b")),
            insurer: galen.grantee(identity()?),
            stranger: galen.grantee(identity()?),
            patient_id: patient.id(),
            patient: Some(patient),
            profile,
            galen,
        })
    }

    /// The patient, who must not be away.
    pub(crate) fn patient(&self) -> Result<&Patient, CliError> {
        self.patient.as_ref().ok_or(CliError::Demo("something was asked of a patient who is away"))
    }

    /// Closes the patient's profile: wallet and seed are in its file and nowhere else.
    pub(crate) fn close_profile(&mut self) {
        self.patient = None;
    }

    pub(crate) fn open_profile(&mut self) -> Result<(), CliError> {
        self.patient = Some(self.galen.patient(self.profile.open()?));
        Ok(())
    }
}

impl Profile {
    fn make(file: PathBuf) -> Result<Self, CliError> {
        let password = VaultKey::from_bytes(Zeroizing::new(*random()?.expose()));
        let text = Zeroizing::new([*random()?.expose(), *random()?.expose()].concat());
        let sealed = password.seal(LABEL, &text).map_err(failed)?;
        std::fs::write(&file, sealed).map_err(|source| unusable(&file, source))?;
        Ok(Self { file, password })
    }

    fn open(&self) -> Result<Identity, CliError> {
        let sealed = std::fs::read(&self.file).map_err(|source| unusable(&self.file, source))?;
        let text = self.password.open(LABEL, &sealed).map_err(|error| failed(error.into()))?;
        let whole: Option<&[u8; PROFILE_LEN]> = text.first_chunk();
        let halves = whole.and_then(|text| text.split_first_chunk::<32>());
        let found = halves.and_then(|(wallet, seed)| {
            let seed = RootSeed::from_bytes(seed.try_into().ok()?);
            Some(Identity::new(Account::new(KeySigner::from_key(wallet)?), &seed))
        });
        found.ok_or(CliError::Demo("the patient's profile is not what was kept"))
    }
}

pub(crate) fn identity() -> Result<Identity, CliError> {
    Ok(Identity::new(Account::random(), &random()?))
}

/// 32 random bytes.
fn random() -> Result<RootSeed, CliError> {
    RootSeed::generate().map_err(failed)
}

fn failed(error: galen_crypto::Error) -> CliError {
    CliError::Sdk { doing: "make keys", source: error.into() }
}

fn unusable(file: &Path, source: std::io::Error) -> CliError {
    CliError::Directory { path: file.display().to_string(), source }
}
