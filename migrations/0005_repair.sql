-- What an operator calls. That role may read everything and write nothing: these functions write with the rights of the
-- schema's owner. Each takes the id of a repair that the same role has begun and not ended. It adds its changes to that row of
-- outbox.audit in the same transaction, so there is no repair without its audit.
-- The role is the session's: `set role` does not change it.

-- What operators dropped for good, so that it is not taken for lost. It goes with its repair, after 400 days.
create table outbox.dropped (
    event_id uuid        not null,
    queue    integer,    -- null: a parked event, for which there was no queue yet
    at       timestamptz not null default clock_timestamp(),
    repair   uuid        not null references outbox.audit on delete cascade
);

create index dropped_event on outbox.dropped (event_id);
create index dropped_repair on outbox.dropped (repair);

create function outbox.repair_begin(repair uuid, who text, command text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if repair is null or coalesce(who, '') = '' or coalesce(command, '') = '' then
        raise exception 'a repair needs an id, who does it, and what is done'
            using errcode = 'invalid_parameter_value', hint = 'select outbox.repair_begin(gen_random_uuid(), ''me@my-host'', ''what I do, and why'')';
    end if;
    insert into outbox.audit (id, at, who, role, command) values (repair, clock_timestamp(), who, session_user, command)
    on conflict do nothing;
    if not found then
        raise exception 'the repair % was begun before', repair
            using errcode = 'unique_violation', hint = 'every repair has an id of its own: gen_random_uuid()';
    end if;
end $$;

create function outbox.repair_end(repair uuid, result json) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform outbox.repaired(repair, 0);
    update outbox.audit as a set result = repair_end.result::text, ended_at = clock_timestamp() where a.id = repair;
end $$;

-- Counts the changes of a repair. Every function below ends with it, and fails as a whole if it does.
create function outbox.repaired(repair uuid, more bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update outbox.audit as a set changed = a.changed + more
    where a.id = repair and a.role = session_user and a.ended_at is null;
    if not found then
        raise exception 'the repair % was not begun by %, or has ended', coalesce(repair::text, 'null'), session_user
            using errcode = 'object_not_in_prerequisite_state', hint = 'begin one: select outbox.repair_begin(id, who, command)';
    end if;
end $$;

-- Forgets a success of an RPC for an event. False while a worker calls it, and if a row appeared meanwhile: then nothing is
-- forgotten.
-- A fold may have moved the id to another receipt while this waited for a lock. So it searches until no receipt has the id.
create function outbox.forget(event uuid, rpc text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from outbox.claimed((select q.id from outbox.queue as q where q.rpc = forget.rpc), array[event], 0))
       and not exists (select from outbox.recorded(forget.rpc, array[event])) then
        return false;
    end if;
    delete from outbox.dedup as d
    where d.slot = outbox.dedup_slot(event) and d.event_id = event and d.rpc = forget.rpc
      and (d.done_at is not null or d.until < clock_timestamp());
    while exists (select from outbox.recorded(forget.rpc, array[event]) as r where r.until is null) loop
        update outbox.receipt as r set ids = array_remove(r.ids, event)
        where r.slot = outbox.dedup_slot(event) and r.rpc = forget.rpc
          and r.last_id between event and outbox.minute_end(event) and r.first_id <= event and event = any (r.ids);
    end loop;
    if exists (select from outbox.recorded(forget.rpc, array[event])) then
        raise sqlstate 'OBUSY'; -- takes back what is above
    end if;
    return true;
exception when sqlstate 'OBUSY' then
    return false;
end $$;

create function outbox.check_lengths(variadic lengths integer[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if lengths[1] is null or exists (select from unnest(lengths) as l (length) where l.length is distinct from lengths[1]) then
        raise exception 'the arrays differ in length, or one is null'
            using errcode = 'invalid_parameter_value', hint = 'pass one element of each for every row that is meant';
    end if;
end $$;

-- Delivers dead letters again: each is in one of the tables at any time. It is a new delivery, with a seq and a time of its
-- own, because one older than 14 days would die again at once. `force` forgets a past success first. Returns for each 'moved',
-- 'gone' (it does not exist any more), 'busy' (a worker calls its RPC, so its success can't be forgotten), or the refusal. A
-- value, a constraint, or a trigger may refuse it, and accept the next one.
create function outbox.redrive(repair uuid, seqs bigint[], queues integer[], events uuid[], force boolean default false)
returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    n        bigint;
    outcomes text[];
    moved    bigint := 0;
begin
    perform outbox.check_lengths(cardinality(seqs), cardinality(queues), cardinality(events));
    outcomes := array_fill('gone'::text, array[cardinality(seqs)]);
    -- In the order in which workers lock the rows of events.
    for n in select k.n from unnest(events) with ordinality as k (event, n) order by k.event, k.n loop
        begin
            if force and not outbox.forget(events[n], (select q.rpc from outbox.queue as q where q.id = queues[n])) then
                outcomes[n] := 'busy';
                continue;
            end if;
            with taken as (
                delete from outbox.dead_letter as l
                where l.seq = seqs[n] and l.queue = queues[n] and l.event_id = events[n]
                returning l.queue, l.event_id, l.body, -- and what `outbox repair undo` needs
                          json_build_object('enqueued_at', l.enqueued_at, 'attempts', l.attempts, 'code', l.code,
                                            'reason', l.reason, 'dead_at', l.dead_at) as was
            )
            insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error, noted, repair, was)
            select nextval('outbox.delivery_seq'), t.queue, t.event_id, t.body, clock_timestamp(), 0, clock_timestamp(),
                   'redrive', 'delivered again by `outbox dlq redrive`', true, redrive.repair, t.was
            from taken as t;
            if found then
                outcomes[n] := 'moved';
                moved := moved + 1;
                perform pg_notify('outbox_delivery', queues[n]::text);
            end if;
        exception when others then
            if sqlstate !~ '^(22|23|44|54|P0)' then
                raise;
            end if;
            outcomes[n] := sqlstate || ': ' || sqlerrm;
        end;
    end loop;
    insert into outbox.history (event_id, queue, what, repair)
    select events[k.n], queues[k.n], 'redriven', redrive.repair from unnest(outcomes) with ordinality as k (outcome, n)
    where k.outcome = 'moved';
    perform outbox.repaired(repair, moved);
    return outcomes;
end $$;

-- Drops dead letters for good. Returns for each whether it still existed.
create function outbox.drop_dead_letters(repair uuid, seqs bigint[], queues integer[], events uuid[]) returns boolean[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    n       bigint;
    dropped boolean[];
begin
    -- First, because a row of outbox.dropped needs the repair's.
    perform outbox.repaired(repair, 0);
    perform outbox.check_lengths(cardinality(seqs), cardinality(queues), cardinality(events));
    dropped := array_fill(false, array[cardinality(seqs)]);
    for n in select k.n from unnest(events) with ordinality as k (event, n) order by k.event, k.n loop
        delete from outbox.dead_letter as l where l.seq = seqs[n] and l.queue = queues[n] and l.event_id = events[n];
        dropped[n] := found;
        if dropped[n] then
            insert into outbox.dropped (event_id, queue, repair) values (events[n], queues[n], drop_dead_letters.repair);
        end if;
    end loop;
    perform outbox.repaired(repair, cardinality(array_positions(dropped, true)));
    return dropped;
end $$;

-- Sends messages into the queues of their RPCs through outbox.retry, because only the relay's leader may append to the log.
-- `force` forgets past successes first. Returns for each whether it was sent: with `force` it is not, while a worker calls its
-- RPC.
create function outbox.replay(repair uuid, rpcs text[], events uuid[], bodies text[], force boolean default false)
returns boolean[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    m     record;
    wrong text;
    sent  boolean[];
    count bigint;
begin
    perform outbox.check_lengths(cardinality(rpcs), cardinality(events), cardinality(bodies));
    select coalesce(quote_literal(left(k.rpc, 256)), 'null') into wrong from unnest(rpcs) as k (rpc)
    where k.rpc is null or octet_length(k.rpc) > 256
       or k.rpc !~ '^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*/[A-Za-z_][A-Za-z0-9_]*$' limit 1;
    if found then
        raise exception '% is not an RPC', wrong
            using errcode = 'invalid_parameter_value', hint = 'write Service/Method, as in event_router.yaml';
    end if;
    sent := array_fill(true, array[cardinality(rpcs)]);
    -- The RPC may be new to relay and worker. Until the end of this transaction no queue is removed: see outbox.remove_queue.
    lock table outbox.queue in row exclusive mode;
    insert into outbox.queue (rpc) select distinct k.rpc from unnest(rpcs) as k (rpc)
    where not exists (select from outbox.queue as q where q.rpc = k.rpc) order by k.rpc
    on conflict do nothing;
    if force then
        -- In the order in which workers lock the rows of events.
        for m in select k.n, k.event, k.rpc from unnest(events, rpcs) with ordinality as k (event, rpc, n) order by k.event, k.rpc loop
            sent[m.n] := outbox.forget(m.event, m.rpc);
        end loop;
    end if;
    insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error, noted, repair)
    select nextval('outbox.delivery_seq'), q.id, k.event, k.body, clock_timestamp(), 0, clock_timestamp(),
           'replay', 'sent again by `outbox replay`', true, replay.repair
    from unnest(rpcs, events, bodies) with ordinality as k (rpc, event, body, n) join outbox.queue as q on q.rpc = k.rpc
    where sent[k.n] order by k.n;
    get diagnostics count = row_count;
    insert into outbox.history (event_id, queue, what, repair)
    select k.event, q.id, 'replayed', replay.repair
    from unnest(rpcs, events) with ordinality as k (rpc, event, n) join outbox.queue as q on q.rpc = k.rpc
    where sent[k.n];
    perform pg_notify('outbox_delivery', q.id::text) from outbox.queue as q where q.rpc = any (rpcs);
    perform outbox.repaired(repair, count);
    return sent;
end $$;

-- Publishes parked events again, unchanged, and wakes the relay. One whose time is no date gets a new one. One that was cut
-- stays, because its beginning may be another valid event. Returns how many it published.
create function outbox.retry_parked(repair uuid, seqs bigint[], ids uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    retried bigint;
begin
    perform outbox.check_lengths(cardinality(seqs), cardinality(ids));
    with gone as (
        delete from outbox.parked as p where (p.seq, p.id) in (select * from unnest(seqs, ids)) and not p.cut
        returning p.seq, p.id, p.name, p.key, p.payload, p.headers, p.occurred_at, p.code, p.reason
    ), kept as (
        insert into outbox.history (event_id, what, code, error, repair)
        select g.id, 'published_again', g.code, left(g.reason, 500), retry_parked.repair from gone as g
    )
    insert into outbox.event (id, name, key, payload, headers, occurred_at)
    select g.id, g.name, g.key, g.payload, g.headers,
           case when g.occurred_at between '0001-01-01 00:00:00+00' and '9999-12-31 00:00:00+00'
                then g.occurred_at else clock_timestamp() end
    from gone as g order by g.seq, g.id;
    get diagnostics retried = row_count;
    perform outbox.wake();
    perform outbox.repaired(repair, retried);
    return retried;
end $$;

-- Drops parked events for good. Returns how many of them were still parked.
create function outbox.drop_parked(repair uuid, seqs bigint[], ids uuid[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    dropped bigint;
begin
    perform outbox.repaired(repair, 0);
    perform outbox.check_lengths(cardinality(seqs), cardinality(ids));
    with gone as (
        delete from outbox.parked as p where (p.seq, p.id) in (select * from unnest(seqs, ids)) returning p.id
    )
    insert into outbox.dropped (event_id, repair) select g.id, drop_parked.repair from gone as g;
    get diagnostics dropped = row_count;
    perform outbox.repaired(repair, dropped);
    return dropped;
end $$;

-- For this time workers dead-letter what the RPC refuses, and hold none of it. Zero ends that. False if there is no such queue.
create function outbox.poison(repair uuid, rpc text, how_long interval) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    changed boolean;
begin
    if how_long is null or how_long not between interval '0' and interval '30 days' then
        raise exception 'for % nothing can be held to be poison', coalesce(quote_literal(how_long), 'null')
            using errcode = 'invalid_parameter_value', hint = 'pass an interval from zero to 30 days';
    end if;
    update outbox.queue as q set poison_until = clock_timestamp() + how_long where q.rpc = poison.rpc;
    changed := found;
    perform outbox.repaired(repair, changed::integer);
    return changed;
end $$;
