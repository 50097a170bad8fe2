//! The secret half of an X-Wing pair (draft-connolly-cfrg-xwing-kem-06), its parts expanded once.
//!
//! `x_wing::DecapsulationKey` derives both of its keys from the seed again for each decapsulation, which takes as long
//! as the decapsulation itself. A reader opens many records with one key.

use std::sync::Arc;

use ml_kem::{
    Decapsulate, DecapsulationKey768, FromSeed, KeyExport, MlKem768, ml_kem_768::EncapsulationKey,
};
use shake::{ExtendableOutput, Shake256, Update, XofReader};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{hpke_box::ENC_LEN, primitives::sha3_256};

/// Length of an ML-KEM-768 ciphertext, in bytes.
const ML_KEM_LEN: usize = ENC_LEN - 32;

/// The seed and what follows from it. Wiped when the last copy is dropped.
#[derive(Clone)]
pub(crate) struct KemSecret(Arc<Parts>);

struct Parts {
    seed: Zeroizing<[u8; 32]>,
    ml_kem: DecapsulationKey768,
    x25519: StaticSecret,
    x25519_public: PublicKey,
    public: x_wing::EncapsulationKey,
}

impl KemSecret {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0.seed
    }

    pub(crate) fn encapsulation_key(&self) -> &x_wing::EncapsulationKey {
        &self.0.public
    }

    /// The shared secret. A ciphertext that was not made for this key gives another one, not an error.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8; ENC_LEN]) -> Zeroizing<[u8; 32]> {
        let parts = &*self.0;
        let (for_ml_kem, for_x25519) = ciphertext.split_at(ML_KEM_LEN);
        let for_x25519: [u8; 32] = for_x25519.try_into().expect("the rest of the ciphertext");
        let for_ml_kem = for_ml_kem.try_into().expect("the length of ML-KEM-768");
        let ml_kem = Zeroizing::new(parts.ml_kem.decapsulate(for_ml_kem).into());
        let x25519 = parts.x25519.diffie_hellman(&for_x25519.into());
        let public = parts.x25519_public.as_bytes();
        combine(&ml_kem, x25519.as_bytes(), &for_x25519, public)
    }
}

impl From<&[u8; 32]> for KemSecret {
    fn from(seed: &[u8; 32]) -> Self {
        let mut expander = Shake256::default();
        expander.update(seed);
        let mut expanded = expander.finalize_xof();
        let (mut for_ml_kem, mut for_x25519) = (Zeroizing::new([0; 64]), Zeroizing::new([0; 32]));
        expanded.read(for_ml_kem.as_mut_slice());
        expanded.read(for_x25519.as_mut_slice());
        let (ml_kem, ml_kem_public): (_, EncapsulationKey) =
            MlKem768::from_seed(&(*for_ml_kem).into());
        let x25519 = StaticSecret::from(*for_x25519);
        let x25519_public = PublicKey::from(&x25519);
        let public = [ml_kem_public.to_bytes().as_slice(), x25519_public.as_bytes()].concat();
        let public = public.as_slice().try_into().expect("both halves are well formed");
        let seed = Zeroizing::new(*seed);
        Self(Arc::new(Parts { seed, ml_kem, x25519, x25519_public, public }))
    }
}

/// SHA3-256 of both secrets, the X25519 half of the ciphertext, the X25519 key, and X-Wing's label.
fn combine(
    ml_kem: &[u8; 32],
    x25519: &[u8; 32],
    ciphertext: &[u8; 32],
    public: &[u8; 32],
) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(sha3_256(&[ml_kem, x25519, ciphertext, public, br"\.//^\"]))
}
