use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptor_set = PathBuf::from(std::env::var("OUT_DIR")?).join("services.bin");
    // What this service publishes.
    let files = outbox_build::Config::new("../../proto").descriptor_set(&descriptor_set).compile()?;
    // What it serves: connectrpc's own types and traits, from the same descriptors.
    connectrpc_build::Config::new()
        .descriptor_set(descriptor_set)
        .files(&files)
        .include_file("services.rs")
        .emit_rerun_directives(false)
        .compile()?;
    Ok(())
}
