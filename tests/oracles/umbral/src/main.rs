//! Times of umbral-pre 0.11. For each line on standard input it runs every operation a few times and prints one JSON
//! object: the best time of each, in nanoseconds.

#![allow(clippy::unwrap_used, reason = "a measurement fails where it stands")]

use std::{
    hint::black_box,
    io::{self, BufRead, Write},
    time::Instant,
};

use umbral_pre::{
    Capsule, PublicKey, SecretKey, Signer, VerifiedKeyFrag, decrypt_reencrypted, encrypt,
    generate_kfrags, reencrypt,
};

/// Repetitions of each operation in one round.
const REPEATS: usize = 8;

fn main() -> io::Result<()> {
    let patient = SecretKey::random();
    let reader = SecretKey::random();
    let signer = Signer::new(SecretKey::random());
    let keys = (patient.public_key(), reader.public_key(), signer.verifying_key());
    let (capsule, ciphertext) = encrypt(&keys.0, &[7; 32]).unwrap();
    let split = || generate_kfrags(&patient, &keys.1, &signer, 2, 3, true, true);
    let kfrags: Vec<VerifiedKeyFrag> = split().into_vec();
    let answer = || reencrypt(&capsule, kfrags[0].clone());
    let cfrags = [answer(), reencrypt(&capsule, kfrags[1].clone())];
    let unverified = cfrags.clone().map(|cfrag| cfrag.unverify());
    let verify = |at: usize| {
        let cfrag = unverified[at].clone();
        cfrag.verify(&capsule, &keys.2, &keys.0, &keys.1).unwrap()
    };
    let open = || {
        let cfrags = [verify(0), verify(1)];
        let opened = decrypt_reencrypted(&reader, &keys.0, &capsule, cfrags, &ciphertext);
        assert_eq!(*opened.unwrap(), [7; 32]);
    };
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        line?;
        let times = [
            ("answer", best(answer)),
            ("verify", best(|| verify(0))),
            ("open", best(open)),
            ("split", best(split)),
            ("seal", best(|| seal(&keys.0))),
        ];
        let fields = times.map(|(name, nanos)| format!("\"{name}\":{nanos}"));
        writeln!(out, "{{{}}}", fields.join(","))?;
        out.flush()?;
    }
    Ok(())
}

fn seal(to: &PublicKey) -> Capsule {
    encrypt(to, &[7; 32]).unwrap().0
}

fn best<T>(run: impl Fn() -> T) -> u128 {
    let time = |_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed().as_nanos()
    };
    (0..REPEATS).map(time).min().unwrap()
}
