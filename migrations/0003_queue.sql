-- What workers call (the postgres transport).

-- A fencing token. It is not from a sequence, because a sequence draws values again after a crash took them back.
create function outbox.token() returns bigint
language sql volatile parallel safe
return ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint;

-- Claims up to n deliveries of an RPC's queue, and hides them for a while. The lock of the queue's row makes claims of the
-- log take turns. Each statement of a volatile function sees what the one before it in the queue committed.
-- The claim is the lease of each of its events that has no dedup record and no other lease: "leased" says so. A later
-- request would be one more round trip for each batch. This function and outbox.lease decide about leases under the queue's
-- lock, in the statement that reads the other records. So of a batch and a row with the same event only one is leased.
-- The queue is found by its RPC's name each time, because after a restore the same id may be another RPC's.
-- due_from: see outbox.receive_due. Rows that are due come with the time at which they were due. claims_from: see
-- outbox.claim. Asynchronous commit is safe: a claim lost in a crash is made again. The dedup record, written durably and
-- later in the WAL, has what was done.
create function outbox.receive(rpc_name text, n integer, hidden interval, worker_name text, leased_for interval, due_from timestamptz,
                               claims_from bigint)
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
    newest    bigint;
    head      bigint;
    new_id    bigint;
    new_token bigint := outbox.token();
begin
    if q is null then
        return; -- the worker's next look makes the queue again
    end if;
    -- A worker that has not seen the pause yet receives nothing, either.
    if exists (select from outbox.brake as b where b.rpc = rpc_name and b.kind = 'pause' and b.until > clock_timestamp()) then
        return;
    end if;
    return query select q, * from outbox.receive_due(q, share, hidden, due_from);
    get diagnostics taken = row_count;

    perform from outbox.queue as w where w.id = q for update;
    select c.id, c.last_seq into newest, head from outbox.claim as c where c.queue = q order by c.id desc limit 1;
    head := coalesce(head, 0);
    new_id := nextval('outbox.claim_id');
    while new_id <= newest loop -- The sequence was set back. A lower id would be below the head and below claims_from.
        new_id := nextval('outbox.claim_id');
    end loop;
    return query
        with batch as materialized (
            select d.seq, d.event_id, d.body, d.enqueued_at from outbox.delivery as d
            where d.queue = q and d.seq > head
            order by d.seq limit n - taken
        ), sorted as materialized (
            select array(select b.event_id from batch as b order by b.event_id) as ids
        ), claimed as (
            insert into outbox.claim (id, queue, token, first_seq, last_seq, until, leased_until, first_id, last_id, worker)
            select new_id, q, new_token, min(b.seq), max(b.seq), clock_timestamp() + hidden, clock_timestamp() + leased_for,
                   (select s.ids[1] from sorted as s), (select s.ids[cardinality(s.ids)] from sorted as s), worker_name
            from batch as b having count(*) > 0
        ), others as materialized (
            select o.event_id from sorted as s cross join lateral outbox.claimed(q, s.ids, claims_from) as o
            union all
            select o.event_id from sorted as s cross join lateral outbox.recorded(rpc_name, s.ids) as o
        )
        select q, b.seq, new_id, new_token, b.event_id, b.body, 1, outbox.sane_time(b.enqueued_at),
               b.event_id not in (select o.event_id from others as o), null::timestamptz
        from batch as b order by b.seq;
    get diagnostics more = row_count;

    if taken = share and taken + more < n then
        return query select q, * from outbox.receive_due(q, n - taken - more, hidden, due_from);
    end if;
end $$;

