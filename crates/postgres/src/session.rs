/// For every session of relay and worker that reads the outbox or the queues.
///
/// The planner has no statistics of tables that are truncated all the time. Once its guess reduced 650,000 rows a second to
/// 4,000, so it gets no choice. Plans are pinned: a plan may be made while its tables are empty. So no statement joins a batch
/// with a table, which could be planned as a walk over the whole table. Keys are looked up one by one, or stand in an array.
/// Commits need no flush: after a crash a lost cursor means that a window is put again. Deliveries are lost together with the
/// cursor that covers them. Only the record of a success needs a durable commit, and sets that itself.
pub const SESSION: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "off"),
];
