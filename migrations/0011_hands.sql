-- What an operator does with the messages of a queue, as in 0005_repair.sql: each function takes the id of a repair, and adds its
-- changes to that row of outbox.audit.
--
-- A single message can't be taken out of a queue's log. So the log moves to outbox.retry first, up to the message that is
-- meant, and a claim that is closed moves the queue's head. Rows that a worker takes at this moment are skipped: receive locks
-- rows before the queue, and these functions lock the queue before rows. Waiting would be a deadlock.

-- The names of queues that were removed, so that `outbox why` still has them. An id is not drawn twice, unless the sequence was
-- set back.
create table outbox.former_queue (
    id  integer     primary key,
    rpc text        not null,
    at  timestamptz not null default clock_timestamp()
);

create view outbox.queue_name as
select q.id, q.rpc from outbox.queue as q
union all
select f.id, f.rpc from outbox.former_queue as f where not exists (select from outbox.queue as q where q.id = f.id);

-- The name, the key or a header of the event in a message's body. Null if it has none, or is no JSON.
create function outbox.body_field(body text, field text, header text default null) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    return case field
        when 'name' then body::json #>> '{event,name}'
        when 'key' then body::json #>> '{event,key}'
        when 'header' then body::json -> 'event' -> 'headers' ->> header
    end;
exception when data_exception or program_limit_exceeded then
    return null;
end $$;

-- A message's body with another RPC. A body that does not begin as ours do stays as it is.
create function outbox.readdressed(body text, old_rpc text, new_rpc text) returns text
language sql immutable parallel safe
return regexp_replace(body, '^(\s*\{\s*"rpc"\s*:\s*")' || replace(old_rpc, '.', '\.') || '"', '\1' || new_rpc || '"');

-- Moves at most n messages of a queue's log to outbox.retry, up to a seq. Returns whether there are more up to there.
-- The head moves to a row that is there. A number between may belong to a row that is not committed yet.
create function outbox.log_to_retry(q integer, upto bigint, n integer) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    head bigint;
    last bigint;
begin
    perform from outbox.queue as w where w.id = q for update;
    head := (select h.seq from outbox.queue_head as h where h.queue = q);
    last := (select max(part.seq) from (
                 select d.seq from outbox.delivery as d
                 where d.queue = q and d.seq > head and d.seq <= upto order by d.seq limit n) as part);
    if last is null then
        return false;
    end if;
    perform outbox.requeue(q, head + 1, last, 0, 'waiting', 'moved out of the log by an operator');
    insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
    values (outbox.next_claim(q), q, outbox.token(), head + 1, last, null, 'operator');
    return exists (select from outbox.delivery as d where d.queue = q and d.seq > last and d.seq <= upto);
end $$;

-- The first step for messages that are still in the log: see above. Returns whether there are more.
create function outbox.take_log(repair uuid, rpc text, upto bigint, n integer default 5000) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    q integer := (select w.id from outbox.queue as w where w.rpc = take_log.rpc);
begin
    perform outbox.repaired(repair, 0);
    perform outbox.recover(q, 0);
    return outbox.log_to_retry(q, upto, n);
end $$;

-- Messages that wait for their next attempt are due now. Returns how many of them.
create function outbox.retry_now(repair uuid, rpc text, seqs bigint[], events uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    q       integer := (select w.id from outbox.queue as w where w.rpc = retry_now.rpc);
    changed bigint;
begin
    perform outbox.check_lengths(cardinality(seqs), cardinality(events));
    with meant as materialized (
        select r.ctid as row from unnest(seqs, events) as k (seq, event)
        join outbox.retry as r on r.seq = k.seq and r.queue = q and r.event_id = k.event
        where r.token is null and r.due_at > clock_timestamp() for update of r skip locked
    )
    update outbox.retry as r set due_at = clock_timestamp() where r.ctid = any (array(select m.row from meant as m));
    get diagnostics changed = row_count;
    if changed > 0 then
        perform pg_notify('outbox_delivery', q::text);
    end if;
    perform outbox.repaired(repair, changed);
    return changed;
end $$;

-- The events in the open claims of a queue. A claim is the lease of those that have no record.
create function outbox.in_claims(q integer) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        select d.event_id from outbox.claim as c
        cross join lateral (select d.event_id from outbox.delivery as d
                            where d.queue = q and d.seq between c.first_seq and c.last_seq offset 0) as d
        where c.queue = q and c.until is not null);
end $$;

-- Whether an RPC may be called for an event at this moment, because a lease lasts. A lease may last longer than the claim of its
-- message. `claimed` is from outbox.in_claims.
create function outbox.is_called(rpc text, event uuid, claimed uuid[]) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from outbox.recorded(rpc, array[event]) as l where l.done_at is null and l.until > clock_timestamp())
        or event = any (claimed) and not exists (select from outbox.recorded(rpc, array[event]));
