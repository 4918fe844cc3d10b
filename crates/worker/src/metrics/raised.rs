use metrics::Gauge;

/// Raises a gauge by so much, until this is dropped.
pub(crate) struct Raised(f64, Gauge);

impl Raised {
    pub(super) fn by(much: f64, gauge: &Gauge) -> Self {
        gauge.increment(much);
        Self(much, gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.1.decrement(self.0);
    }
}
