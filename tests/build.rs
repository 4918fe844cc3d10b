fn main() -> Result<(), outbox_build::Error> {
    outbox_build::compile("proto")
}
