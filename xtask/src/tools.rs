//! The tools that `scripts/tools` installs: compiler, foundry, halmos, slither, Python.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use eyre::{Result, WrapErr as _, ensure};

/// The cache of `scripts/tools`, complete.
pub(crate) struct Tools {
    cache: PathBuf,
}

impl Tools {
    /// Installs what is missing; instant when nothing is.
    pub(crate) fn install(root: &Path) -> Result<Self> {
        let script = root.join("scripts/tools");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .wrap_err_with(|| format!("cannot run {}", script.display()))?;
        ensure!(output.status.success(), "scripts/tools: {}", output.status);
        let cache = String::from_utf8(output.stdout).wrap_err("scripts/tools printed no path")?;
        Ok(Self { cache: PathBuf::from(cache.trim_end()) })
    }

    /// A cache that nobody filled.
    #[cfg(test)]
    pub(crate) fn at(cache: &str) -> Self {
        Self { cache: cache.into() }
    }

    /// The Solidity compiler.
    pub(crate) fn solc(&self) -> PathBuf {
        self.program("solc")
    }

    /// The Python that has eth-account.
    pub(crate) fn python(&self) -> PathBuf {
        self.cache.join("venv/bin/python")
    }

    /// One of the linked programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.cache.join("bin").join(name)
    }

    /// What `scripts/tools env` prints, for one command: programs call each other by name.
    pub(crate) fn apply(&self, command: &mut Command) {
        let mut path = self.cache.join("bin").into_os_string();
        if let Some(rest) = std::env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        command
            .env("PATH", path)
            .env("FOUNDRY_SOLC", self.solc())
            .env("FOUNDRY_OFFLINE", "true")
            .env("FOUNDRY_DISABLE_NIGHTLY_WARNING", "1")
            .env("GALEN_ANVIL", self.program("anvil"))
            .env("GALEN_CAST", self.program("cast"))
            .env("GALEN_PYTHON", self.python())
            .env("GALEN_SAFE", self.cache.join("node_modules/@safe-global/safe-contracts"));
    }
}
