-- What workers call (the postgres transport).

-- A fencing token. It is not from a sequence, because a sequence draws values again after a crash took them back.
create function outbox.token() returns bigint
language sql volatile parallel safe
return ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint;

-- Claims up to n deliveries of an RPC's queue, and hides them for a while. The lock of the queue's row makes claims of the log
-- take turns. Each statement of a volatile function sees what the one before it in the queue committed.
-- A new delivery gets its lease in the dedup record at once, under the claim's token, unless it has a record already: "leased"
-- says so. A later request would be one more round trip for each batch.
-- The queue is found by its RPC's name each time, because after a restore the same id may be another RPC's.
-- due_from: see outbox.receive_due. Rows that are due come with the time at which they were due.
-- Asynchronous commit is safe: a claim lost in a crash is made again. The dedup record, written durably and later in the WAL,
-- has what was done.
create function outbox.receive(rpc_name text, n integer, hidden interval, worker_name text, leased_for interval, due_from timestamptz)
returns table (queue integer, seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer,
               enqueued_at timestamptz, leased boolean, due_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- Turns take microseconds. But a worker that froze while its answer was being sent holds the lock.
as $$
#variable_conflict use_column
declare
    q         integer := (select w.id from outbox.queue as w where w.rpc = rpc_name);
    -- Deliveries that are due for another attempt get half of the places, and an odd one every other time. Neither kind may
    -- starve the other, even with one place at a time.
    share     integer := n / 2 + (n % 2) * floor(random() * 2)::integer;
    taken     integer;
    more      integer;
    head      bigint;
    new_id    bigint;
    new_token bigint := outbox.token();
begin
    if q is null then
        return; -- the worker's next look makes the queue again
    end if;
    return query select q, * from outbox.receive_due(q, share, hidden, due_from);
    get diagnostics taken = row_count;

    perform from outbox.queue as w where w.id = q for update;
    select h.seq into head from outbox.queue_head as h where h.queue = q;
    new_id := nextval('outbox.claim_id');
    return query
        with batch as materialized (
            select d.seq, d.event_id, d.body, d.enqueued_at from outbox.delivery as d
            where d.queue = q and d.seq > head
            order by d.seq limit n - taken
        ), claimed as (
            insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
            select new_id, q, new_token, min(b.seq), max(b.seq), clock_timestamp() + hidden, worker_name from batch as b
            having count(*) > 0
        ), leased as (
            -- In the keys' order, as every statement here: crosswise locks would wait for each other.
            insert into outbox.dedup (slot, event_id, rpc, lease, until)
            select outbox.dedup_slot(b.event_id), b.event_id, rpc_name, new_token, clock_timestamp() + leased_for
            from batch as b order by b.event_id
            on conflict do nothing
            returning event_id
        ), late as (
            update outbox.dedup_late as l set newest = clock_timestamp()
            where l.newest < clock_timestamp() - interval '1 day'
              and l.slot = any (outbox.late_slots(array(select b.event_id from batch as b)))
        )
        select q, b.seq, new_id, new_token, b.event_id, b.body, 1, outbox.sane_time(b.enqueued_at),
               b.event_id in (select l.event_id from leased as l), null::timestamptz
        from batch as b order by b.seq;
    get diagnostics more = row_count;

    if taken = share and taken + more < n then
        return query select q, * from outbox.receive_due(q, n - taken - more, hidden, due_from);
    end if;
end $$;

-- A row may hold any time, infinity among them, and programs can't read them all.
create function outbox.sane_time(at timestamptz) returns timestamptz
language sql stable parallel safe
return case when at is not null then greatest(least(at, statement_timestamp()), statement_timestamp() - interval '1000 years') end;

-- The part of outbox.receive for deliveries with a row each. There is no claim id, because the row is the claim. Rows that
-- another worker takes at the same time are skipped, so that no worker waits for this look.
-- due_from: rows that are due earlier are not read. (Not in language sql, which would plan it anew each time.)
create function outbox.receive_due(q integer, n integer, hidden interval, due_from timestamptz)
returns table (seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer, enqueued_at timestamptz,
               leased boolean, due_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    by_now timestamptz := clock_timestamp(); -- a volatile function would be no index condition
begin
    if n <= 0 then
        return;
    end if;
    return query
        with due as materialized (
            select d.ctid as row, d.seq, d.due_at from outbox.retry as d
            where d.queue = q and d.due_at >= due_from and d.due_at <= by_now
            order by d.due_at limit n for update skip locked
        )
        update outbox.retry as r
        set due_at = clock_timestamp() + hidden, token = outbox.token(), attempts = r.attempts + 1
        where r.ctid = any (array(select due.row from due)) -- a seq may be another queue's, too
        returning r.seq, null::bigint, r.token, r.event_id, r.body, r.attempts, outbox.sane_time(r.enqueued_at), false,
                  (select outbox.sane_time(min(due.due_at)) from due where due.seq = r.seq);
end $$;

-- Settles messages that a worker has received, all of them or none: those for another attempt, dead ones, and done ones with a
-- row of their own. Then it closes the claims that are settled as a whole. A message whose claim was lost is another worker's,
-- and stays as it is. A claim's messages get rows before it is closed, so that a crash takes back both.
-- It locks the claims first, as outbox.recover does: crosswise locks would wait for each other.
-- fates: 'retry', 'dead' or 'done'. A claim is null for a message with a row of its own.
create function outbox.settle(queues integer[], seqs bigint[], claims bigint[], tokens bigint[], fates text[], waits interval[],
                              counted boolean[], codes text[], texts text[], closed bigint[], closed_tokens bigint[])
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    m record;
begin
    perform from outbox.claim as c where c.id = any (claims || closed) order by c.id for no key update;
    -- The worker counts what is left of a claim, and closes it with the last message. So what is written before must survive a
    -- crash of the server, as the worker's count does.
    if exists (select from unnest(claims) as k (claim) where k.claim <> all (closed)) then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    for m in
        select k.* from unnest(queues, seqs, claims, tokens, fates, waits, counted, codes, texts)
            as k (queue, seq, claim, token, fate, wait, counts, code, why)
        order by k.seq
    loop
        if m.fate = 'retry' and m.claim is not null then
            insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, case when m.counts then 1 else 0 end,
                   clock_timestamp() + m.wait, m.code, m.why
            from outbox.delivery as d
            where d.queue = m.queue and d.seq = m.seq
              and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
            on conflict do nothing;
        elsif m.fate = 'retry' then
            update outbox.retry as r
            set due_at = clock_timestamp() + m.wait, token = null, last_code = m.code, last_error = m.why,
                failed_at = clock_timestamp(), attempts = r.attempts - case when m.counts then 0 else 1 end
            where r.seq = m.seq and r.token = m.token and r.queue = m.queue;
        elsif m.fate = 'dead' and m.claim is not null then
            insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, 1, m.code, m.why
            from outbox.delivery as d
            where d.queue = m.queue and d.seq = m.seq
              and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
            on conflict do nothing;
        elsif m.fate = 'dead' then
            with moved as (
                delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue
                returning r.seq, r.queue, r.event_id, r.body, r.enqueued_at, r.attempts
            )
            insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, d.attempts, m.code, m.why from moved as d
            on conflict do nothing;
        else
            delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue;
        end if;
    end loop;
    update outbox.claim as c set until = null
    where c.id = any (closed) and c.token = any (closed_tokens) and c.until is not null;
end $$;

-- Moves what is left of a range of a queue's log to outbox.retry. Rows already retried or dead stay as they are. Rows already
-- done are moved, too, and recognised by their dedup record.
create function outbox.requeue(q integer, first bigint, last bigint, made integer, why_code text, why text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moved bigint;
begin
    insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
    select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, made, clock_timestamp(), why_code, why
    from outbox.delivery as d
    where d.queue = q and d.seq between first and last
      and not exists (select from outbox.dead_letter as l
                      where l.seq = d.seq and l.queue = d.queue and l.event_id = d.event_id)
    on conflict do nothing;
    get diagnostics moved = row_count;
    return moved;
end $$;

-- Gives back what workers claimed and never settled, because they died or hang. Returns how many deliveries that was.
create function outbox.recover(q integer, claims_from bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c         record;
    recovered bigint := 0;
begin
    perform from outbox.queue as w where w.id = q for update skip locked;
    if not found then
        return 0; -- next time
    end if;
    for c in
        select id, first_seq, last_seq, worker from outbox.claim
        where queue = q and id >= claims_from and until < clock_timestamp() for update
    loop
        recovered := recovered + outbox.requeue(q, c.first_seq, c.last_seq, 1, 'lease_expired',
            'worker ' || c.worker || ' did not settle it in time');
        update outbox.claim set until = null where id = c.id;
    end loop;
    delete from outbox.claim as old where old.queue = q and old.id >= claims_from and old.until is null
        and old.id < (select max(newest.id) from outbox.claim as newest where newest.queue = q);
    return recovered;
end $$;