-- The id of a claim that moves a queue's head, drawn under the lock of the queue's row. See outbox.receive: a lower id than the
-- newest would move nothing.
create function outbox.next_claim(q integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    newest bigint := (select c.id from outbox.claim as c where c.queue = q order by c.id desc limit 1);
    new_id bigint := nextval('outbox.claim_id');
begin
    while new_id <= newest loop
        new_id := nextval('outbox.claim_id');
    end loop;
    return new_id;
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

-- Those of these ids that are in an open claim of this queue with an id below claims_to, and when that claim ends. Few claims
-- are open, and each has at most one batch.
-- This and outbox.recorded read the snapshot of the statement that calls them. A claim is closed after its receipt is
-- written, so two reads in two snapshots could miss both.
create function outbox.claimed(q integer, ids uuid[], claims_from bigint, claims_to bigint default 9223372036854775807)
returns table (event_id uuid, until timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    sorted uuid[] := array(select k.id from unnest(ids) as k (id) order by k.id);
    lowest bigint := ( -- If claims_from is above all claims, it is from before a restore of the database.
        select case when c.id >= claims_from then claims_from else 0 end
        from outbox.claim as c where c.queue = q order by c.id desc limit 1);
begin
    return query
        select d.event_id, d.until
        from (
            select d.event_id, c.until from (
                select c.first_seq, c.last_seq, c.until from outbox.claim as c
                where c.queue = q and c.id >= lowest and c.id < claims_to and c.until is not null
                  and c.first_id <= sorted[cardinality(sorted)] and c.last_id >= sorted[1] offset 0) as c
            cross join lateral (
                select d.event_id from outbox.delivery as d
                where d.queue = q and d.seq between c.first_seq and c.last_seq
                  and d.event_id between sorted[1] and sorted[cardinality(sorted)] offset 0) as d
            offset 0) as d
        join unnest(sorted) as k (id) on k.id = d.event_id;
end $$;

-- Those of these ids that have a row or are in a receipt. Only a row has the end of a lease.
-- It reads each slot by the slot's own name. A statement on the whole record locks all slots, and would wait while an old one
-- is truncated.
create function outbox.recorded(rpc_name text, ids uuid[])
returns table (event_id uuid, done_at timestamptz, until timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    s smallint;
begin
    for s in select distinct outbox.dedup_slot(k.id) from unnest(ids) as k (id) loop
        case s
        when 0 then return query select * from outbox.recorded_0(rpc_name, ids);
        when 1 then return query select * from outbox.recorded_1(rpc_name, ids);
        when 2 then return query select * from outbox.recorded_2(rpc_name, ids);
        when 3 then return query select * from outbox.recorded_3(rpc_name, ids);
        else return query select * from outbox.recorded_4(rpc_name, ids);
        end case;
    end loop;
end $$;

do $do$
begin
    for i in 0..4 loop
        execute format($sql$
            create function outbox.recorded_%1$s(rpc_name text, ids uuid[])
            returns table (event_id uuid, done_at timestamptz, until timestamptz)
            language plpgsql stable set search_path = pg_catalog, pg_temp as $$
            begin
                -- Ids are found one by one, because a plan for all would walk over the slot. Mostly no row is near them.
                if exists (select from outbox.dedup_%1$s as d
                           where d.slot = %1$s and d.event_id between (select k.id from unnest(ids) as k (id) order by k.id limit 1)
                                                                  and (select k.id from unnest(ids) as k (id) order by k.id desc limit 1)) then
                    return query
                        select k.id, d.done_at, d.until from unnest(ids) as k (id)
                        cross join lateral (
                            select * from outbox.dedup_%1$s as d
                            where d.slot = %1$s and d.event_id = k.id and d.rpc = rpc_name limit 1) as d;
                end if;
                -- Of most receipts of the minute only the first and last id are read, because recent ones have higher ids.
                return query
                    select i.id, r.done_at, null::timestamptz
                    from (
                        select array_agg(k.id order by k.id) as sorted, outbox.minute_end(k.id) as minute_end
                        from unnest(ids) as k (id) group by outbox.minute_end(k.id)) as m
                    cross join lateral (
                        select r.done_at, r.first_id, r.last_id, r.ids as had from outbox.receipt_%1$s as r
                        where r.rpc = rpc_name and r.last_id between m.sorted[1] and m.minute_end
                          and r.first_id <= m.sorted[cardinality(m.sorted)] offset 0) as r
                    cross join lateral unnest(r.had) as i (id)
                    join unnest(m.sorted) as k (id) on k.id = i.id and k.id between r.first_id and r.last_id;
            end $$;
            $sql$, i);
        -- Gives back the leases of rows.
        execute format($sql$
            create function outbox.release_%1$s(rpc_name text, ids uuid[], tokens bigint[]) returns void
            language plpgsql set search_path = pg_catalog, pg_temp as $$
            begin
                for n in 1 .. cardinality(ids) loop
                    update outbox.dedup_%1$s as d set until = clock_timestamp() - interval '1 microsecond'
                    where d.slot = %1$s and d.event_id = ids[n] and d.rpc = rpc_name and d.lease = tokens[n]
                      and d.done_at is null;
                end loop;
            end $$;
            $sql$, i);
    end loop;
end $do$;

-- Leases deliveries that have a row of their own. An open claim has the lease of its events, except of those with a row.
-- There the row decides, because only the claim's worker writes one. held: the seconds that another lease lasts, or null if
-- done.
create function outbox.lease(rpc_name text, ids uuid[], tokens bigint[], leased_for interval, claims_from bigint)
returns table (event_id uuid, won boolean, held double precision)
language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- as outbox.receive
as $$
#variable_conflict use_column
declare
    q integer := (select w.id from outbox.queue as w where w.rpc = rpc_name);
begin
    perform from outbox.queue as w where w.id = q for update;
    perform outbox.note_late(ids);
    return query
        with others as materialized (
            select o.event_id, bool_or(o.done_at is not null) as done, bool_and(o.of_claim) as only_claimed,
                   coalesce(max(o.until) filter (where not o.of_claim), max(o.until)) as until
            from (
                -- A claim that has ended keeps its leases until its recovery, which follows soon.
                select c.event_id, null::timestamptz as done_at, greatest(c.until, clock_timestamp() + interval '0.2 s') as until,
                       true as of_claim
                from outbox.claimed(q, ids, claims_from) as c
                union all
                select r.event_id, r.done_at, r.until, false from outbox.recorded(rpc_name, ids) as r) as o
            group by o.event_id
        ), won as (
            -- In the keys' order, as every statement here: crosswise locks would wait for each other.
            insert into outbox.dedup as d (slot, event_id, rpc, lease, until)
            select outbox.dedup_slot(k.id), k.id, rpc_name, k.lease, clock_timestamp() + leased_for
            from unnest(ids, tokens) as k (id, lease)
            where k.id not in (select o.event_id from others as o where o.done or o.only_claimed)
            order by k.id
            on conflict (slot, event_id, rpc) do update set lease = excluded.lease, until = excluded.until
            where d.done_at is null and d.until < clock_timestamp()
            returning d.event_id
        )
        select k.id, w.event_id is not null,
               case when o.done then null
                    else extract(epoch from greatest(least(o.until, t.now + interval '1 year'), t.now) - t.now)
               end::double precision
        from unnest(ids) as k (id) cross join (select clock_timestamp() as now) as t
        left join won as w on w.event_id = k.id
        left join others as o on o.event_id = k.id;
end $$;

-- Notes that slots were written to for old events: see outbox.dedup_late. Its locks come after those of queues and claims,
-- in every function: crosswise locks would wait for each other.
create function outbox.note_late(ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update outbox.dedup_late as l set newest = clock_timestamp()
    where l.newest < clock_timestamp() - interval '1 day' and l.slot = any (outbox.late_slots(ids));
end $$;

-- Writes receipts for the leases of claims that are still open, and returns the places of these leases. One transaction
-- checks the claims' tokens and writes the receipts. The claims' locks keep another one from ending a claim meanwhile.
-- Only this commit of a worker, and that of outbox.record_rows, must be durable before it goes on: a lost record would mean
-- a second call.
-- closing: the tokens of claims whose last open deliveries are all in this call. Such a claim is closed here, and its places are
-- negative. But if its batch has a row in outbox.retry, outbox.settle closes it, because leases may have to be kept.
create function outbox.record(rpc_name text, ids uuid[], tokens bigint[], closing bigint[]) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    l      record;
    closed bigint[] := '{}';
    open bigint[] := array(
        select c.token from outbox.claim as c
        where c.id = any (array(select o.id from outbox.claim as o where o.token = any (tokens))) and c.until is not null
        order by c.id for no key update);
begin
    if open = '{}' then
        return;
    end if;
    perform set_config('synchronous_commit', 'on', true);
    perform outbox.note_late(ids);
    insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
    select outbox.dedup_slot(m.ids[1]), cardinality(m.ids) < 250, clock_timestamp(), m.ids[1], m.ids[cardinality(m.ids)], rpc_name, m.ids
    from (select array_agg(distinct k.id order by k.id) as ids from unnest(ids, tokens) as k (id, token)
          where k.token = any (open) group by outbox.id_millis(k.id) / 60000) as m;
    for l in
        select c.id, c.token, c.queue, c.first_seq, c.last_seq from outbox.claim as c
        where c.id = any (array(select o.id from outbox.claim as o where o.token = any (closing))) and c.token = any (open)
        order by c.id
    loop
        perform from outbox.retry as r
        where r.seq between l.first_seq and l.last_seq and r.queue = l.queue order by r.seq limit 1;
        if not found then
            update outbox.claim as c set until = null where c.id = l.id;
            closed := closed || l.token;
        end if;
    end loop;
    return query
        select case when k.token = any (closed) then -k.n else k.n end
        from unnest(tokens) with ordinality as k (token, n) where k.token = any (open);
end $$;

-- Records successes under leases of rows, and under claims that have ended: then their events have rows, too. A missing lease
-- was lost in a crash. It is still valid, unless an open claim has the event. Claims are read under the queue's lock. Returns
-- the places of the recorded leases. Another worker has the leases of the others.
create function outbox.record_rows(rpc_name text, ids uuid[], tokens bigint[], claims_from bigint) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
    q    integer := (select w.id from outbox.queue as w where w.rpc = rpc_name);
    lost uuid[];
    held uuid[] := '{}';
begin
    perform set_config('synchronous_commit', 'on', true);
    lost := array(
        select k.id from unnest(ids) as k (id)
        where k.id not in (select r.event_id from outbox.recorded(rpc_name, ids) as r where r.until is not null));
    if lost <> '{}' then
        perform from outbox.queue as w where w.id = q for update;
        held := array(
            select c.event_id from outbox.claimed(q, lost, claims_from) as c
            where c.event_id not in (select r.event_id from outbox.recorded(rpc_name, lost) as r));
    end if;
    perform outbox.note_late(ids);
    return query
        with written as (
            insert into outbox.dedup as d (slot, event_id, rpc, lease, until, done_at)
            select outbox.dedup_slot(k.id), k.id, rpc_name, k.lease, clock_timestamp(), clock_timestamp()
            from unnest(ids, tokens) as k (id, lease)
            where k.id <> all (held)
            order by k.id
            on conflict (slot, event_id, rpc) do update set done_at = coalesce(d.done_at, excluded.done_at)
            where d.lease = excluded.lease
            returning d.event_id
        )
        select k.n from unnest(ids) with ordinality as k (id, n) join written as w on w.event_id = k.id;
end $$;

-- Gives back leases whose calls did not succeed. Under an open claim that writes a row, which has the event's lease from then
-- on. So the next attempt does not wait for the rest of the batch. Returns all places, because a lost lease needs nothing.
create function outbox.release(rpc_name text, ids uuid[], tokens bigint[]) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    open bigint[] := array(
        select c.token from outbox.claim as c
        where c.id = any (array(select o.id from outbox.claim as o where o.token = any (tokens))) and c.until is not null
        order by c.id for no key update);
    rows uuid[];
    held bigint[];
    s    smallint;
begin
    select array_agg(k.id order by k.id, k.token), array_agg(k.token order by k.id, k.token) into rows, held
    from unnest(ids, tokens) as k (id, token) where k.token <> all (open);
    insert into outbox.dedup (slot, event_id, rpc, lease, until)
    select outbox.dedup_slot(k.id), k.id, rpc_name, k.token, clock_timestamp() - interval '1 microsecond'
    from unnest(ids, tokens) as k (id, token) where k.token = any (open) order by k.id
    on conflict do nothing;
    for s in select distinct outbox.dedup_slot(k.id) from unnest(rows) as k (id) loop
        case s
        when 0 then perform outbox.release_0(rpc_name, rows, held);
        when 1 then perform outbox.release_1(rpc_name, rows, held);
        when 2 then perform outbox.release_2(rpc_name, rows, held);
        when 3 then perform outbox.release_3(rpc_name, rows, held);
        else perform outbox.release_4(rpc_name, rows, held);
        end case;
    end loop;
    return query select k.n from unnest(ids) with ordinality as k (id, n);
end $$;

-- Settles messages that a worker has received, all of them or none: those for another attempt, dead ones, and done ones with a
-- row of their own. Then it closes the claims that are settled as a whole. A message whose claim was lost is another worker's,
-- and stays as it is. A claim's messages get rows before it is closed, so that a crash takes back both.
-- It locks the claims first, as outbox.recover does: crosswise locks would wait for each other.
-- fates: 'retry', 'dead' or 'done'. A claim is null for a message with a row of its own.
-- notes: what outbox.history keeps of a message, or null. Success at a first attempt leaves no note, unless the history has
-- another entry of the message. A hold with the same words as the last one leaves none, either.
-- The history may be locked, or its privilege missing: then the entries are left out. Returns whether they were written, or null
-- if there were none.
create function outbox.settle(queues integer[], seqs bigint[], claims bigint[], tokens bigint[], fates text[], waits interval[],
                              counted boolean[], codes text[], texts text[], closed bigint[], closed_tokens bigint[], claims_from bigint,
                              notes text[], worker_name text)
returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    m           record;
    event       uuid;
    made        integer;
    before      text;
    kept        bigint[] := '{}';
    kept_events uuid[] := '{}';
    kept_made   integer[] := '{}';
    is_kept     boolean;
begin
    perform from outbox.claim as c where c.id = any (claims || closed) order by c.id for no key update;
    -- The worker counts what is left of a claim, and closes it with the last message. So what is written before must survive a
    -- crash of the server, as the worker's count does.
    if exists (select from unnest(claims) as k (claim) where k.claim <> all (closed)) then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    for m in
        select k.* from unnest(queues, seqs, claims, tokens, fates, waits, counted, codes, texts, notes)
            with ordinality as k (queue, seq, claim, token, fate, wait, counts, code, why, note, n)
        order by k.seq
    loop
        made := 1;
        before := null;
        if m.fate = 'retry' and m.claim is not null then
            with written as (
                insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error, noted)
                select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, case when m.counts then 1 else 0 end,
                       clock_timestamp() + m.wait, m.code, m.why, m.note is not null
                from outbox.delivery as d
                where d.queue = m.queue and d.seq = m.seq
                  and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
                on conflict do nothing
                returning event_id
            )
            select w.event_id into event from written as w;
        elsif m.fate = 'retry' then
            if m.note = 'held' then
                select r.last_error into before from outbox.retry as r
                where r.seq = m.seq and r.token = m.token and r.queue = m.queue;
            end if;
            with written as (
                update outbox.retry as r
                set due_at = clock_timestamp() + m.wait, token = null, last_code = m.code, last_error = m.why,
                    failed_at = clock_timestamp(), attempts = r.attempts - case when m.counts then 0 else 1 end,
                    noted = r.noted or m.note is not null
                where r.seq = m.seq and r.token = m.token and r.queue = m.queue
                returning r.event_id, r.attempts
            )
            select w.event_id, w.attempts + case when m.counts then 0 else 1 end into event, made from written as w;
        elsif m.fate = 'dead' and m.claim is not null then
            with written as (
                insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
                select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, 1, m.code, m.why
                from outbox.delivery as d
                where d.queue = m.queue and d.seq = m.seq
                  and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
                on conflict do nothing
                returning event_id
            )
            select w.event_id into event from written as w;
        elsif m.fate = 'dead' then
            with moved as (
                delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue
                returning r.seq, r.queue, r.event_id, r.body, r.enqueued_at, r.attempts, r.repair
            ), written as (
                insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, repair)
                select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, d.attempts, m.code, m.why, d.repair from moved as d
                on conflict do nothing
            )
            select d.event_id, d.attempts into event, made from moved as d;
        else
            with gone as (
                delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue
                returning r.event_id, r.attempts, r.noted
            )
            select g.event_id, g.attempts into event, made from gone as g where g.attempts > 1 or g.noted;
        end if;
        -- The event is null if another worker has the message by now.
        if m.note is not null and event is not null and before is distinct from m.why then
            kept := kept || m.n;
            kept_events := kept_events || event;
            kept_made := kept_made || made;
        end if;
    end loop;
    if kept <> '{}' then
        begin
            perform outbox.keep_history(kept, kept_events, kept_made, queues, notes, codes, texts, worker_name);
            is_kept := true;
        exception when insufficient_privilege or lock_not_available then
            is_kept := false;
        end;
    end if;
    for m in
        select c.id from outbox.claim as c
        where c.id = any (closed) and c.token = any (closed_tokens) and c.until is not null order by c.id
    loop
        perform outbox.keep_leases(m.id, claims_from);
    end loop;
    update outbox.claim as c set until = null
    where c.id = any (closed) and c.token = any (closed_tokens) and c.until is not null;
    return is_kept;
end $$;

-- Keeps the leases of a claim that ends, as rows, for the events of its batch that are in outbox.retry and were not given
-- back. Their calls may still have their effect, and its worker may still record them. An earlier claim keeps its own leases.
create function outbox.keep_leases(claim bigint, claims_from bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ended record;
    ids   uuid[];
begin
    select c.id, c.queue, w.rpc, c.token, c.first_seq, c.last_seq, c.leased_until into ended
    from outbox.claim as c join outbox.queue as w on w.id = c.queue where c.id = keep_leases.claim;
    ids := array(
        select distinct r.event_id
        from (select r.event_id from outbox.retry as r
              where r.seq between ended.first_seq and ended.last_seq and r.queue = ended.queue order by r.seq offset 0) as r);
    if ids = '{}' or ended.leased_until is null then
        return;
    end if;
    ids := array(
        select k.id from unnest(ids) as k (id)
        where k.id not in (select r.event_id from outbox.recorded(ended.rpc, ids) as r)
          and k.id not in (select e.event_id from outbox.claimed(ended.queue, ids, claims_from, ended.id) as e) order by k.id);
    perform outbox.note_late(ids);
    insert into outbox.dedup (slot, event_id, rpc, lease, until)
    select outbox.dedup_slot(k.id), k.id, ended.rpc, ended.token, ended.leased_until from unnest(ids) as k (id) order by k.id
    on conflict do nothing;
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
        perform outbox.keep_leases(c.id, claims_from);
        update outbox.claim set until = null where id = c.id;
    end loop;
    delete from outbox.claim as old where old.queue = q and old.id >= claims_from and old.until is null
        and old.id < (select max(newest.id) from outbox.claim as newest where newest.queue = q);
    return recovered;
end $$;
