use testkit::terraform::Terraform;

use crate::cloud::cloud;
use crate::world::{ROUTER, World, cluster};

/// Guards infra/ and infra/ecs: Terraform's own tests pass, the files are formatted, and the example is valid.
#[tokio::test(flavor = "multi_thread")]
async fn the_module_is_formatted_valid_and_tested() {
    if cloud().is_none() {
        return;
    }
    // Terraform uses both cores for a while, which would disturb a test that measures.
    let world = World::new(ROUTER).await;
    let terraform = Terraform::copy(&cluster().dir().join("terraform-test"), ROUTER).unwrap();
    for said in terraform.check().unwrap_or_else(|error| panic!("{error}")) {
        assert!(said.starts_with("Success!") && said.ends_with(" passed, 0 failed."), "{said}");
        assert!(!said.starts_with("Success! 0 "), "{said}");
    }
    world.finish().await;
}
