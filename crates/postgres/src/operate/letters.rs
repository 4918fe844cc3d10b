//! The statement that reads dead letters, in both directions.

macro_rules! letters {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select l.seq, l.queue, q.rpc, l.event_id, l.body, l.attempts, l.code, l.reason, l.dead_at
             from outbox.dead_letter as l join outbox.queue as q on q.id = l.queue
             where (l.seq, l.queue, l.event_id) ",
            $beyond,
            " ($1, $9, $10) and l.seq <= $8
               and ($2::text is null or q.rpc = $2)
               and ($3::uuid is null or l.event_id = $3)
               and ($4::text is null or l.code = $4)
               and ($5::interval is null or l.dead_at < clock_timestamp() - $5)
               and ($6::bigint is null or l.seq = $6)
               and ($15::text is null or position($15 in l.reason) > 0)
               and ($11::text is null or outbox.body_field(l.body, 'key') = $11)
               and ($12::text is null or outbox.body_field(l.body, 'name') = $12)
               and ($14::text is null or outbox.body_field(l.body, 'header', $13) = $14)
             order by l.seq ",
            $order,
            ", l.queue ",
            $order,
            ", l.event_id ",
            $order,
            " limit $7"
        )
    };
}

pub(super) const OLDEST: &str = letters!(">", "asc");
pub(super) const NEWEST: &str = letters!("<", "desc");
