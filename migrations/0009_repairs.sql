-- Repairs that others can see, stop, and take back.
--
-- A repair of many things has its progress in its row of outbox.audit, so that every operator sees it. A running command
-- writes beat_at every few seconds. One whose beat is old is silent: it was killed, or is cut off.
-- What a repair put into a queue carries its id, until it is done. So it can be taken back while nothing has begun it.

alter table outbox.audit
    add column kind    text,        -- redrive, drop or replay; null: a repair without progress
    add column rpc     text,        -- null: of every RPC
    add column plan    json,        -- the words of the command, without addresses
    add column bound   timestamptz, -- letters that died later are not moved
    add column total   bigint,      -- null: not counted
    add column reached bigint not null default 0,
    add column place   text,        -- how far a replay came
    add column beat_at timestamptz,
    add column stop_by text,        -- who asked it to stop
    add column rate    integer,     -- so many a second; null: it has none
    add column rate_by text,        -- who asked for that rate; null: its own command
    add column paused_by text,      -- who paused it
    add column taken_back bigint not null default 0;

-- The words may have the value of a header, so a viewer has no right to them.
create view outbox.audit_shown as
select a.id, a.at, a.who, a.role, a.command, a.changed, a.ended_at, a.result, a.kind, a.rpc, a.bound, a.total, a.reached, a.place,
       a.beat_at, a.stop_by, a.rate, a.rate_by, a.paused_by, a.taken_back,
       case when has_column_privilege('outbox.audit'::regclass, 'plan', 'select') then a.plan end as plan
from outbox.audit as a;

create index audit_open on outbox.audit (at) where ended_at is null;

alter table outbox.retry
    add column repair uuid, -- which put it here
    add column was    json; -- the dead letter that it was; null for a replayed event

alter table outbox.dead_letter add column repair uuid; -- which had moved it before it died again

create index retry_repair on outbox.retry (repair) where repair is not null;
create index dead_letter_repair on outbox.dead_letter (repair) where repair is not null;

-- Begins a repair of many things, unless one of the same kind runs for the same RPC: then it returns that one, and nothing is
-- begun. Of two that start at the same time one waits for the lock, and then sees the other.
-- Returns the bound: what died later is left alone. `bound` is that of a repair that is continued.
-- The repair `continues` ends with this, and can't be continued again. It can, if what continued it has ended without a change:
-- then another database had refused to begin.
create function outbox.repair_start(repair uuid, who text, command text, kind text, rpc text, plan json, older interval,
                                    bound timestamptz, also boolean, silent interval, continues uuid default null,
                                    rate integer default null)
