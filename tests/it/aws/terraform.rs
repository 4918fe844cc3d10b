use testkit::terraform::Terraform;

use crate::cloud::cloud;
use crate::world::{ROUTER, World, cluster};

/// Guards what Terraform makes of event_router.yaml: its own tests, its format, and that the example is valid.
#[tokio::test(flavor = "multi_thread")]
async fn the_module_is_formatted_valid_and_tested() {
    if cloud().is_none() {
        return;
    }
    // Terraform takes both cores for a while: not beside a test that measures.
    let world = World::new(ROUTER).await;
    let terraform = Terraform::copy(&cluster().dir().join("terraform-test"), ROUTER).unwrap();
    let said = terraform.check().unwrap_or_else(|error| panic!("{error}"));
    assert!(said.starts_with("Success!") && said.ends_with(" passed, 0 failed."), "{said}");
    world.finish().await;
}
