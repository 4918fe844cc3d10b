-- What operators set for an RPC for a time: `outbox pause` and `outbox limit`. Workers read it every few seconds, and
-- outbox.receive returns nothing of a paused RPC.

create table outbox.brake (
    rpc             text        not null,
    kind            text        not null check (kind in ('pause', 'limit')),
    concurrency     integer     check (concurrency between 1 and 1000),         -- null: as event_router.yaml has it
    rate_per_second integer     check (rate_per_second between 1 and 10000),    -- likewise
    since           timestamptz not null default clock_timestamp(),
    until           timestamptz not null,
    who             text        not null,
    why             text        not null,
    primary key (rpc, kind)
);

-- Sets a brake, in place of the one before. A pause has no limits, and a limit has one at least. Brakes that ended some time
-- ago go with it, so the table stays small. What an operator calls begins with a repair: see outbox.repaired.
create function outbox.set_brake(repair uuid, rpc text, kind text, concurrency integer, rate_per_second integer, how_long interval,
                                 why text)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if how_long is null or how_long <= interval '0' or how_long > interval '2 days' then
        raise exception 'no brake lasts for %', coalesce(quote_literal(how_long), 'null')
            using errcode = 'invalid_parameter_value', hint = 'pass an interval above zero, and 2 days at most';
    end if;
    if coalesce(why, '') = '' or coalesce(rpc, '') = '' or octet_length(rpc) > 256 then
        raise exception 'a brake needs an RPC and a reason'
            using errcode = 'invalid_parameter_value', hint = 'write Service/Method, as in event_router.yaml, and why';
    end if;
    if (kind = 'limit') is distinct from (num_nonnulls(concurrency, rate_per_second) > 0) then
        raise exception 'a pause has no limits, and a limit has one at least'
            using errcode = 'invalid_parameter_value', hint = 'pass a concurrency or a rate with the kind limit alone';
    end if;
    delete from outbox.brake as b where b.until < clock_timestamp() - interval '1 day';
    insert into outbox.brake as b (rpc, kind, concurrency, rate_per_second, until, who, why)
    select set_brake.rpc, set_brake.kind, set_brake.concurrency, set_brake.rate_per_second, clock_timestamp() + how_long,
           coalesce((select a.who from outbox.audit as a where a.id = repair), ''), left(set_brake.why, 500)
    on conflict on constraint brake_pkey do update
    set concurrency = excluded.concurrency, rate_per_second = excluded.rate_per_second, since = excluded.since,
        until = excluded.until, who = excluded.who, why = excluded.why;
    perform outbox.repaired(repair, 1);
end $$;

-- Ends a brake before its time. False if there was none.
create function outbox.lift_brake(repair uuid, rpc text, kind text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    lifted boolean;
begin
    with gone as (
        delete from outbox.brake as b where b.rpc = lift_brake.rpc and b.kind = lift_brake.kind returning b.until
    )
    select exists (select from gone as g where g.until > clock_timestamp()) into lifted;
    perform outbox.repaired(repair, lifted::integer);
    return lifted;
end $$;

revoke all on function outbox.set_brake, outbox.lift_brake from public;