end $$;

-- Messages become dead letters now, with the operator's reason. What a worker calls stays, and so does what is done. Returns how
-- many of them.
create function outbox.give_up(repair uuid, rpc text, seqs bigint[], events uuid[], reason text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    q      integer := (select w.id from outbox.queue as w where w.rpc = give_up.rpc);
    why    text := 'given up by ' || coalesce((select a.who from outbox.audit as a where a.id = repair), '') || coalesce(': ' || left(nullif(reason, ''), 400), '');
    called uuid[] := outbox.in_claims(q);
    given  bigint;
begin
    perform outbox.check_lengths(cardinality(seqs), cardinality(events));
    with meant as materialized (
        select r.ctid as row from unnest(seqs, events) as k (seq, event)
        join outbox.retry as r on r.seq = k.seq and r.queue = q and r.event_id = k.event
        where (r.token is null or r.due_at <= clock_timestamp())
          and not outbox.is_called(give_up.rpc, r.event_id, called)
          and not exists (select from outbox.recorded(give_up.rpc, array[r.event_id]) as l where l.done_at is not null)
        for update of r skip locked
    ), gone as (
        delete from outbox.retry as r where r.ctid = any (array(select m.row from meant as m))
        returning r.seq, r.queue, r.event_id, r.body, r.enqueued_at, r.attempts, r.repair
    ), written as (
        insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, repair)
        select g.seq, g.queue, g.event_id, g.body, g.enqueued_at, g.attempts, 'given_up', why, g.repair from gone as g
        on conflict do nothing
    ), kept as (
        insert into outbox.history (event_id, queue, attempt, what, code, error, repair)
        select g.event_id, g.queue, g.attempts, 'dead', 'given_up', why, give_up.repair from gone as g
    )
    select count(*) into given from gone;
    perform outbox.repaired(repair, given);
    return given;
end $$;

-- Moves at most n of what waits or is retried in a queue to the queue of another RPC, which is made if it is missing. What one
-- RPC has done is done at the other. A message keeps its attempts, its time, and the time of its next attempt. One that was due
-- is due now, because workers of the other queue do not look further back. What is called under the old name stays: see
-- outbox.is_called. The lock of the old queue, which outbox.log_to_retry takes, keeps new leases away.
-- A repair that put a message into the old queue can take it back from the new one.
create function outbox.move_waiting(repair uuid, old_rpc text, new_rpc text, n integer default 500) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    old_queue integer := (select q.id from outbox.queue as q where q.rpc = old_rpc);
    new_queue integer := outbox.other_queue(old_rpc, new_rpc);
    called    uuid[];
    moved     bigint;
    ids       uuid[];
begin
    perform outbox.repaired(repair, 0);
    perform outbox.recover(old_queue, 0);
    perform outbox.log_to_retry(old_queue, 9223372036854775807, n);
    called := outbox.in_claims(old_queue);
    with meant as materialized (
        select r.ctid as row from outbox.retry as r
        where r.queue = old_queue and (r.token is null or r.due_at <= clock_timestamp())
          and not outbox.is_called(old_rpc, r.event_id, called)
        order by r.due_at limit n for update skip locked
    ), gone as (
        delete from outbox.retry as r where r.ctid = any (array(select m.row from meant as m))
        returning r.seq, r.event_id, r.body, r.enqueued_at, r.attempts, r.due_at, r.last_code, r.last_error, r.failed_at, r.repair, r.was
    ), written as (
        insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error, failed_at, noted,
                                  repair, was)
        select nextval('outbox.delivery_seq'), new_queue, g.event_id, outbox.readdressed(g.body, old_rpc, new_rpc), g.enqueued_at,
               g.attempts, greatest(g.due_at, clock_timestamp()), g.last_code, g.last_error, g.failed_at, true, g.repair, g.was
        from (select * from gone order by gone.seq) as g
    ), kept as (
        insert into outbox.history (event_id, queue, what, repair)
        select g.event_id, new_queue, 'moved', move_waiting.repair from gone as g
    )
    select count(*), array_agg(g.event_id) into moved, ids from gone as g;
    perform outbox.carry_done(ids, old_rpc, new_rpc);
    perform pg_notify('outbox_delivery', new_queue::text);
    perform outbox.repaired(repair, moved);
    return moved;
end $$;

-- The same for dead letters. They stay dead.
create function outbox.move_dead(repair uuid, old_rpc text, new_rpc text, n integer default 500) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    old_queue integer := (select q.id from outbox.queue as q where q.rpc = old_rpc);
    new_queue integer := outbox.other_queue(old_rpc, new_rpc);
    moved     bigint;
    ids       uuid[];