returns table (other uuid, moved_until timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    way uuid;
    til timestamptz;
begin
    if kind is null or kind not in ('redrive', 'drop', 'replay') then
        raise exception 'there is no repair of the kind %', coalesce(quote_literal(kind), 'null')
            using errcode = 'invalid_parameter_value', hint = 'redrive, drop or replay';
    end if;
    lock table outbox.audit in share row exclusive mode;
    if not also then
        select a.id into way from outbox.audit as a
        where a.ended_at is null and a.kind = repair_start.kind
          and (a.rpc is null or repair_start.rpc is null or a.rpc = repair_start.rpc)
          and a.beat_at > clock_timestamp() - silent
        order by a.at limit 1;
        if found then
            return query select way, null::timestamptz;
            return;
        end if;
    end if;
    if continues is not null then
        update outbox.audit as a
        set ended_at = coalesce(a.ended_at, clock_timestamp()),
            result = (case when json_typeof(a.result::json) = 'object' then a.result::jsonb
                           else jsonb_build_object('moved', a.changed, 'failed', a.result::json #>> '{}') end
                      || jsonb_build_object('continued_by', repair))::text
        where a.id = continues
          and (a.result::json ->> 'continued_by' is null
               or exists (select from outbox.audit as b
                          where b.id::text = a.result::json ->> 'continued_by' and b.ended_at is not null and b.changed = 0
                            and b.result::json ->> 'continued_by' is null));
        if not found then
            raise exception 'the repair % was continued before, or is not in the audit', continues
                using errcode = 'object_not_in_prerequisite_state', hint = 'outbox repair list';
        end if;
    end if;
    perform outbox.repair_begin(repair, who, command);
    til := coalesce(bound, clock_timestamp() - coalesce(older, interval '0'));
    update outbox.audit as a
    set kind = repair_start.kind, rpc = repair_start.rpc, plan = repair_start.plan, bound = til, beat_at = clock_timestamp(),
        rate = repair_start.rate,
        place = (select b.place from outbox.audit as b where b.id = continues)
    where a.id = repair;
    return query select null::uuid, til;
end $$;

-- Says that a repair still runs, and how far it is. Returns who asked it to stop, and how fast it shall go. With `fates` it also
-- counts what it has put into queues: what is not done yet, up to 10,001, and what has died again.
create function outbox.repair_progress(repair uuid, total bigint, reached bigint, place text, fates boolean)
returns table (stopped_by text, waiting bigint, dead bigint, kept_rate integer, changed_by text, held_by text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform outbox.repaired(repair, 0);
    update outbox.audit as a
    set beat_at = clock_timestamp(), total = repair_progress.total, reached = coalesce(repair_progress.reached, a.reached),
        place = coalesce(repair_progress.place, a.place)
    where a.id = repair;
    return query
        select a.stop_by,
               case when fates then
                   (select count(*) from (select from outbox.retry as r where r.repair = a.id limit 10001) as r) end,
               case when fates then
                   (select count(*) from (select from outbox.dead_letter as l where l.repair = a.id limit 10001) as l) end,
               a.rate, a.rate_by, a.paused_by
        from outbox.audit as a where a.id = repair_progress.repair;
end $$;

-- Asks a running repair to stop. Another role may have begun it. A silent one is ended here: if its command still lives, its next change
-- fails. Returns 'asked', 'ended', 'over' if it had ended before, or null if there is no such repair.
create function outbox.repair_stop(repair uuid, who text, silent interval) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    found_one outbox.audit;
begin
    select a.* into found_one from outbox.audit as a where a.id = repair for update;
    if not found then
        return null;
    elsif found_one.ended_at is not null then
        return 'over';
    elsif coalesce(found_one.beat_at, found_one.at) > clock_timestamp() - silent then
        update outbox.audit as a set stop_by = coalesce(a.stop_by, repair_stop.who) where a.id = repair;
        return 'asked';
    end if;
    update outbox.audit as a
    set stop_by = repair_stop.who, ended_at = clock_timestamp(),
        result = json_build_object('moved', a.changed, 'stopped', 'it was silent, and was ended by ' || repair_stop.who)::text
    where a.id = repair;
    return 'ended';
end $$;

-- Asks a running repair for another rate, to hold still, or to go on. Another role may have begun it. Its command follows at its next
-- beat. What is null stays as it is. Returns 'asked', 'silent' if no command would follow, 'over' if it had ended, or null if there is
-- no such repair.
create function outbox.repair_pace(repair uuid, who text, rate integer, paused boolean, silent interval) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    found_one outbox.audit;
begin
    if rate not between 1 and 10000 then
        raise exception 'no repair has the rate %', rate
            using errcode = 'invalid_parameter_value', hint = 'a rate from 1 to 10000, or a pause';
    end if;
    select a.* into found_one from outbox.audit as a where a.id = repair for update;
    if not found then
        return null;
    elsif found_one.ended_at is not null then
        return 'over';
    elsif found_one.beat_at is null or found_one.beat_at <= clock_timestamp() - silent then
        return 'silent';
    elsif repair_pace.rate is not null and found_one.rate is null then
        raise exception 'the repair % has no rate', repair
            using errcode = 'invalid_parameter_value', hint = 'it can be paused or stopped';
    end if;
    update outbox.audit as a
    set rate = coalesce(repair_pace.rate, a.rate),
        rate_by = case when repair_pace.rate is null then a.rate_by else repair_pace.who end,
        paused_by = case when paused then coalesce(a.paused_by, repair_pace.who) when not paused then null else a.paused_by end
    where a.id = repair;
    return 'asked';
end $$;

-- Takes back up to n deliveries that the repair `of` put into queues, and that no worker has begun. A dead letter is dead again
-- as it was, and a replayed event leaves its queue. A worker that takes one at this moment keeps it. Returns how many it took.
create function outbox.undo(repair uuid, of uuid, n integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    taken bigint;
begin
    with waits as materialized (
        select r.ctid as row from outbox.retry as r
        where r.repair = undo.of and r.token is null and r.attempts = 0 and r.last_code in ('redrive', 'replay')
        order by r.seq limit n for update skip locked
    ), gone as (
        delete from outbox.retry as r where r.ctid = any (array(select w.row from waits as w))
        returning r.seq, r.queue, r.event_id, r.body, r.was
    ), dead as (
        insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason, dead_at)
        select g.seq, g.queue, g.event_id, g.body, (g.was ->> 'enqueued_at')::timestamptz, (g.was ->> 'attempts')::integer,
               g.was ->> 'code', g.was ->> 'reason',
               -- Retention removes dead letters after 14 days. There must be time to look at this one.
               greatest((g.was ->> 'dead_at')::timestamptz, clock_timestamp() - interval '11 days')
        from gone as g where g.was is not null
    ), told as (
        insert into outbox.history (event_id, queue, what, repair)
        select g.event_id, g.queue, 'taken_back', undo.repair from gone as g
    )
    select count(*) into taken from gone;
    update outbox.audit as a set taken_back = a.taken_back + taken where a.id = undo.of;
    perform outbox.repaired(repair, taken);
    return taken;
end $$;

revoke all on function outbox.repair_start, outbox.repair_progress, outbox.repair_stop, outbox.repair_pace, outbox.undo from public;
