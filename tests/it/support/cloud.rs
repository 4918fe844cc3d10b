use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use testkit::emulator::Emulator;
use testkit::strict::Strict;
use testkit::terraform::Terraform;

use super::world::{ROUTER, cluster};

/// Queues for tests that receive by themselves or look into queues: no other test's worker receives from them.
const MORE: &str = "  - name: event_contract
    subscriber:
      - id: Test/Contract
  - name: event_bus_contract
    subscriber:
      - id: Test/Bus
  - name: event_operate_list
    subscriber:
      - id: Test/OperateList
  - name: event_console_aws
    subscriber:
      - id: Test/ConsoleAws
  - name: event_console_alone
    subscriber:
      - id: Test/ConsoleAlone
  - name: event_operate_redrive
    subscriber:
      - id: Test/OperateRedrive
  - name: event_operate_force
    subscriber:
      - id: Test/OperateForce
  - name: event_operate_replay
    subscriber:
      - id: Test/OperateReplay
  - name: event_operate_pause
    subscriber:
      - id: Test/OperatePause
  - name: event_operate_poison
    subscriber:
      - id: Test/OperatePoison
  - name: event_drill_away
    subscriber:
      - id: Test/DrillAway
  - name: event_drill_poison
    subscriber:
      - id: Test/DrillPoison
  - name: event_lying
    subscriber:
      - id: Test/Lying
  - name: event_strict
    subscriber:
      - id: Test/Strict
      - id: Test/Texts
      - id: Test/Rights
      - id: Test/Waits
      - id: Test/Redrive
      - id: Test/Limits
";

/// The event_router.yaml that Terraform read.
pub(crate) fn router() -> String {
    format!("{ROUTER}{MORE}")
}

pub(crate) struct Cloud {
    emulator: Emulator,
}

/// What Terraform made, once for all tests. `None`, reported loudly, without Terraform or its provider; in CI that is a
/// failure.
pub(crate) fn cloud() -> Option<&'static Cloud> {
    static CLOUD: OnceLock<Option<Cloud>> = OnceLock::new();
    let made = CLOUD.get_or_init(|| match Cloud::make() {
        Ok(cloud) => Some(cloud),
        Err(problem) => {
            // Not eprintln: the output of a passing test is not shown.
            let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: the transport aws, because its emulator could not be provisioned:\n{problem}\n");
            None
        }
    });
    assert!(made.is_some() || std::env::var_os("CI").is_none(), "in CI the AWS transport must be tested");
    made.as_ref()
}

impl Cloud {
    /// On a busy machine an answer of the emulator may come too late. Terraform then repeats a request that has succeeded,
    /// and fails. So it starts once more from the beginning.
    fn make() -> Result<Self, Box<dyn std::error::Error>> {
        Self::make_in("terraform").or_else(|problem| {
            eprintln!("once more, after:\n{problem}");
            Self::make_in("terraform-again")
        })
    }

    fn make_in(dir: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let terraform = Terraform::copy(&cluster().dir().join(dir), &router())?;
        Ok(Self { emulator: Emulator::provisioned(&terraform)? })
    }

    pub(crate) fn sdk(&self) -> SdkConfig {
        sdk(self.emulator.endpoint())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.emulator.endpoint().trim_start_matches("http://").parse().unwrap()
    }

    /// Starts a proxy with SQS's rules in front of the emulator.
    pub(crate) async fn strict(&self) -> (Arc<Strict>, String) {
        let strict = Arc::new(Strict::new(self.address()));
        let endpoint = Arc::clone(&strict).serve().await.unwrap();
        (strict, endpoint)
    }

    /// The environment of relay and worker.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        let mut environment = self.emulator.environment().to_vec();
        environment.push(("OUTBOX_TRANSPORT", "aws"));
        environment
    }
}

/// A configuration of AWS's clients for this endpoint.
pub(crate) fn sdk(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint)
        .build()
}