begin
    perform outbox.repaired(repair, 0);
    with meant as materialized (
        select l.ctid as row from outbox.dead_letter as l where l.queue = old_queue
        order by l.dead_at limit n for update skip locked
    ), gone as (
        delete from outbox.dead_letter as l where l.ctid = any (array(select m.row from meant as m))
        returning l.seq, l.event_id, l.body, l.enqueued_at, l.attempts, l.code, l.reason, l.dead_at, l.repair
    ), written as (
        insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at, repair)
        select nextval('outbox.delivery_seq'), new_queue, g.event_id, outbox.readdressed(g.body, old_rpc, new_rpc), g.enqueued_at,
               g.attempts, g.code, g.reason, g.dead_at, g.repair
        from (select * from gone order by gone.seq) as g
    ), kept as (
        insert into outbox.history (event_id, queue, what, repair)
        select g.event_id, new_queue, 'moved', move_dead.repair from gone as g
    )
    select count(*), array_agg(g.event_id) into moved, ids from gone as g;
    perform outbox.carry_done(ids, old_rpc, new_rpc);
    perform outbox.repaired(repair, moved);
    return moved;
end $$;

-- The queue to move to.
create function outbox.other_queue(old_rpc text, new_rpc text) returns integer
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new_rpc is null or new_rpc = old_rpc or octet_length(new_rpc) > 256
       or new_rpc !~ '^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*/[A-Za-z_][A-Za-z0-9_]*$' then
        raise exception '% is not another RPC', coalesce(quote_literal(left(new_rpc, 256)), 'null')
            using errcode = 'invalid_parameter_value', hint = 'write Service/Method, as in event_router.yaml';
    end if;
    insert into outbox.queue (rpc) select new_rpc where not exists (select from outbox.queue as q where q.rpc = new_rpc)
    on conflict do nothing;
    return (select q.id from outbox.queue as q where q.rpc = new_rpc);
end $$;

