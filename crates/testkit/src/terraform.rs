//! Terraform, run on copies of `infra/`, because it leaves files beside the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{copy_dir, root};

#[derive(Debug)]
pub struct Terraform {
    /// A copy: `infra/`, and an event_router.yaml beside it, as in the repository.
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TerraformError {
    #[error("failed to run terraform: {0}")]
    Io(#[from] std::io::Error),
    #[error("`terraform {args}` failed:\n{said}")]
    Failed { args: String, said: String },
}

impl Terraform {
    /// Copies the module and its example, for this event_router.yaml, into a directory of the caller's.
    pub fn copy(dir: &Path, router: &str) -> Result<Self, TerraformError> {
        let wanted = |name: &str| !name.starts_with(".terraform") && !name.contains(".tfstate");
        copy_dir(&root().join("infra"), &dir.join("infra"), &wanted)?;
        std::fs::write(dir.join("event_router.yaml"), router)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Checks the modules: format, validity, tests. Returns the last line of output of each module's tests.
    pub fn check(&self) -> Result<Vec<String>, TerraformError> {
        self.run("infra", &["fmt", "-check", "-diff", "-recursive"], &[])?;
        for root in ["infra", "infra/ecs", "infra/example"] {
            self.init(root)?;
            self.run(root, &["validate", "-no-color"], &[])?;
        }
        let test = |module| {
            let said = self.run(module, &["test", "-no-color"], &[])?;
            Ok(said.trim().lines().last().unwrap_or_default().to_owned())
        };
        ["infra", "infra/ecs"].into_iter().map(test).collect()
    }

    /// Terraform's refusal of each event_router.yaml below a folder, by the file's path there.
    pub fn refusals(&self, folder: &Path) -> Result<BTreeMap<String, String>, TerraformError> {
        const ROOT: &str = "infra/tests/each";
        self.run(ROOT, &["init", "-input=false", "-no-color"], &[])?;
        let folder = folder.display().to_string();
        let said = match self.run(ROOT, &["plan", "-json"], &[("TF_VAR_folder", &folder)]) {
            Ok(said) | Err(TerraformError::Failed { said, .. }) => said,
            Err(error) => return Err(error),
        };
        let mut refusals = BTreeMap::new();
        for line in said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let Some(detail) = line["diagnostic"]["detail"].as_str() else { continue };
            let mut of_a_file = false;
            for (file, why) in detail.lines().filter_map(|line| line.split_once(" can't be routed")) {
                of_a_file = true;
                if !why.contains("for the reasons given") {
                    refusals.insert(file.to_owned(), detail.to_owned());
                }
            }
            if !of_a_file && line["diagnostic"]["severity"] == "error" {
                return Err(TerraformError::Failed { args: "plan".to_owned(), said: line.to_string() });
            }
        }
        Ok(refusals)
    }

    /// Makes everything on an emulator.
    pub fn apply(&self, endpoint: &str) -> Result<(), TerraformError> {
        self.init("infra/example")?;
        let variables = [("TF_VAR_aws_endpoint", endpoint), ("TF_VAR_alarms", "false")];
        // The provider waits half a minute for each queue, and Terraform makes ten resources at a time unless told otherwise.
        let args = ["apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=64"];
        self.run("infra/example", &args, &variables)?;
        Ok(())
    }

    /// Forgets everything that was made.
    pub fn forget(&self) -> Result<(), TerraformError> {
        match std::fs::remove_file(self.dir.join("infra/example/terraform.tfstate")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// An output of the example, as JSON.
    pub fn output(&self, name: &str) -> Result<String, TerraformError> {
        self.run("infra/example", &["output", "-json", name], &[])
    }

    fn init(&self, root: &str) -> Result<(), TerraformError> {
        let mirror = mirror().map(|dir| format!("-plugin-dir={}", dir.display()));
        let mut args = vec!["init", "-input=false", "-no-color"];
        args.extend(mirror.as_deref());
        self.run(root, &args, &[]).map(|_| ())
    }

    fn run(&self, root: &str, args: &[&str], env: &[(&str, &str)]) -> Result<String, TerraformError> {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(self.dir.join(root)).envs(env.iter().copied());
        command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1");
        // Terraform warns at length about a named file that does not exist.
        if std::env::var_os("TF_CLI_CONFIG_FILE").is_some_and(|file| !Path::new(&file).exists()) {
            command.env_remove("TF_CLI_CONFIG_FILE");
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let said = said + &String::from_utf8_lossy(&output.stderr);
        Err(TerraformError::Failed { args: args.join(" "), said })
    }
}

/// Providers that are installed on a machine without a registry: `DIR/<registry>/hashicorp/aws`.
pub fn mirror() -> Option<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let has_provider =
        |dir: &PathBuf| below(dir).iter().any(|registry| registry.join("hashicorp/aws").is_dir());
    ["/opt", "/usr/share", "/usr/local/share"]
        .iter()
        .flat_map(|parent| below(Path::new(parent)))
        .find(has_provider)
}
