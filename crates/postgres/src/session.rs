/// For every session of relay and worker that reads tables of the line.
///
/// The planner has no statistics of tables that are truncated all the time, and once guessed its way from 650,000 rows a
/// second to 4,000: so leave it no choice. Plans are pinned: made once, maybe of tables that are still empty. So no statement
/// joins a batch with a table, which may be planned as a walk over all of it: keys are looked up one by one, or stand in an
/// array. Commits need no flush: a cursor lost in a crash means that a window is put again, and deliveries are lost with the
/// cursor that covers them. Only the record of a success needs a durable commit, and asks for it itself.
pub const SESSION: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "off"),
];