-- Of these events, what one RPC has done is done at the other. The record leaves with that of the old name: both lie in the
-- slot of the event's week.
create function outbox.carry_done(ids uuid[], old_rpc text, new_rpc text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    carried bigint;
begin
    insert into outbox.dedup as d (slot, event_id, rpc, lease, until, done_at)
    select outbox.dedup_slot(r.event_id), r.event_id, new_rpc, outbox.token(), clock_timestamp(), min(r.done_at)
    from outbox.recorded(old_rpc, ids) as r where r.done_at is not null group by r.event_id order by r.event_id
    on conflict (slot, event_id, rpc) do update set done_at = excluded.done_at where d.done_at is null;
    get diagnostics carried = row_count;
    return carried;
end $$;

-- Copies the dedup record of one RPC to another, for a replay: about n receipts and rows of a slot, after an id. Returns where to go
-- on, or null at the end of the slot. What was copied before is left out.
-- It copies whole minutes. The relay folds receipts between two calls, and a folded receipt has ids of one minute. An id may then be
-- in a receipt that ends earlier than its former one.
create function outbox.carry_records(repair uuid, old_rpc text, new_rpc text, s smallint, after uuid, n integer default 200,
                                     out upto uuid, out carried bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    of_all constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    begins constant uuid := coalesce(after, '00000000-0000-0000-0000-000000000000');
    rows   bigint;
begin
    perform outbox.other_queue(old_rpc, new_rpc);
    upto := least(
        coalesce((select r.last_id from outbox.receipt as r where r.slot = s and r.rpc = old_rpc and r.last_id > begins
                  order by r.last_id offset n - 1 limit 1), of_all),
        coalesce((select d.event_id from outbox.dedup as d where d.slot = s and d.rpc = old_rpc and d.event_id > begins
                  order by d.event_id offset n - 1 limit 1), of_all));
    if upto < of_all then
        upto := outbox.minute_end(upto);
    end if;
    with copied as (
        insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
        select r.slot, r.small, r.done_at, r.first_id, r.last_id, new_rpc, r.ids
        from outbox.receipt as r
        where r.slot = s and r.rpc = old_rpc and r.last_id > begins and r.last_id <= upto
          and not exists (select from outbox.receipt as c
                          where c.slot = s and c.rpc = new_rpc and c.last_id = r.last_id and c.ids @> r.ids)
        returning cardinality(ids) as many
    )
    select coalesce(sum(c.many), 0) into carried from copied as c;
    insert into outbox.dedup as d (slot, event_id, rpc, lease, until, done_at)
    select o.slot, o.event_id, new_rpc, outbox.token(), clock_timestamp(), o.done_at
    from outbox.dedup as o
    where o.slot = s and o.rpc = old_rpc and o.event_id > begins and o.event_id <= upto and o.done_at is not null
    order by o.event_id
    on conflict (slot, event_id, rpc) do update set done_at = excluded.done_at where d.done_at is null;
    get diagnostics rows = row_count;
    carried := carried + rows;
    perform outbox.repaired(repair, carried);
    if upto = of_all then
        upto := null;
    end if;
end $$;

-- Fails while a running relay routes to this RPC, or a running worker serves it. A relay keeps the ids of queues: what it appended
-- to a queue without a row would be lost.
create function outbox.check_unrouted(gone text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    one record;
begin
    select p.program, p.name into one from outbox.process as p
    where p.seen_at > clock_timestamp() - 3 * p.every_seconds * interval '1 second'
      and (gone = any (p.rpcs) or exists (select from unnest(p.routes) as m (mark) where split_part(m.mark, ' ', 2) = gone))
    limit 1;
    if found then
        raise exception 'the % % still has the RPC %', one.program, one.name, gone
            using errcode = 'object_in_use', hint = 'restart it with an event_router.yaml without this RPC';
    end if;
end $$;

-- Drops at most n messages and dead letters of a queue for good. Returns how many. What a worker calls stays.
create function outbox.drop_waiting(repair uuid, rpc text, n integer default 1000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    q       integer := (select w.id from outbox.queue as w where w.rpc = drop_waiting.rpc);
    dropped bigint;
begin
    perform outbox.repaired(repair, 0);
    perform outbox.check_unrouted(rpc);
    perform outbox.recover(q, 0);
    perform from outbox.queue as w where w.id = q for update;
    with batch as materialized (
        select d.seq, d.event_id from outbox.delivery as d
        where d.queue = q and d.seq > (select h.seq from outbox.queue_head as h where h.queue = q)
        order by d.seq limit n
    ), passed as (
        insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
        select outbox.next_claim(q), q, outbox.token(), min(b.seq), max(b.seq), null, 'operator'
        from batch as b having count(*) > 0
    )
    insert into outbox.dropped (event_id, queue, repair) select b.event_id, q, drop_waiting.repair from batch as b;
    get diagnostics dropped = row_count;
    if dropped = 0 then
        with meant as materialized (
            select r.ctid as row from outbox.retry as r
            where r.queue = q and (r.token is null or r.due_at <= clock_timestamp()) limit n for update skip locked
        ), gone as (
            delete from outbox.retry as r where r.ctid = any (array(select m.row from meant as m)) returning r.event_id
        )
        insert into outbox.dropped (event_id, queue, repair) select g.event_id, q, drop_waiting.repair from gone as g;
        get diagnostics dropped = row_count;
    end if;
    if dropped = 0 then
        with meant as materialized (
            select l.ctid as row from outbox.dead_letter as l where l.queue = q limit n for update skip locked
        ), gone as (
            delete from outbox.dead_letter as l where l.ctid = any (array(select m.row from meant as m)) returning l.event_id
        )
        insert into outbox.dropped (event_id, queue, repair) select g.event_id, q, drop_waiting.repair from gone as g;
        get diagnostics dropped = row_count;
    end if;
    perform outbox.repaired(repair, dropped);
    return dropped;
end $$;

-- Removes the row of a queue in which nothing is left. False if something is.
create function outbox.remove_queue(repair uuid, rpc text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    q integer := (select w.id from outbox.queue as w where w.rpc = remove_queue.rpc);
begin
    -- Replays and moves insert into outbox.queue before they put messages into a queue, and so lock this table until they commit.
    -- A lock of the row would make workers wait for them. This one does not.
    lock table outbox.queue in share row exclusive mode;
    perform outbox.repaired(repair, 0);
    perform outbox.check_unrouted(rpc);
    perform from outbox.queue as w where w.id = q for update;
    if not found
       or exists (select from outbox.delivery as d
                  where d.queue = q and d.seq > (select h.seq from outbox.queue_head as h where h.queue = q))
       or exists (select from outbox.retry as r where r.queue = q)
       or exists (select from outbox.dead_letter as l where l.queue = q)
       or exists (select from outbox.claim as c where c.queue = q and c.until is not null) then
        return false;
    end if;
    insert into outbox.former_queue as f (id, rpc) values (q, remove_queue.rpc)
    on conflict (id) do update set rpc = excluded.rpc, at = excluded.at;
    delete from outbox.claim as c where c.queue = q;
    delete from outbox.queue as w where w.id = q;
    perform outbox.repaired(repair, 1);
    return true;
end $$;

revoke all on function outbox.body_field, outbox.readdressed, outbox.log_to_retry, outbox.take_log, outbox.retry_now,
                       outbox.in_claims, outbox.is_called, outbox.give_up, outbox.move_waiting, outbox.move_dead,
                       outbox.other_queue, outbox.carry_done, outbox.carry_records, outbox.check_unrouted,
                       outbox.drop_waiting, outbox.remove_queue from public;
